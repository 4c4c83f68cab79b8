"""Retention: one process of the fleet deletes old rows (``[retention]``), a few hundred at a time.

Rows that prevent a second text are kept. The row of a trigger's text is kept forever, but without the text: its key
proves that this person was texted. Such keys are made of the id of a CRM record and the number of its versions, so both
are kept of a record that is gone. A send job and its key are deleted when ``retention.keys`` has passed. Messages
that wait (queued, held, unknown), opt-outs and consents with their proof, and rejected CRM records are never deleted.

It also finishes what `vtsync forget` could not (``worker.people.erase``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, delete, exists, func, not_, or_, select, update

from config.models import Settings
from config.policy_levels import every_policy
from worker.core.progress import Progress, untold
from worker.core.states import DeliveryState, InboxState, MessageKind, MessageState, PushState, RunState
from worker.people.erase import continue_erasures
from worker.runtime import Runtime, StopSignal
from worker.store.db import reading, writing
from worker.store.ids import first_id_at
from worker.store.leases import Lease, LeaseColumns, lease_end, new_lease
from worker.store.models import utcnow
from worker.store.sql import any_of, insert
from worker.store.tables import (
    account_state,
    alert,
    audit_event,
    carrier_state,
    connection_state,
    contact,
    contact_event,
    contact_mapping,
    date_plan,
    dead_letter,
    delivery,
    inbound_message,
    inbox_event,
    maintenance_lock,
    message,
    message_event,
    message_metadata,
    number_review,
    record_change,
    sync_run,
)

EVERY = timedelta(hours=6)
LEASE_SECONDS = 120.0
PORTION = 500
"""Rows per transaction, which takes some milliseconds. SQLite's other writers wait for that time."""
PAUSE_SECONDS = 0.05
"""The pause between portions, so that sending texts comes first."""
MARGIN = timedelta(days=2)
"""Added to the time that other rules look back, because clocks differ and carriers report late."""

_NAME = "prune"
_lock = maintenance_lock.c
_lease = LeaseColumns(maintenance_lock)
_WAITS = (MessageState.QUEUED, MessageState.HELD, MessageState.DISPATCHING, MessageState.UNKNOWN)
Key: TypeAlias = str | int


class AlreadyPruning(Exception):
    """Another process is pruning the store right now."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """Rows older than these times may be deleted; None: keep all. ``listed``: where carriers' lists are read from."""

    texts: datetime | None
    keys: datetime | None
    history: datetime | None
    events: datetime | None
    runs: datetime | None
    listed: datetime
    contacts: datetime | None = None


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What happens to one kind of row that is old enough.

    ``expired`` returns the condition for those rows, or None if they are kept forever. ``remove`` deletes or empties
    them and returns how many there were.
    """

    what: str
    key: Column[Any]
    expired: Callable[[Horizon], ColumnElement[bool] | None]
    remove: Callable[[Connection, ColumnElement[bool]], int]


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of one kind were removed (in a dry run: would be removed)."""

    what: str
    count: int


def horizon(settings: Settings, polled_until: datetime | None, now: datetime) -> Horizon:
    """Return what may be deleted at ``now``. Pure.

    ``polled_until``: how far the carrier's list that is furthest behind was read; None: no list is polled. A row stays
    at least as long as the policy compares with it, and as long as a carrier's list may bring it again.
    """
    kept = settings.retention
    compared = now - max(policy.duplicate_window for _, policy in every_policy(settings)) - MARGIN
    listed = min(now, polled_until or now) - MARGIN

    def before(*keep: timedelta | None, limit: datetime = now) -> datetime | None:
        lengths = [one for one in keep if one is not None]
        return min(now - max(lengths), limit) if len(lengths) == len(keep) else None

    return Horizon(
        texts=before(kept.texts, limit=compared),
        keys=before(kept.keys, kept.texts, kept.history, limit=compared),  # one row holds all three
        history=before(kept.history),
        events=before(kept.events, limit=listed),
        runs=before(kept.runs),
        listed=listed,
        contacts=before(kept.contacts),
    )


def _ended(before: datetime) -> ColumnElement[bool]:
    """Return the condition for messages that ended before then."""
    m = message.c
    times = (m.created_at, m.due_at, m.attempted_at, m.approved_at)
    long_ago = [or_(time.is_(None), time < before) for time in times]
    return and_(m.id < first_id_at(before), m.state.not_in(_WAITS), *long_ago)


def _texts(at: Horizon) -> ColumnElement[bool] | None:
    m = message.c
    return None if at.texts is None else and_(_ended(at.texts), or_(m.text != "", m.media != "[]", m.metadata != "{}"))


def _jobs(at: Horizon) -> ColumnElement[bool] | None:
    """Return the condition for send jobs and records.

    Not for the texts of triggers, which a replayed page would create again, nor for records that a carrier's list would
    bring again.
    """
    m = message.c
    if at.keys is None:
        return None
    not_listed = or_(m.kind != MessageKind.RECORD, m.carrier_message_id.is_(None), m.created_at < at.listed)
    return and_(_ended(at.keys), m.trigger.is_(None), not_listed)


def _steps(at: Horizon) -> ColumnElement[bool] | None:
    e = message_event.c
    if at.history is None:
        return None
    return and_(e.at < at.history, exists().where(message.c.id == e.message_id, message.c.state.not_in(_WAITS)))


def _replies(at: Horizon) -> ColumnElement[bool] | None:
    """Return the condition for replies, without STOP and START: these prove the opt-outs, and the later one decides."""
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


def _left_contacts(at: Horizon) -> ColumnElement[bool] | None:
    """Return the condition for contacts without a record in any CRM, about whom nothing waits.

    They must be found again if they come back: only where VirtualText has nothing to find, or its list can be read and
    was read since the contact was written.
    """
    c, m, a = contact.c, contact_mapping.c, account_state.c
    if at.contacts is None:
        return None
    has_record = exists().where(m.contact_id == c.id, or_(m.deleted_at.is_(None), m.deleted_at >= at.contacts))
    text_waits = exists().where(message.c.contact_id == c.id, message.c.state.in_(_WAITS))
    written_at = func.coalesce(c.pushed_at, c.created_at)
    listed = exists().where(a.account == c.account, a.listed_at >= written_at, a.list_unavailable_at.is_(None))
    at_rest = c.push_state.not_in((PushState.CREATING, PushState.UPDATING, PushState.UNKNOWN))
    found_again = or_(c.virtualtext_id.is_(None), listed)
    return and_(c.created_at < at.contacts, at_rest, c.lease_until.is_(None), ~has_record, ~text_waits, found_again)


def _left_copies(at: Horizon) -> ColumnElement[bool] | None:
    m = contact_mapping.c
    return None if at.contacts is None else and_(m.deleted_at < at.contacts, m.properties != "{}")


def _older(column: Column[Any], before: datetime | None, *more: ColumnElement[bool]) -> ColumnElement[bool] | None:
    return None if before is None else and_(column < before, *more)


def _delete(table: Table) -> Callable[[Connection, ColumnElement[bool]], int]:
    return lambda connection, rows: connection.execute(delete(table).where(rows)).rowcount


def _remove_text(connection: Connection, rows: ColumnElement[bool]) -> int:
    ids = connection.scalars(select(message.c.id).where(rows).with_for_update()).all()
    connection.execute(delete(message_metadata).where(any_of(connection, message_metadata.c.message_id, ids)))
    without = update(message).where(any_of(connection, message.c.id, ids))
    return connection.execute(without.values(text="", media="[]", metadata="{}", callback_url=None)).rowcount


def _delete_jobs(connection: Connection, rows: ColumnElement[bool]) -> int:
    ids = connection.scalars(select(message.c.id).where(rows).with_for_update()).all()
    for table in (message_event, message_metadata):
        connection.execute(delete(table).where(any_of(connection, table.c.message_id, ids)))
    return connection.execute(delete(message).where(any_of(connection, message.c.id, ids))).rowcount


_NO_COPY = {"properties": "{}", "full_name": "", "email": "", "record_hash": b""}
"""What stays of a CRM record that is gone: its id, and the number of its versions."""


def _empty_copies(connection: Connection, rows: ColumnElement[bool]) -> int:
    return connection.execute(update(contact_mapping).where(rows).values(_NO_COPY)).rowcount


def _delete_contacts(connection: Connection, rows: ColumnElement[bool]) -> int:
    ids = connection.scalars(select(contact.c.id).where(rows).with_for_update()).all()
    m, p = contact_mapping.c, date_plan.c
    mine = any_of(connection, m.contact_id, ids)
    planned = exists().where(mine, m.connection == p.connection, m.external_id == p.external_id)
    connection.execute(delete(date_plan).where(planned))
    connection.execute(update(contact_mapping).where(mine).values({**_NO_COPY, "contact_id": None}))
    connection.execute(update(message).where(any_of(connection, message.c.contact_id, ids)).values(contact_id=None))
    connection.execute(delete(contact_event).where(any_of(connection, contact_event.c.contact_id, ids)))
    return connection.execute(delete(contact).where(any_of(connection, contact.c.id, ids))).rowcount


_READ = (InboxState.DONE, InboxState.IGNORED)
RULES = (
    RetentionRule("jobs and records with their keys", message.c.id, _jobs, _delete_jobs),
    RetentionRule("texts whose content is removed", message.c.id, _texts, _remove_text),
    RetentionRule("steps in the history of texts", message_event.c.id, _steps, _delete(message_event)),
    RetentionRule("replies", inbound_message.c.id, _replies, _delete(inbound_message)),
    RetentionRule(
        "steps in the history of contacts",
        contact_event.c.id,
        lambda at: _older(contact_event.c.at, at.history),
        _delete(contact_event),
    ),
    RetentionRule(
        "lines of the audit trail",
        audit_event.c.id,
        lambda at: _older(audit_event.c.at, at.history),
        _delete(audit_event),
    ),
    RetentionRule(
        "changes of CRM records",
        record_change.c.id,
        lambda at: _older(record_change.c.at, at.history),
        _delete(record_change),
    ),
    RetentionRule(
        "incoming events",
        inbox_event.c.id,
        lambda at: _older(inbox_event.c.received_at, at.events, inbox_event.c.state.in_(_READ)),
        _delete(inbox_event),
    ),
    RetentionRule(
        "deliveries to CRMs and services",
        delivery.c.id,
        lambda at: _older(delivery.c.created_at, at.events, delivery.c.state == DeliveryState.DONE),
        _delete(delivery),
    ),
    RetentionRule(
        "refused messages of the broker",
        dead_letter.c.id,
        lambda at: _older(dead_letter.c.last_at, at.events),
        _delete(dead_letter),
    ),
    RetentionRule("alerts that ended", alert.c.id, lambda at: _older(alert.c.ended_at, at.events), _delete(alert)),
    RetentionRule("sync runs", sync_run.c.id, _runs, _delete(sync_run)),
    RetentionRule("contacts that left every CRM", contact.c.id, _left_contacts, _delete_contacts),
    RetentionRule("copies of deleted CRM records", contact_mapping.c.id, _left_copies, _empty_copies),
)


def has_due(connection: Connection, now: datetime) -> bool:
    """Return whether it is time to prune and no process is pruning."""
    waits = not_(and_(_is_due(now), _lease.is_free(now)))
    return connection.scalar(select(_lock.name).where(_lock.name == _NAME, waits)) is None


def what_would_go(runtime: Runtime, now: datetime, progress: Progress = untold) -> list[Pruned]:
    """Count what ``prune`` would remove at ``now``, without changing anything. ``progress`` counts kinds of rows."""
    with reading(runtime.engine) as connection:
        at = _horizon_now(connection, runtime.settings, now)
        found = []
        for rule in RULES:
            rows = rule.expired(at)
            count = 0 if rows is None else connection.scalar(select(func.count(rule.key)).where(rows)) or 0
            found.append(Pruned(rule.what, count))
            progress(len(found), len(RULES))
        return found


def prune(runtime: Runtime, now: datetime, *, only_if_due: bool = False, progress: Progress = untold) -> list[Pruned]:
    """Remove what the retention rules allow, and commit after each portion.

    Stops early when ``runtime.stop`` asks for it; pruning is then due again at once. Raises AlreadyPruning while
    another process prunes, and with ``only_if_due`` also when pruning is not due. ``progress`` counts rows; their
    total is unknown here, and ``what_would_go`` counts it.
    """
    lease = new_lease(utcnow(), LEASE_SECONDS)
    continue_erasures(runtime)
    with writing(runtime.engine) as connection:
        if not _claim(connection, lease, now, only_if_due=only_if_due):
            raise AlreadyPruning("another process is pruning the store right now; nothing was done")
        at = _horizon_now(connection, runtime.settings, now)
    counts = dict.fromkeys((rule.what for rule in RULES), 0)
    try:
        for rule in RULES:
            for count in _apply(runtime, rule, at, lease.owner):
                counts[rule.what] += count
                progress(sum(counts.values()), 0)
    finally:
        _release(runtime, lease.owner)
    return [Pruned(what, count) for what, count in counts.items()]


def _apply(runtime: Runtime, rule: RetentionRule, at: Horizon, owner: str) -> Iterator[int]:
    """Remove portion after portion in the order of the key, and yield the number of rows of each.

    The rows are found in a reading transaction, which blocks nobody, and checked again in the writing one.
    """
    rows, last = rule.expired(at), None
    while rows is not None and not runtime.stop.requested:
        found = _portion(runtime, rule, rows, last)
        if not found:
            return
        last = found[-1]
        with writing(runtime.engine) as connection:
            later = Lease(owner, lease_end(utcnow(), LEASE_SECONDS))
            if not _lease.renew(connection, later, _lock.name == _NAME):
                raise AlreadyPruning("another process has taken over the pruning")
            yield rule.remove(connection, and_(any_of(connection, rule.key, found), rows))
        _pause(runtime.stop)


def _portion(runtime: Runtime, rule: RetentionRule, rows: ColumnElement[bool], last: Key | None) -> Sequence[Key]:
    further = () if last is None else (rule.key > last,)
    with reading(runtime.engine) as connection:
        return connection.scalars(select(rule.key).where(rows, *further).order_by(rule.key).limit(PORTION)).all()


def _pause(stop: StopSignal) -> None:
    stop.wait(PAUSE_SECONDS)


def _horizon_now(connection: Connection, settings: Settings, now: datetime) -> Horizon:
    polled = [name for name, carrier in settings.carriers.items() if carrier.poll_every is not None]
    least = select(func.min(carrier_state.c.polled_until)).where(carrier_state.c.name.in_(polled))
    return horizon(settings, connection.scalar(least), now)


def _is_due(now: datetime) -> ColumnElement[bool]:
    return or_(_lock.next_run_at.is_(None), _lock.next_run_at <= now)


def _claim(connection: Connection, lease: Lease, now: datetime, *, only_if_due: bool) -> bool:
    row = insert(connection, maintenance_lock).values(name=_NAME)
    connection.execute(row.on_conflict_do_nothing())
    due = (_is_due(now),) if only_if_due else ()
    return _lease.take(connection, lease, now, _lock.name == _NAME, *due)


def _release(runtime: Runtime, owner: str) -> None:
    following = utcnow() if runtime.stop.requested else utcnow() + EVERY
    with writing(runtime.engine) as connection:
        _lease.release(connection, owner, _lock.name == _NAME, next_run_at=following)
