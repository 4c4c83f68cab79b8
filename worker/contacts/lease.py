"""The right to read a connection: one worker at a time, taken over when its holder vanished."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine, and_, or_, select, update
from sqlalchemy.exc import OperationalError

from worker.core.states import RunState
from worker.store.db import new_lease_owner, writing
from worker.store.models import SyncRun, utcnow
from worker.store.sql import insert
from worker.store.tables import connection_state, sync_run

log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """Another worker took the connection over; whatever is not committed is dropped, and replayed by the other."""


@dataclass
class ConnectionLease:
    """A held connection. ``owner`` is the fencing token that every page commit checks."""

    connection: str
    owner: str
    run_id: int
    batch_id: str
    started_at: datetime
    _done: threading.Event = field(default_factory=threading.Event)
    _moved_at: float = field(default_factory=time.monotonic)

    def moves(self) -> None:
        """The run gets on; to be said with each page."""
        self._moved_at = time.monotonic()

    def stands_still(self, seconds: float) -> bool:
        """Whether nothing has come from the CRM for longer than that."""
        return time.monotonic() - self._moved_at > seconds

    def fence(self, transaction: Connection, **values: object) -> None:
        """Check inside a transaction that the connection is still ours, storing ``values`` with it.

        Raises LeaseLost, which rolls the transaction back.
        """
        c = connection_state.c
        held = and_(c.connection == self.connection, c.lease_owner == self.owner)
        if (
            transaction.execute(
                update(connection_state).where(held).values(**values or {"lease_owner": self.owner})
            ).rowcount
            != 1
        ):
            raise LeaseLost(f"another worker has taken over {self.connection}")


def claim(engine: Engine, connection: str, seconds: float) -> ConnectionLease | None:
    """Take the connection and open a run on it, or None when another worker holds it.

    A run that was open without a living holder becomes ``interrupted``; the new one goes on from its cursor and in
    its batch, so that the blast guard counts both together.
    """
    now, owner = utcnow(), new_lease_owner()
    c = connection_state.c
    with writing(engine) as db:
        db.execute(
            insert(db, connection_state).on_conflict_do_nothing(index_elements=["connection"]),
            {"connection": connection},
        )
        free = and_(c.connection == connection, or_(c.lease_until.is_(None), c.lease_until < now))
        until = now + timedelta(seconds=seconds)
        if db.execute(update(connection_state).where(free).values(lease_owner=owner, lease_until=until)).rowcount != 1:
            return None
        run_id, batch_id = db.execute(select(c.run_id, c.batch_id).where(c.connection == connection)).one()
        if run_id is not None:
            stale = and_(sync_run.c.id == run_id, sync_run.c.state == RunState.RUNNING)
            db.execute(update(sync_run).where(stale).values(state=RunState.INTERRUPTED, finished_at=now))
        batch_id = batch_id or new_lease_owner()
        row = SyncRun(connection=connection, batch_id=batch_id, started_at=now).model_dump(exclude={"id"})
        new_run = db.execute(sync_run.insert().values(**row).returning(sync_run.c.id)).scalar_one()
        db.execute(update(connection_state).where(c.connection == connection).values(run_id=new_run, batch_id=batch_id))
    return ConnectionLease(connection, owner, new_run, batch_id, now)


@contextmanager
def kept_alive(engine: Engine, lease: ConnectionLease, seconds: float, patience: float) -> Iterator[None]:
    """Renew the lease in the background while the block runs, however slow the CRM is.

    Not when its adapter hangs: a run that has not moved for ``patience`` seconds is left to whoever takes it over.
    """
    thread = threading.Thread(
        target=_renew, args=(engine, lease, seconds, patience), name=f"lease-{lease.connection}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        lease._done.set()
        thread.join()


def _renew(engine: Engine, lease: ConnectionLease, seconds: float, patience: float) -> None:
    c = connection_state.c
    held = and_(c.connection == lease.connection, c.lease_owner == lease.owner)
    while not lease._done.wait(seconds / 3):
        if lease.stands_still(patience):
            log.error(
                "nothing came from the CRM for too long; another worker may take over",
                connection=lease.connection,
                seconds=round(patience),
                do="restart this worker: the adapter hangs in it and keeps a thread",
            )
            return
        try:
            with writing(engine) as db:
                until = utcnow() + timedelta(seconds=seconds)
                if db.execute(update(connection_state).where(held).values(lease_until=until)).rowcount != 1:
                    return  # the next page commit finds out by its fence
        except OperationalError:
            continue  # the store is away for a moment; the fence decides whether the lease survived it
