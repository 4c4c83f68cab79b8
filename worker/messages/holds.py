"""Release held texts: put them back into the queue, where the policy decides again before each is sent."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, case

from worker.core.states import MessageState
from worker.messages.states import Ground
from worker.messages.transitions import has_reason, move, reason_text
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import message

RECONSIDER_EVERY = timedelta(hours=1)
_PERMISSION = "permission_unknown"
_RECONSIDERED = {"time_zone": "its time zone", _PERMISSION: "what the CRM says about its person"}
_reconsidered: dict[str, datetime] = {}


def release_holds(
    connection: Connection, code: str, *where: ColumnElement[bool], reason: str, actor: str, now: datetime
) -> int:
    """Release the texts that are held with this code, and return how many."""
    released = move(
        connection,
        MessageState.HELD,
        MessageState.QUEUED,
        has_reason(code),
        *where,
        ground=Ground.POLICY,
        reason=reason,
        actor=actor,
        now=now,
        due_at=not_before(now),
    )
    return len(released)


def not_before(now: datetime) -> ColumnElement[datetime]:
    """Return the new ``due_at`` of a released text: now, or its own time if that is later."""
    return case((message.c.due_at > now, message.c.due_at), else_=now)


def reconsider(runtime: Runtime) -> int:
    """Release the texts that are held because something was not known, and return how many.

    The configuration may have changed when a process starts, and the CRM at any time. So this runs once when a process
    starts and then once an hour; all other calls do nothing.
    """
    now, store = utcnow(), runtime.settings.database_url()
    if store in _reconsidered and now - _reconsidered[store] < RECONSIDER_EVERY:
        return 0
    with writing(runtime.engine) as connection:
        released = sum(_reconsider(connection, code, "tick", now) for code in _RECONSIDERED)
    _reconsidered[store] = now
    return released


def reconsider_permission(connection: Connection, now: datetime) -> int:
    """Release the texts that are held because it was not known if their person may be texted: a sync knows more now."""
    return _reconsider(connection, _PERMISSION, "sync", now)


def _reconsider(connection: Connection, code: str, actor: str, now: datetime) -> int:
    reason = reason_text("reconsidered", f"{_RECONSIDERED[code]} is looked up again")
    return release_holds(connection, code, reason=reason, actor=actor, now=now)
