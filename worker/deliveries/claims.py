"""Claims deliveries that are due, and stores their outcomes.

Each receiver has its own share of a claim. A receiver with a long backlog, or one that always fails, therefore does not
delay the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, exists, or_, select, update

from worker.core.content_cipher import ContentUnreadable
from worker.core.metrics import forward_tried
from worker.core.states import DeliveryState
from worker.deliveries.outcome import Delivered, DeliveryOutcome, GaveUp, NotTried, RetryLater, next_attempt_at
from worker.deliveries.targets import CALLBACK, Receiver, Target
from worker.store.db import after_commit
from worker.store.leases import LeaseColumns, new_lease
from worker.store.sealed import from_stored, stored_form
from worker.store.sql import any_of, lock_account
from worker.store.tables import delivery, public_event

LEASE_SECONDS = 300.0
LOOKED_AT = 1000
"""Callbacks that are looked at to find origins with something due."""

_LEASE = LeaseColumns(delivery)
_IS_CALLBACK = delivery.c.receiver.startswith(f"{CALLBACK}:", autoescape=True)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """One event for one target. Only ``owner`` works on it. ``attempt`` counts from 1."""

    id: int
    owner: str
    event_id: str
    target: Target
    payload: str
    attempt: int
    url: str | None = None
    """For a callback: the URL that the caller named."""

    @property
    def receiver(self) -> Receiver:
        """Return who receives it."""
        return self.target.receiver


def find_due(connection: Connection, now: datetime) -> bool:
    """Return whether anything can be claimed. Deliveries of workers that vanished become due again first."""
    d = delivery.c
    ended = select(d.id).where(d.state == DeliveryState.SENDING, _LEASE.has_ended(now))
    again = update(delivery).where(d.id.in_(ended.with_for_update(skip_locked=True)), d.state == DeliveryState.SENDING)
    connection.execute(again.values({"state": DeliveryState.DUE, **_LEASE.released}))
    return connection.scalar(select(d.id).where(*_is_due(now)).limit(1)) is not None


def claim_deliveries(connection: Connection, shares: Mapping[Receiver, int], now: datetime) -> list[ClaimedDelivery]:
    """Claim the oldest due deliveries of each receiver, up to its share."""
    ids: list[int] = []
    for receiver in sorted(shares):
        if receiver.is_crm:
            # One worker at a time. Otherwise a second one would skip rows that the first has locked, out of order.
            lock_account(connection, f"forward {receiver}")
        chosen = _of_connection(receiver, now) if receiver.is_crm else _of_subscriber(receiver, now)
        ids.extend(connection.execute(chosen.limit(shares[receiver])).scalars())
    lease, d = new_lease(now, LEASE_SECONDS), delivery.c
    rows = connection.execute(
        update(delivery)
        .where(any_of(connection, d.id, ids), d.state == DeliveryState.DUE)
        .values(state=DeliveryState.SENDING, attempts=d.attempts + 1, **_LEASE.held(lease))
        .returning(d.id, d.event_id, d.target, stored_form(d.payload), d.attempts, d.url)
    ).all()
    claimed: list[ClaimedDelivery] = []
    damaged: list[tuple[ClaimedDelivery, DeliveryOutcome]] = []
    for row in rows:
        target = Target.from_text(row.target)
        about = ClaimedDelivery(row.id, lease.owner, row.event_id, target, "", row.attempts, row.url)
        try:
            claimed.append(replace(about, payload=from_stored(connection.dialect, d.payload, row.payload)))
        except ContentUnreadable as error:  # one damaged row must not stop the others
            damaged.append((about, GaveUp(str(error))))
    finish_deliveries(connection, damaged, now, 0.0)
    return sorted(claimed, key=lambda one: one.id)


def callers_due(connection: Connection, without: Collection[Receiver], limit: int, now: datetime) -> list[Receiver]:
    """Return the origins whose callbacks have waited longest, apart from those that are busy or down."""
    d = delivery.c
    others = d.receiver.not_in([str(one) for one in without])
    longest = select(d.receiver).where(*_is_due(now), _IS_CALLBACK, others).order_by(d.due_at).limit(LOOKED_AT)
    found = dict.fromkeys(connection.scalars(longest))
    return [Target.from_text(text).receiver for text in found][:limit]


def give_up_removed(connection: Connection, receivers: Collection[Receiver], now: datetime) -> int:
    """Give up due deliveries to receivers that are no longer in the configuration. Return how many."""
    removed = and_(delivery.c.receiver.not_in([str(one) for one in receivers]), ~_IS_CALLBACK)
    values = {
        "state": DeliveryState.FAILED,
        "last_error": "this subscriber, connection or alert channel was removed from the configuration; restore it,"
        " then run `vtsync forwards retry`",
    }
    return connection.execute(update(delivery).where(*_is_due(now), removed).values(values)).rowcount


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """How many deliveries had which outcome, without those that were not tried."""

    done: int = 0
    retried: int = 0
    failed: int = 0


def finish_deliveries(
    connection: Connection, results: Sequence[tuple[ClaimedDelivery, DeliveryOutcome]], now: datetime, jitter: float
) -> DeliveryCounts:
    """Store the outcomes of deliveries that this worker still holds. ``jitter``: 0 to 1."""
    d = delivery.c
    done = [one for one, outcome in results if isinstance(outcome, Delivered)]
    _release(connection, done, {"state": DeliveryState.DONE, "last_error": ""})
    back = [one for one, outcome in results if isinstance(outcome, NotTried)]
    _release(connection, back, {"state": DeliveryState.DUE, "attempts": d.attempts - 1})
    tried = [(one, outcome) for one, outcome in results if isinstance(outcome, RetryLater | GaveUp)]
    rows = [_after_failure(one, outcome, now, jitter) for one, outcome in tried]
    if rows:
        mine = and_(d.id == bindparam("b_id"), _LEASE.owner == bindparam("b_owner"))
        values: dict[str, Any] = {name: bindparam(f"b_{name}") for name in ("state", "due_at", "last_error")}
        connection.execute(update(delivery).where(mine).values(**values, **_LEASE.released), rows)
    after_commit(connection, partial(_count, results, rows))
    failed = sum(row["b_state"] == DeliveryState.FAILED for row in rows)
    return DeliveryCounts(len(done), len(rows) - failed, failed)


def _count(results: Sequence[tuple[ClaimedDelivery, DeliveryOutcome]], after: Sequence[Mapping[str, Any]]) -> None:
    ended = {row["b_id"]: "given_up" if row["b_state"] == DeliveryState.FAILED else "again" for row in after}
    for one, outcome in results:
        if not isinstance(outcome, NotTried):
            label = CALLBACK if one.receiver.kind == CALLBACK else str(one.receiver)  # any number of origins
            forward_tried(label, ended.get(one.id, "done"))


def _release(connection: Connection, deliveries: Iterable[ClaimedDelivery], values: Mapping[str, Any]) -> None:
    by_owner: dict[str, list[int]] = defaultdict(list)
    for one in deliveries:
        by_owner[one.owner].append(one.id)
    for owner, ids in by_owner.items():
        _LEASE.release(connection, owner, any_of(connection, delivery.c.id, ids), **values)


def _after_failure(
    claimed: ClaimedDelivery, outcome: RetryLater | GaveUp, now: datetime, jitter: float
) -> dict[str, Any]:
    """Return the values of the row after a delivery that failed."""
    next_at = next_attempt_at(outcome, claimed.attempt, now, jitter) if isinstance(outcome, RetryLater) else None
    if next_at is None:
        log.error(
            "a delivery was given up: `vtsync forwards list --failed` shows it, `vtsync forwards retry` repeats it",
            receiver=str(claimed.receiver),
            event_id=claimed.event_id,  # without the reason: the receiver's answer may repeat the text
        )
    return {
        "b_id": claimed.id,
        "b_owner": claimed.owner,
        "b_state": DeliveryState.FAILED if next_at is None else DeliveryState.DUE,
        "b_due_at": next_at or now,
        "b_last_error": outcome.reason,
    }


def _is_due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return delivery.c.state == DeliveryState.DUE, delivery.c.due_at <= now


def _of_subscriber(receiver: Receiver, now: datetime) -> Select[Any]:
    d = delivery.c
    chosen = select(d.id).where(d.receiver == str(receiver), *_is_due(now)).order_by(d.due_at, d.id)
    return chosen.with_for_update(skip_locked=True)


def _of_connection(receiver: Receiver, now: datetime) -> Select[Any]:
    """Select in the order of events: a record waits for its older deliveries that are not done yet."""
    d, older = delivery.c, delivery.alias("older")
    waits = or_(older.c.state == DeliveryState.SENDING, and_(older.c.state == DeliveryState.DUE, older.c.due_at > now))
    unfinished = older.c.state.in_((DeliveryState.DUE, DeliveryState.SENDING))  # for the index
    before = exists(select(older.c.id).where(older.c.target == d.target, older.c.id < d.id, unfinished, waits))
    return select(d.id).where(d.receiver == str(receiver), *_is_due(now), ~before).order_by(d.id)


def has_due(connection: Connection, now: datetime) -> bool:
    """Return whether a worker has something to do: deliver, fan out an event, or release an ended lease."""
    d = delivery.c
    left = and_(d.state == DeliveryState.SENDING, _LEASE.has_ended(now))
    waits = select(d.id).where(or_(and_(*_is_due(now)), left)).limit(1)
    return connection.scalar(select(public_event.c.id).limit(1)) is not None or connection.scalar(waits) is not None


def oldest_due(connection: Connection, now: datetime) -> datetime | None:
    """Return when the delivery that has waited longest became due; None if none is due."""
    due_at = delivery.c.due_at
    oldest: datetime | None = connection.scalar(select(due_at).where(*_is_due(now)).order_by(due_at).limit(1))
    return oldest
