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
    """Release the texts that are held because their time zone was not known, and return how many.

    The configuration may have changed when a process starts, and the CRM at any time. So this runs once when a process
    starts and then once an hour; all other calls do nothing.
    """
    now, store = utcnow(), runtime.settings.database_url()
    if store in _reconsidered and now - _reconsidered[store] < RECONSIDER_EVERY:
        return 0
    with writing(runtime.engine) as connection:
        reason = reason_text("reconsidered", "its time zone is looked up again")
        released = release_holds(connection, "time_zone", reason=reason, actor="tick", now=now)
    _reconsidered[store] = now
    return released
