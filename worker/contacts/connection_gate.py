"""Decides whether a connection may be read: people can pause it, its CRM can ask to wait, rejected credentials stop it.

* **paused**: a person said so. Nothing reads it until a person resumes it. The next run continues from the cursor.
* **waiting**: the CRM asked to wait, or its budget is spent. No run starts before then.
* **stopped**: the CRM rejected the credentials. After ``PROBE_INTERVAL``, or when a person starts a sync, the adapter's
  check finds out whether that was corrected. `vtsync check` does the same, and ends the stop if it succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, not_, select, update

from crm_adapters.base import SourceUnavailable
from worker.contacts.lease import CONNECTION_LEASE
from worker.core.states import MessageKind, MessageState, PauseKind
from worker.messages.transitions import has_reason
from worker.store.db import reading
from worker.store.models import ConnectionState
from worker.store.pauses import Pause, add_pause, end_pause, find_pause, is_paused
from worker.store.sql import insert
from worker.store.tables import connection_state, message

PROBE_INTERVAL = timedelta(minutes=10)
LONGEST_WAIT = timedelta(days=1)
"""A CRM that asks for more is asked again after this time."""

READY: Mapping[str, Any] = {"waits_until": None, "waits_reason": "", "stopped_at": None, "stopped_reason": ""}
"""The columns of a connection that may be read."""


def read_connection(engine: Engine, connection: str) -> Mapping[str, Any]:
    """Return the columns of ``connection_state``."""
    with reading(engine) as db:
        found = db.execute(select(connection_state).where(connection_state.c.connection == connection))
        return dict(found.mappings().one())


def stored_or_new(engine: Engine, connection: str) -> Mapping[str, Any]:
    """Return the same columns; for a connection that was never read, as they will be."""
    with reading(engine) as db:
        found = db.execute(select(connection_state).where(connection_state.c.connection == connection))
        row = found.mappings().first()
    return ConnectionState(connection=connection).model_dump() if row is None else dict(row)


def paused_reason(engine: Engine, connection: str) -> str:
    """Return that a person has paused the connection and how to resume it, for a person; "" if it is not paused."""
    with reading(engine) as db:
        found = find_pause(db, PauseKind.CONNECTION, connection)
    return "" if found is None else why_not_read(connection, found)


def why_not_read(connection: str, pause: Pause) -> str:
    """Return why a paused connection is not read and what to do, for a person."""
    return f"it is {pause}, so it is not read; `vtsync resume connection {connection}` lets it be read again"


def waiting_reason(engine: Engine, connection: str, now: datetime) -> str:
    """Return why no run may start now although none is paused, for a person; "" if one may.

    A stopped connection is tried, see above.
    """
    c = connection_state.c
    asked = select(c.waits_until, c.waits_reason).where(
        c.connection == connection, c.waits_until > now, c.stopped_at.is_(None)
    )
    with reading(engine) as db:
        row = db.execute(asked).first()
    if row is None:
        return ""
    return f"it waits until {row.waits_until:%Y-%m-%d %H:%M} UTC: {row.waits_reason}. `vtsync check` ends the wait"


def why_not_now(engine: Engine, connection: str, now: datetime) -> str:
    """Return why the connection may not be read now, paused or waiting, for a person; "" if it may."""
    return paused_reason(engine, connection) or waiting_reason(engine, connection, now)


def stop_values(reason: str, now: datetime) -> dict[str, Any]:
    """Return the columns of a connection whose credentials were rejected."""
    return {
        "stopped_at": now,
        "stopped_reason": reason,
        "waits_until": now + PROBE_INTERVAL,
        "waits_reason": "its credentials are tried again then",
    }


def wait_values(error: SourceUnavailable, now: datetime) -> dict[str, Any]:
    """Return the columns of a connection whose CRM asked to wait; empty if it did not."""
    if error.retry_after is None or error.retry_after <= 0:
        return {}
    wait = min(timedelta(seconds=min(error.retry_after, LONGEST_WAIT.total_seconds())), LONGEST_WAIT)
    return {"waits_until": now + wait, "waits_reason": str(error)}


def note_check_succeeded(db: Connection, connection: str) -> bool:
    """End a stop and a wait, because a check has succeeded. Return True if there was one."""
    c = connection_state.c
    blocked = (c.connection == connection, (c.stopped_at.is_not(None)) | (c.waits_until.is_not(None)))
    return db.execute(update(connection_state).where(*blocked).values(**READY)).rowcount == 1


@dataclass(frozen=True, slots=True)
class PausedConnection:
    """A paused connection. ``changed``: False if it was paused before.

    ``being_read``: a run is in progress, and ends at its next safe point. ``texts_going``: its queued texts, which
    still go. ``texts_of_run``: texts of its unfinished run, which wait until a run after the pause has ended.
    """

    pause: Pause
    changed: bool
    being_read: bool
    texts_going: int
    texts_of_run: int


def pause_reading(db: Connection, connection: str, *, reason: str, actor: str, now: datetime) -> PausedConnection:
    """Keep a connection from being read. One that is paused keeps its first pause."""
    _lock(db, connection)
    added = add_pause(db, PauseKind.CONNECTION, connection, reason=reason, actor=actor, now=now)
    found = added or find_pause(db, PauseKind.CONNECTION, connection)
    assert found is not None  # noqa: S101 - it was added, or was there; the locked row keeps it
    return PausedConnection(found, added is not None, *pause_effect(db, connection, now))


def pause_effect(db: Connection, connection: str, now: datetime) -> tuple[bool, int, int]:
    """Return the last three fields of ``PausedConnection``, as they are now."""
    m = message.c
    # The index over the states is used: few texts wait, and many may be of this connection.
    mine = (func.coalesce(m.connection, "") == connection, m.kind == MessageKind.SEND)
    goes = (*mine, m.state == MessageState.QUEUED, not_(is_paused(PauseKind.TRIGGER, m.trigger)))
    of_run = (*mine, m.state == MessageState.HELD, has_reason("run"))
    counts = [db.scalar(select(func.count()).where(*where)) or 0 for where in (goes, of_run)]
    c = connection_state.c
    being_read = db.scalar(select(c.connection).where(c.connection == connection, not_(CONNECTION_LEASE.is_free(now))))
    return being_read is not None, counts[0], counts[1]


def resume_reading(db: Connection, connection: str, now: datetime) -> Pause | None:
    """Let a connection be read again, and return the pause that ended; None: it was not paused.

    A run that became due meanwhile is due now, and is not late.
    """
    _lock(db, connection)
    ended = end_pause(db, PauseKind.CONNECTION, connection)
    c = connection_state.c
    missed = update(connection_state).where(c.connection == connection, c.next_run_at < now).values(next_run_at=now)
    if ended is not None:
        db.execute(missed)
    return ended


def _lock(db: Connection, connection: str) -> None:
    """Lock the row of a connection: a run that is about to begin waits, and then finds the pause."""
    new = insert(db, connection_state).on_conflict_do_nothing(index_elements=["connection"])
    db.execute(new, {"connection": connection})
    c = connection_state.c
    db.execute(select(c.connection).where(c.connection == connection).with_for_update())
