"""The inbox: one row for each incoming event, processed by the worker that holds its lease."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, update

from worker.core.states import InboxState
from worker.runtime import Runtime
from worker.store import sql
from worker.store.leases import LeaseColumns, new_lease
from worker.store.sealed import stored_form
from worker.store.tables import inbox_event

Source: TypeAlias = Literal["relay", "carrier"]

LEASE = LeaseColumns(inbox_event)


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event to store. ``name`` is the account (relay) or the configured carrier; ``payload`` is JSON, no secrets.

    ``numbers``: see ``InboxEvent``.
    """

    source: Source
    name: str
    payload: str
    received_at: datetime
    numbers: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event that only ``owner`` works on until its lease ends."""

    id: int
    owner: str
    source: Source
    name: str
    payload: str
    """As it is stored, until ``worker.inbox.process`` has decrypted it."""
    received_at: datetime
    attempts: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Handled:
    """The result of an event. ``again_at``: when an unfinished event (``state`` is ``new``) is tried again."""

    state: InboxState
    detail: str = ""
    message_id: str | None = None
    again_at: datetime | None = None


Apply: TypeAlias = Callable[[Connection, datetime], Handled]
Prepare: TypeAlias = Callable[[Runtime, ClaimedEvent], Apply]
"""Handles the events of a source in two steps. ``prepare`` has no transaction, so it may send requests. The function
that it returns runs in the transaction that also finishes the event, so that its effects happen exactly once.

That function may have ``locks``: names for ``sql.lock_account``. The locks of all events of a transaction are taken
first and in one order, so that two workers cannot deadlock."""


def always(handled: Handled) -> Apply:
    """Return an ``Apply`` that has no effects."""
    return lambda *_: handled


def weightiest(several: Sequence[Handled]) -> Handled:
    """Return the result of a whole event from the results of its parts: a failed or unfinished part decides."""
    order = (InboxState.IGNORED, InboxState.DONE, InboxState.FAILED, InboxState.NEW)
    return max(several, key=lambda handled: order.index(handled.state))


def store_events(connection: Connection, events: Sequence[Incoming]) -> None:
    """Store ``events``, due at once."""
    rows = [
        {
            "source": event.source,
            "name": event.name,
            "received_at": event.received_at,
            "payload": event.payload,
            "numbers": event.numbers,
            "state": InboxState.NEW,
            "detail": "",
            "attempts": 0,
            "due_at": event.received_at,
        }
        for event in events
    ]
    if rows:
        connection.execute(insert(inbox_event), rows)


def claim_events(connection: Connection, now: datetime, lease_seconds: float, limit: int) -> list[ClaimedEvent]:
    """Claim up to ``limit`` due events, the oldest first."""
    e = inbox_event.c
    lease = new_lease(now, lease_seconds)
    due = select(e.id).where(*_is_due(now), LEASE.is_free(now)).order_by(e.due_at, e.id).limit(limit)
    wanted = (e.id, e.source, e.name, stored_form(e.payload), e.received_at, e.attempts, e.due_at)
    rows = LEASE.take_due(connection, due, lease, *wanted, attempts=e.attempts + 1)
    return [
        ClaimedEvent(row.id, lease.owner, row.source, row.name, row.payload, row.received_at, row.attempts, row.due_at)
        for row in sorted(rows, key=lambda row: row.id)
    ]


def lock_claimed(connection: Connection, events: Sequence[ClaimedEvent]) -> bool:
    """Lock the rows of ``events`` until the transaction ends. Return False if another worker holds one of them."""
    owners = {event.owner for event in events}
    mine = select(inbox_event.c.id).where(
        sql.any_of(connection, inbox_event.c.id, [event.id for event in events]), LEASE.owner.in_(owners)
    )
    return len(connection.execute(mine.order_by(inbox_event.c.id).with_for_update()).all()) == len(events)


def finish_events(connection: Connection, handled: Sequence[tuple[ClaimedEvent, Handled]]) -> None:
    """Store the results of events that ``lock_claimed`` has locked, and release them."""
    rows = [
        {
            "event": event.id,
            "state": one.state,
            "detail": one.detail,
            "message_id": one.message_id,
            "due_at": one.again_at or event.due_at,
        }
        for event, one in handled
    ]
    if rows:
        connection.execute(
            update(inbox_event).where(inbox_event.c.id == bindparam("event")).values(LEASE.released), rows
        )


def has_due(connection: Connection, now: datetime) -> bool:
    """Return whether a worker could claim an event."""
    due = select(inbox_event.c.id).where(*_is_due(now), LEASE.is_free(now))
    return connection.scalar(due.limit(1)) is not None


def oldest_due(connection: Connection, now: datetime) -> datetime | None:
    """Return when the event that has waited longest became due, claimed or not; None if none is due."""
    due_at = inbox_event.c.due_at
    oldest: datetime | None = connection.scalar(select(due_at).where(*_is_due(now)).order_by(due_at).limit(1))
    return oldest


def _is_due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return inbox_event.c.state == InboxState.NEW, inbox_event.c.due_at <= now
