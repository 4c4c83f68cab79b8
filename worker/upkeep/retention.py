"""What is over is forgotten after a while (``[retention]``), a little at a time, by one process of the fleet.

What keeps a text from being sent twice stays. Of a trigger's text the row remains for ever, without its words: its
key says that this was texted. A job goes with its key after the promised time. What waits (queued, held, unknown),
opt-outs with their proof, and rejected CRM records are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, delete, exists, func, or_, select, update

from config.models import Settings
from worker.core.states import DeliveryState, InboxState, MessageKind, MessageState, RunState
from worker.runtime import Runtime, StopSignal
from worker.store.db import new_lease_owner, reading, writing
from worker.store.ids import first_id_at
from worker.store.models import utcnow
from worker.store.sql import any_of, insert
from worker.store.tables import (
    carrier_state,
    chore,
    connection_state,
    contact_event,
    delivery,
    inbound_message,
    inbox_event,
    message,
    message_event,
    number_review,
    sync_run,
)

EVERY = timedelta(hours=6)
LEASE = timedelta(minutes=2)
PORTION = 500
"""Rows a transaction: some milliseconds, in which SQLite's other writers wait."""
PAUSE_SECONDS = 0.05
"""Between portions, so that texts come first."""
MARGIN = timedelta(days=2)
"""Between what something looks back at and what may go: clocks differ, carriers report late."""

_CHORE = "prune"
_WAITS = (MessageState.QUEUED, MessageState.HELD, MessageState.DISPATCHING, MessageState.UNKNOWN)
Key: TypeAlias = str | int


class AlreadyPruning(Exception):
    """Another process prunes the store right now."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """What is older than these may go; None: nothing does. ``listed``: how far back carriers' lists are read again."""

    texts: datetime | None
    keys: datetime | None
    history: datetime | None
    events: datetime | None
    runs: datetime | None
    listed: datetime


@dataclass(frozen=True, slots=True)
class Broom:
    """One kind of row that goes, or (``sweep``) is emptied. ``over``: which rows, None while they are kept for ever."""

    what: str
    key: Column[Any]
    over: Callable[[Horizon], ColumnElement[bool] | None]
    sweep: Callable[[Connection, ColumnElement[bool]], int]


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of one kind were (or, in a dry run, would be) swept."""

    what: str
    count: int


def horizon(settings: Settings, polled_until: datetime | None, now: datetime) -> Horizon:
    """What may go at ``now``. Pure. ``polled_until``: the carrier's list that was read least far; None: there is none.

    Never younger than what the policy compares with, nor than what a carrier's list will bring once more.
    """
    kept, policy = settings.retention, settings.policy
    compared = now - policy.duplicate_window - MARGIN
    listed = min(now, polled_until or now) - MARGIN

    def before(*keep: timedelta | None, limit: datetime = now) -> datetime | None:
        lengths = [one for one in keep if one is not None]
        return min(now - max(lengths), limit) if len(lengths) == len(keep) else None

    return Horizon(
        texts=before(kept.texts, limit=compared),
        keys=before(kept.keys, kept.texts, kept.history, limit=compared),  # its row carries all three
        history=before(kept.history),
        events=before(kept.events, limit=listed),
        runs=before(kept.runs),
        listed=listed,
    )


def _settled(before: datetime) -> ColumnElement[bool]:
    """Messages with which nothing has happened, nor will, since then."""
    m = message.c
    times = (m.created_at, m.due_at, m.attempted_at, m.approved_at)
    long_ago = [or_(time.is_(None), time < before) for time in times]
    return and_(m.id < first_id_at(before), m.state.not_in(_WAITS), *long_ago)


def _words(at: Horizon) -> ColumnElement[bool] | None:
    m = message.c
    return None if at.texts is None else and_(_settled(at.texts), or_(m.text != "", m.media != "[]"))


def _jobs(at: Horizon) -> ColumnElement[bool] | None:
    """A trigger's text would be written again by a page that is replayed, a carrier's record by a list read again."""
    m = message.c
    if at.keys is None:
        return None
    not_listed = or_(m.kind != MessageKind.RECORD, m.carrier_message_id.is_(None), m.created_at < at.listed)
    return and_(_settled(at.keys), m.trigger.is_(None), not_listed)


def _moves(at: Horizon) -> ColumnElement[bool] | None:
    e = message_event.c
    if at.history is None:
        return None
    return and_(e.at < at.history, exists().where(message.c.id == e.message_id, message.c.state.not_in(_WAITS)))


def _replies(at: Horizon) -> ColumnElement[bool] | None:
    """STOP and START stay: which of two came later decides, and they are what opt-outs rest on."""
    i, read = inbound_message.c, number_review.c
    if at.texts is None:
        return None
    waits = exists().where(read.inbound_id == i.id)
    return and_(i.received_at < at.texts, i.keyword.not_in(("stop", "start")), ~waits)


def _runs(at: Horizon) -> ColumnElement[bool] | None:
    r = sync_run.c
    if at.runs is None:
        return None
    last = select(func.max(r.id)).group_by(r.connection)
    open_ = select(connection_state.c.run_id).where(connection_state.c.run_id.is_not(None))
    return and_(r.state != RunState.RUNNING, r.finished_at < at.runs, r.id.not_in(last), r.id.not_in(open_))


def _older(column: Column[Any], before: datetime | None, *more: ColumnElement[bool]) -> ColumnElement[bool] | None:
    return None if before is None else and_(column < before, *more)


def _delete(table: Table) -> Callable[[Connection, ColumnElement[bool]], int]:
    return lambda connection, rows: connection.execute(delete(table).where(rows)).rowcount


def _empty(connection: Connection, rows: ColumnElement[bool]) -> int:
    return connection.execute(update(message).where(rows).values(text="", media="[]")).rowcount


def _delete_jobs(connection: Connection, rows: ColumnElement[bool]) -> int:
    gone = connection.scalars(select(message.c.id).where(rows).with_for_update()).all()
    connection.execute(delete(message_event).where(any_of(connection, message_event.c.message_id, gone)))
    return connection.execute(delete(message).where(any_of(connection, message.c.id, gone))).rowcount


_READ = (InboxState.DONE, InboxState.IGNORED)
BROOMS = (
    Broom("jobs and records with their keys", message.c.id, _jobs, _delete_jobs),
    Broom("texts that lose their words", message.c.id, _words, _empty),
    Broom("steps in the history of texts", message_event.c.id, _moves, _delete(message_event)),
    Broom("replies", inbound_message.c.id, _replies, _delete(inbound_message)),
    Broom(
        "steps in the history of contacts",
        contact_event.c.id,
        lambda at: _older(contact_event.c.at, at.history),
        _delete(contact_event),
    ),
    Broom(
        "events that came in",
        inbox_event.c.id,
        lambda at: _older(inbox_event.c.received_at, at.events, inbox_event.c.state.in_(_READ)),
        _delete(inbox_event),
    ),
    Broom(
        "deliveries to CRMs and services",
        delivery.c.id,
        lambda at: _older(delivery.c.created_at, at.events, delivery.c.state == DeliveryState.DONE),
        _delete(delivery),
    ),
    Broom("sync runs", sync_run.c.id, _runs, _delete(sync_run)),
)


def pruning_due(connection: Connection, now: datetime) -> bool:
    """Whether it is time to prune, and nobody does."""
    c = chore.c
    row = connection.execute(select(c.next_run_at, c.lease_until).where(c.name == _CHORE)).first()
    return row is None or not any(time is not None and time > now for time in row)


def what_would_go(runtime: Runtime, now: datetime) -> list[Pruned]:
    """What ``prune`` would sweep at ``now``. Changes nothing."""
    with reading(runtime.engine) as connection:
        at = _horizon_now(connection, runtime.settings, now)
        found = []
        for broom in BROOMS:
            rows = broom.over(at)
            count = 0 if rows is None else connection.scalar(select(func.count(broom.key)).where(rows)) or 0
            found.append(Pruned(broom.what, count))
        return found


def prune(runtime: Runtime, now: datetime, *, only_if_due: bool = False) -> list[Pruned]:
    """Sweep what is over, until done or asked to stop (then it is due again at once). Commits portion by portion.

    Raises AlreadyPruning, also when it is not due and ``only_if_due``.
    """
    owner = new_lease_owner()
    with writing(runtime.engine) as connection:
        if not _claim(connection, owner, now, only_if_due=only_if_due):
            raise AlreadyPruning("another process prunes the store right now; nothing was done")
        at = _horizon_now(connection, runtime.settings, now)
    try:
        swept = [Pruned(broom.what, sum(_sweep(runtime, broom, at, owner))) for broom in BROOMS]
    finally:
        _release(runtime, owner)
    return swept


def _sweep(runtime: Runtime, broom: Broom, at: Horizon, owner: str) -> Iterator[int]:
    """Portions in the order of the key: found while reading, which blocks nobody; checked again while writing."""
    rows, last = broom.over(at), None
    while rows is not None and not runtime.stop.requested:
        found = _portion(runtime, broom, rows, last)
        if not found:
            return
        last = found[-1]
        with writing(runtime.engine) as connection:
            if not _extend(connection, owner):
                raise AlreadyPruning("another process took the pruning over")
            yield broom.sweep(connection, and_(any_of(connection, broom.key, found), rows))
        _give_way(runtime.stop)


def _portion(runtime: Runtime, broom: Broom, rows: ColumnElement[bool], last: Key | None) -> Sequence[Key]:
    further = () if last is None else (broom.key > last,)
    with reading(runtime.engine) as connection:
        return connection.scalars(select(broom.key).where(rows, *further).order_by(broom.key).limit(PORTION)).all()


def _give_way(stop: StopSignal) -> None:
    stop.wait(PAUSE_SECONDS)


def _horizon_now(connection: Connection, settings: Settings, now: datetime) -> Horizon:
    polled = [name for name, carrier in settings.carriers.items() if carrier.poll_every is not None]
    least = select(func.min(carrier_state.c.polled_until)).where(carrier_state.c.name.in_(polled))
    return horizon(settings, connection.scalar(least), now)


def _claim(connection: Connection, owner: str, now: datetime, *, only_if_due: bool) -> bool:
    c = chore.c
    connection.execute(insert(connection, chore).values(name=_CHORE).on_conflict_do_nothing())
    free = [c.name == _CHORE, or_(c.lease_until.is_(None), c.lease_until <= now)]
    if only_if_due:
        free.append(or_(c.next_run_at.is_(None), c.next_run_at <= now))
    taken = update(chore).where(*free).values(lease_owner=owner, lease_until=utcnow() + LEASE)
    return connection.execute(taken).rowcount == 1


def _mine(owner: str) -> ColumnElement[bool]:
    return and_(chore.c.name == _CHORE, chore.c.lease_owner == owner)


def _extend(connection: Connection, owner: str) -> bool:
    later = update(chore).where(_mine(owner)).values(lease_until=utcnow() + LEASE)
    return connection.execute(later).rowcount == 1


def _release(runtime: Runtime, owner: str) -> None:
    following = utcnow() if runtime.stop.requested else utcnow() + EVERY
    with writing(runtime.engine) as connection:
        ended = update(chore).where(_mine(owner))
        connection.execute(ended.values(lease_owner=None, lease_until=None, next_run_at=following))
