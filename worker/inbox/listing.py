"""Lists the inbox for people, and repeats failed events."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from config.models import Settings
from worker.core.shown import require_as_shown
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


def inbox_counts(runtime: Runtime, accounts: Collection[str] = ()) -> list[InboxCount]:
    """Count the events of each source in each state.

    ``accounts``: only those of their Relays and their carriers; empty: all.
    """
    e = inbox_event.c
    columns = (e.source, e.name, e.state)
    grouped = (
        select(*columns, func.count(), func.max(e.received_at))
        .where(*_of(runtime.settings, accounts))
        .group_by(*columns)
    )
    with reading(runtime.engine) as connection:
        return [InboxCount(*row) for row in connection.execute(grouped.order_by(*columns))]


def failed_events(
    runtime: Runtime, limit: int, *, accounts: Collection[str] = (), before: int | None = None
) -> list[FailedEvent]:
    """Return the newest events that failed.

    ``accounts``: see ``inbox_counts``. ``before``: only those with a smaller id.
    """
    e = inbox_event.c
    failed = select(e.id, e.source, e.name, e.received_at, e.detail).where(*_failed(runtime.settings, accounts))
    if before is not None:
        failed = failed.where(e.id < before)
    with reading(runtime.engine) as connection:
        return [FailedEvent(*row) for row in connection.execute(failed.order_by(e.id.desc()).limit(limit))]


def retry_failed(runtime: Runtime, *, accounts: Collection[str] = (), shown: int | None = None) -> int:
    """Make failed events due again. Return how many.

    ``accounts``: see ``inbox_counts``. ``shown``: how many the person was shown; where more match, none is repeated.
    Raises NotAsShown.
    """
    again = (
        update(inbox_event)
        .where(*_failed(runtime.settings, accounts))
        .values(state=InboxState.NEW, attempts=0, due_at=utcnow())
    )
    with writing(runtime.engine) as connection:
        count = connection.execute(again).rowcount
        require_as_shown(count, shown, "event")
        return count


def _failed(settings: Settings, accounts: Collection[str]) -> list[ColumnElement[bool]]:
    return [inbox_event.c.state == InboxState.FAILED, *_of(settings, accounts)]


def _of(settings: Settings, accounts: Collection[str]) -> list[ColumnElement[bool]]:
    if not accounts:
        return []
    e = inbox_event.c
    carriers = [name for name, one in settings.carriers.items() if one.account in accounts]
    return [or_(and_(e.source == "relay", e.name.in_(accounts)), and_(e.source == "carrier", e.name.in_(carriers)))]
