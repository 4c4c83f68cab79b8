"""Lists the inbox for people, and repeats failed events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update

from worker.core.states import InboxState
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import inbox_event


@dataclass(frozen=True, slots=True)
class InboxCount:
    """The number of events of one source in one state."""

    source: str
    name: str
    state: str
    count: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An event that needs a person."""

    id: int
    source: str
    name: str
    received_at: datetime
    detail: str


def inbox_counts(runtime: Runtime) -> list[InboxCount]:
    """Count the events of each source in each state."""
    e = inbox_event.c
    grouped = select(e.source, e.name, e.state, func.count(), func.max(e.received_at)).group_by(
        e.source, e.name, e.state
    )
    with reading(runtime.engine) as connection:
        return [InboxCount(*row) for row in connection.execute(grouped.order_by(e.source, e.name, e.state))]


def failed_events(runtime: Runtime, limit: int) -> list[FailedEvent]:
    """Return the newest events that failed."""
    e = inbox_event.c
    failed = select(e.id, e.source, e.name, e.received_at, e.detail).where(e.state == InboxState.FAILED)
    with reading(runtime.engine) as connection:
        return [FailedEvent(*row) for row in connection.execute(failed.order_by(e.id.desc()).limit(limit))]


def retry_failed(runtime: Runtime) -> int:
    """Make failed events due again. Return how many."""
    again = update(inbox_event).where(inbox_event.c.state == InboxState.FAILED)
    with writing(runtime.engine) as connection:
        return connection.execute(again.values(state=InboxState.NEW, attempts=0, due_at=utcnow())).rowcount
