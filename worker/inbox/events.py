"""The inbox: what came in from outside, one row an event, worked off by whoever has a lease on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from worker.core.states import InboxState
from worker.runtime import Runtime
from worker.store import sql
from worker.store.db import new_lease_owner
from worker.store.leases import LeaseColumns
from worker.store.tables import inbox_event

Source: TypeAlias = Literal["relay", "carrier"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event to be stored. ``name`` is the account (relay) or the configured carrier; ``payload`` is JSON without
    secrets.
    """

    source: Source
    name: str
    payload: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """An event that only ``owner`` works on until its lease ends."""

    id: int
    owner: str
    source: Source
    name: str
    payload: str
    received_at: datetime
    attempts: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of an event. ``again_at``: not yet done, tried again then (``state`` is ``new``)."""

    state: InboxState
    detail: str = ""
    message_id: str | None = None
    again_at: datetime | None = None


Apply: TypeAlias = Callable[[Connection, datetime], Handled]
Prepare: TypeAlias = Callable[[Runtime, Claimed], Apply]
"""How a source's events are handled, in two steps: ``prepare`` may ask others over the network and has no transaction;
what it returns runs in the transaction that also finishes the event, so that its effects happen exactly once.

It may carry ``locks``, names for ``sql.lock_account`` that its effects take: those of all events of a transaction are
taken first and in one order, so that two workers never wait for each other in a circle."""


def store(connection: Connection, events: Sequence[Incoming]) -> None:
    """Keep ``events``, due at once."""
    rows = [
        {
            "source": event.source,
            "name": event.name,
            "received_at": event.received_at,
            "payload": event.payload,
            "state": InboxState.NEW,
            "detail": "",
            "attempts": 0,
            "due_at": event.received_at,
        }
        for event in events
    ]
    if rows:
        connection.execute(insert(inbox_event), rows)


def claim(connection: Connection, now: datetime, lease_seconds: float, limit: int) -> list[Claimed]:
    """Up to ``limit`` due events, oldest first, for the caller alone."""
    e = inbox_event.c
    owner = new_lease_owner()
    due = (
        select(e.id)
        .where(e.state == InboxState.NEW, e.due_at <= now, or_(e.lease_until.is_(None), e.lease_until <= now))
        .order_by(e.due_at, e.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    rows = connection.execute(
        update(inbox_event)
        .where(e.id.in_(select(due.c.id)))
        .values(lease_owner=owner, lease_until=now + timedelta(seconds=lease_seconds), attempts=e.attempts + 1)
        .returning(e.id, e.source, e.name, e.payload, e.received_at, e.attempts, e.due_at)
    ).all()
    return [
        Claimed(row.id, owner, row.source, row.name, row.payload, row.received_at, row.attempts, row.due_at)
        for row in sorted(rows, key=lambda row: row.id)
    ]


def still_mine(connection: Connection, events: Sequence[Claimed]) -> bool:
    """Whether none of them was given to another worker, nor can be until the transaction ends."""
    owners = {event.owner for event in events}
    mine = select(inbox_event.c.id).where(
        sql.any_of(connection, inbox_event.c.id, [event.id for event in events]),
        inbox_event.c.lease_owner.in_(owners),
    )
    return len(connection.execute(mine.order_by(inbox_event.c.id).with_for_update()).all()) == len(events)


def finish(connection: Connection, handled: Sequence[tuple[Claimed, Handled]]) -> None:
    """Write down what became of events that are ``still_mine``."""
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
        ended = update(inbox_event).where(inbox_event.c.id == bindparam("event"))
        connection.execute(ended.values(lease_owner=None, lease_until=None), rows)


def has_due(connection: Connection, now: datetime) -> bool:
    """Return whether a worker could claim an event."""
    e = inbox_event.c
    due = (e.state == InboxState.NEW, e.due_at <= now, LeaseColumns(inbox_event).is_free(now))
    return connection.scalar(select(e.id).where(*due).limit(1)) is not None


def oldest_due(connection: Connection, now: datetime) -> datetime | None:
    """Return since when the event is due that has waited longest, claimed or not; None: none is due."""
    e = inbox_event.c
    due = select(e.due_at).where(e.state == InboxState.NEW, e.due_at <= now)
    oldest: datetime | None = connection.scalar(due.order_by(e.due_at).limit(1))
    return oldest
