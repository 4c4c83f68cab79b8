"""If a connection may be read now. It waits when its CRM asks for that. Rejected credentials stop it.

* **waiting**: the CRM asked to wait, or its budget is spent. No run starts before then.
* **stopped**: the CRM rejected the credentials. After ``PROBE_INTERVAL``, or when a person starts a sync, the adapter's
  check finds out whether that was corrected. `vtsync check` does the same, and ends the stop if it succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from crm_adapters.base import SourceUnavailable
from worker.store.db import reading
from worker.store.models import ConnectionState
from worker.store.tables import connection_state

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


def waiting_reason(engine: Engine, connection: str, now: datetime) -> str:
    """Return why no run may start now, for a person; "" if one may. A stopped connection is tried, see above."""
    c = connection_state.c
    asked = select(c.waits_until, c.waits_reason).where(
        c.connection == connection, c.waits_until > now, c.stopped_at.is_(None)
    )
    with reading(engine) as db:
        row = db.execute(asked).first()
    if row is None:
        return ""
    return f"it waits until {row.waits_until:%Y-%m-%d %H:%M} UTC: {row.waits_reason}. `vtsync check` ends the wait"


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
