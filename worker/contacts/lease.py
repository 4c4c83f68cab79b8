"""The right to read a connection: one worker at a time. Another one takes over when that worker vanishes."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine, and_, select, update

from worker.core.states import PauseKind, RunState
from worker.store.db import STORE_AWAY, writing
from worker.store.leases import Lease, LeaseColumns, lease_end, new_lease
from worker.store.models import SyncRun, utcnow
from worker.store.pauses import find_pause, is_paused
from worker.store.sql import insert
from worker.store.tables import connection_state, sync_run

CONNECTION_LEASE = LeaseColumns(connection_state)

log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """Another worker took the connection over. It replays whatever this one has not committed."""


class ConnectionPaused(Exception):
    """A person has paused the connection."""


@dataclass
class ConnectionLease:
    """A held connection. ``owner`` is the fencing token that every page commit checks.

    ``paused``: a person has paused the connection, so the run ends at its next safe point.
    """

    connection: str
    owner: str
    run_id: int
    batch_id: str
    started_at: datetime
    paused: bool = False
    _done: threading.Event = field(default_factory=threading.Event)
    _progress_at: float = field(default_factory=time.monotonic)

    def note_progress(self) -> None:
        """Record that the run makes progress. Call it for each page."""
        self._progress_at = time.monotonic()

    def is_stalled(self, seconds: float) -> bool:
        """Return True if the CRM has sent nothing for more than ``seconds``."""
        return time.monotonic() - self._progress_at > seconds

    def fence(self, transaction: Connection, **values: object) -> None:
        """Check inside a transaction that this worker still holds the connection, and store ``values`` with it.

        Raises LeaseLost, which rolls the transaction back.
        """
        mine = and_(connection_state.c.connection == self.connection, CONNECTION_LEASE.is_held_by(self.owner))
        kept = update(connection_state).where(mine).values(**values or {CONNECTION_LEASE.owner.name: self.owner})
        paused = transaction.scalar(kept.returning(is_paused(PauseKind.CONNECTION, self.connection)))
        if paused is None:
            raise LeaseLost(f"another worker has taken over {self.connection}")
        self.paused = bool(paused)


def claim_connection(engine: Engine, connection: str, seconds: float) -> ConnectionLease | None:
    """Take the connection and open a run on it. Return None when another worker holds it.

    If a run is still open, its worker vanished: that run becomes ``interrupted``. The new run continues from its cursor
    and in its batch, so that the blast guard counts both together. Raises ConnectionPaused.
    """
    now, c = utcnow(), connection_state.c
    lease, this = new_lease(now, seconds), c.connection == connection
    with writing(engine) as db:
        db.execute(
            insert(db, connection_state).on_conflict_do_nothing(index_elements=["connection"]),
            {"connection": connection},
        )
        if not CONNECTION_LEASE.take(db, lease, now, this, started_at=now):
            return None
        if find_pause(db, PauseKind.CONNECTION, connection) is not None:  # read while the row is locked
            raise ConnectionPaused(connection)
        run_id, batch_id = db.execute(select(c.run_id, c.batch_id).where(this)).one()
        if run_id is not None:
            stale = and_(sync_run.c.id == run_id, sync_run.c.state == RunState.RUNNING)
            db.execute(update(sync_run).where(stale).values(state=RunState.INTERRUPTED, finished_at=now))
        batch_id = batch_id or uuid.uuid4().hex
        row = SyncRun(connection=connection, batch_id=batch_id, started_at=now).model_dump(exclude={"id"})
        new_run = db.execute(sync_run.insert().values(**row).returning(sync_run.c.id)).scalar_one()
        db.execute(update(connection_state).where(this).values(run_id=new_run, batch_id=batch_id))
    return ConnectionLease(connection, lease.owner, new_run, batch_id, now)


@contextmanager
def kept_alive(engine: Engine, lease: ConnectionLease, seconds: float, patience: float) -> Iterator[None]:
    """Renew the lease in the background during the block, however slow the CRM is.

    A run without progress for ``patience`` seconds is not renewed: its adapter hangs, and another worker takes over.
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
    this = connection_state.c.connection == lease.connection
    while not lease._done.wait(seconds / 3):
        if lease.is_stalled(patience):
            log.error(
                "the CRM sent nothing for too long; another worker may take over",
                connection=lease.connection,
                seconds=round(patience),
                do="restart this worker: its adapter hangs and blocks a thread",
            )
            return
        try:
            with writing(engine) as db:
                until = lease_end(utcnow(), seconds)
                if not CONNECTION_LEASE.renew(db, Lease(lease.owner, until), this):
                    return  # the fence of the next page commit finds out
                lease.paused = find_pause(db, PauseKind.CONNECTION, lease.connection) is not None
        except STORE_AWAY:
            continue  # the store cannot be reached for a moment; the fence shows if the lease was kept
