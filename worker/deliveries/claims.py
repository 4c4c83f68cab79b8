"""Which deliveries a worker may make now, and what it writes down about them afterwards.

A *receiver* is a subscriber (``subscriber:NAME``) or a CRM connection (``crm:NAME``). Each has its own share of a
claim, so that one with a long backlog, or one that always fails, takes nothing from the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, exists, false, not_, or_, select, update

from worker.core.metrics import forward_tried
from worker.core.states import ForwardState
from worker.deliveries.outcome import Again, Done, GivenUp, NotTried, Outcome, next_try
from worker.store.db import after_commit, new_lease_owner
from worker.store.leases import LeaseColumns
from worker.store.sql import any_of, lock_account
from worker.store.tables import forward, public_event

LEASE = timedelta(minutes=5)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one target, that only ``owner`` works on. ``attempt`` counts from 1."""

    id: int
    owner: str
    event_id: str
    target: str
    payload: str
    attempt: int

    @property
    def receiver(self) -> str:
        """``subscriber:NAME`` or ``crm:CONNECTION``."""
        return ":".join(self.target.split(":", 2)[:2])


def due(connection: Connection, now: datetime) -> bool:
    """Whether anything can be claimed; what vanished workers left is due again."""
    f = forward.c
    lapsed = select(f.id).where(f.state == ForwardState.SENDING, f.lease_until <= now).with_for_update(skip_locked=True)
    again = update(forward).where(f.id.in_(lapsed), f.state == ForwardState.SENDING)
    connection.execute(again.values(state=ForwardState.DUE, **_FREE))
    return connection.scalar(select(f.id).where(*_is_due(now)).limit(1)) is not None


def claim(connection: Connection, shares: Mapping[str, int], now: datetime) -> list[Delivery]:
    """The oldest that are due of each receiver, at most as many as its share."""
    ids: list[int] = []
    for receiver in sorted(shares):
        kind, _, name = receiver.partition(":")
        if kind == "crm":
            # One at a time, or the second would pass by what the first has just taken, out of its order.
            lock_account(connection, f"forward {receiver}")
        chosen = _of_connection(name, now) if kind == "crm" else _of_subscriber(receiver, now)
        ids.extend(connection.execute(chosen.limit(shares[receiver])).scalars())
    owner, f = new_lease_owner(), forward.c
    rows = connection.execute(
        update(forward)
        .where(any_of(connection, f.id, ids), f.state == ForwardState.DUE)
        .values(state=ForwardState.SENDING, lease_owner=owner, lease_until=now + LEASE, attempts=f.attempts + 1)
        .returning(f.id, f.event_id, f.target, f.payload, f.attempts)
    ).all()
    made = (Delivery(row.id, owner, row.event_id, row.target, row.payload, row.attempts) for row in rows)
    return sorted(made, key=lambda one: one.id)


def give_up_others(connection: Connection, receivers: Collection[str], now: datetime) -> int:
    """Give up what is due for receivers that the configuration does not name (any more). Returns how many."""
    f = forward.c
    crm = [_in_connection(one.removeprefix("crm:")) for one in receivers if one.startswith("crm:")]
    others = and_(
        f.target.not_in([one for one in receivers if one.startswith("subscriber:")]), not_(or_(false(), *crm))
    )
    values = {
        "state": ForwardState.FAILED,
        "last_error": "the configuration has no such subscriber or connection any more; put it back, then"
        " `vtsync forwards retry`",
    }
    return connection.execute(update(forward).where(*_is_due(now), others).values(values)).rowcount


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of deliveries; those that were only given back are not counted."""

    done: int
    retried: int
    failed: int


def finish(connection: Connection, results: Sequence[tuple[Delivery, Outcome]], now: datetime, jitter: float) -> Counts:
    """Write down what became of deliveries, but of those whose lease was lost. ``jitter``: 0 to 1."""
    f = forward.c
    _settle(connection, [one for one, outcome in results if isinstance(outcome, Done)], _DONE)
    back = [one for one, outcome in results if isinstance(outcome, NotTried)]
    _settle(connection, back, {"state": ForwardState.DUE, "attempts": f.attempts - 1})
    tried = [(one, outcome) for one, outcome in results if isinstance(outcome, Again | GivenUp)]
    rows = [_after(one, outcome, now, jitter) for one, outcome in tried]
    if rows:
        mine = and_(f.id == bindparam("b_id"), f.lease_owner == bindparam("b_owner"))
        values: dict[str, Any] = {name: bindparam(f"b_{name}") for name in ("state", "due_at", "last_error")}
        connection.execute(update(forward).where(mine).values(**values, **_FREE), rows)
    after_commit(connection, partial(_count, results, rows))
    failed = sum(row["b_state"] == ForwardState.FAILED for row in rows)
    return Counts(len(results) - len(back) - len(rows), len(rows) - failed, failed)


def _count(results: Sequence[tuple[Delivery, Outcome]], after: Sequence[Mapping[str, Any]]) -> None:
    ended = {row["b_id"]: "given_up" if row["b_state"] == ForwardState.FAILED else "again" for row in after}
    for one, outcome in results:
        if not isinstance(outcome, NotTried):
            forward_tried(one.receiver, ended.get(one.id, "done"))


_FREE: Mapping[str, Any] = {"lease_owner": None, "lease_until": None}
_DONE: Mapping[str, Any] = {"state": ForwardState.DONE, "last_error": ""}


def _settle(connection: Connection, deliveries: Iterable[Delivery], values: Mapping[str, Any]) -> None:
    by_owner: dict[str, list[int]] = defaultdict(list)
    for one in deliveries:
        by_owner[one.owner].append(one.id)
    for owner, ids in by_owner.items():
        mine = and_(any_of(connection, forward.c.id, ids), forward.c.lease_owner == owner)
        connection.execute(update(forward).where(mine).values(**values, **_FREE))


def _after(delivery: Delivery, outcome: Again | GivenUp, now: datetime, jitter: float) -> dict[str, Any]:
    """The row's values after a delivery that did not succeed."""
    again = next_try(outcome, delivery.attempt, now, jitter) if isinstance(outcome, Again) else None
    state = ForwardState.FAILED if again is None else ForwardState.DUE
    if again is None:
        log.error(
            "a delivery was given up; `vtsync forwards list --failed` shows it, `vtsync forwards retry` tries again",
            receiver=delivery.receiver,
            event_id=delivery.event_id,
            reason=outcome.words,
        )
    return {
        "b_id": delivery.id,
        "b_owner": delivery.owner,
        "b_state": state,
        "b_due_at": again or now,
        "b_last_error": outcome.words,
    }


def _is_due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return forward.c.state == ForwardState.DUE, forward.c.due_at <= now


def _in_connection(name: str) -> ColumnElement[bool]:
    return forward.c.target.startswith(f"crm:{name}:", autoescape=True)


def _of_subscriber(target: str, now: datetime) -> Select[Any]:
    f = forward.c
    chosen = select(f.id).where(f.target == target, *_is_due(now)).order_by(f.due_at, f.id)
    return chosen.with_for_update(skip_locked=True)


def _of_connection(name: str, now: datetime) -> Select[Any]:
    """In the order in which things happened; a record waits for what is older and not written to it yet."""
    f, older = forward.c, forward.alias("older")
    waits = or_(older.c.state == ForwardState.SENDING, and_(older.c.state == ForwardState.DUE, older.c.due_at > now))
    unfinished = older.c.state.in_((ForwardState.DUE, ForwardState.SENDING))  # for the index
    before = exists(select(older.c.id).where(older.c.target == f.target, older.c.id < f.id, unfinished, waits))
    return select(f.id).where(_in_connection(name), *_is_due(now), ~before).order_by(f.id)


def has_due(connection: Connection, now: datetime) -> bool:
    """Return whether a worker has something to do: deliver, fan out an event, or take back an ended lease."""
    f = forward.c
    left = and_(f.state == ForwardState.SENDING, LeaseColumns(forward).has_ended(now))
    waits = select(f.id).where(or_(and_(*_is_due(now)), left)).limit(1)
    return connection.scalar(select(public_event.c.id).limit(1)) is not None or connection.scalar(waits) is not None


def oldest_due(connection: Connection, now: datetime) -> datetime | None:
    """Return since when the delivery is due that has waited longest; None: none is due."""
    due_at = forward.c.due_at
    oldest: datetime | None = connection.scalar(select(due_at).where(*_is_due(now)).order_by(due_at).limit(1))
    return oldest
