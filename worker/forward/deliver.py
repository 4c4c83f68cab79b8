"""Delivers what is due: claimed with a lease, delivered without a transaction, written back."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
import requests
import structlog
from kombu.exceptions import OperationalError as BrokerAway
from sqlalchemy import Connection, and_, exists, func, or_, select, update

from crm_adapters.base import AdapterError
from worker.forward import crm, webhooks
from worker.forward.outcome import Again, Done, GivenUp, Outcome, next_try
from worker.runtime import Runtime
from worker.store.db import new_lease_owner, writing
from worker.store.models import ForwardState, utcnow
from worker.store.tables import forward

PORTION = 100
AT_ONCE = 8
A_TARGET = 8
"""Deliveries to one subscriber in a portion: one that is slow leaves room for the others."""
LEASE = timedelta(minutes=5)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of deliveries."""

    done: int = 0
    retried: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one receiver, that only ``owner`` works on."""

    id: int
    owner: str
    event_id: str
    target: str
    payload: str
    attempt: int


def forward_due(runtime: Runtime, limit: int) -> Report:
    """Deliver up to ``limit`` events that are due. Safe in any number of workers at once."""
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(AT_ONCE, "forward") as pool, requests.Session() as session:
        while counts.total() < limit and not runtime.stop.requested:
            with writing(runtime.engine) as connection:
                claimed = _claim(connection, utcnow())
            if not claimed:
                break
            jobs = _jobs(runtime, session, claimed)
            results = [result for found in pool.map(lambda job: job(), jobs) for result in found]
            with writing(runtime.engine) as connection:
                for delivery, outcome in results:
                    counts[_finish(connection, delivery, outcome, utcnow())] += 1
    return Report(counts["done"], counts["retried"], counts["failed"])


def _claim(connection: Connection, now: datetime) -> list[Delivery]:
    """The oldest that are due: a few of each subscriber, and of each CRM record the one whose turn it is."""
    f, older = forward.c, forward.alias("older")
    waiting = or_(
        and_(f.state == ForwardState.DUE, f.due_at <= now),
        and_(f.state == ForwardState.SENDING, f.lease_until <= now),
    )
    unfinished = older.c.state.in_((ForwardState.DUE, ForwardState.SENDING))
    turn = ~exists(select(older.c.id).where(older.c.target == f.target, older.c.id < f.id, unfinished))
    rank = func.row_number().over(partition_by=f.target, order_by=(f.due_at, f.id)).label("rank")
    ranked = (
        select(f.id, f.due_at, rank)
        .where(waiting, or_(f.target.not_like("crm:%"), turn))
        .order_by(f.due_at, f.id)
        .limit(PORTION * 10)
        .subquery()
    )
    chosen = select(ranked.c.id).where(ranked.c.rank <= A_TARGET).order_by(ranked.c.due_at, ranked.c.id).limit(PORTION)
    ids = list(connection.execute(chosen).scalars())
    owner = new_lease_owner()
    rows = connection.execute(
        update(forward)
        .where(f.id.in_(ids), waiting)
        .values(state=ForwardState.SENDING, lease_owner=owner, lease_until=now + LEASE, attempts=f.attempts + 1)
        .returning(f.id, f.event_id, f.target, f.payload, f.attempts)
    ).all()
    return [
        Delivery(row.id, owner, row.event_id, row.target, row.payload, row.attempts)
        for row in sorted(rows, key=lambda row: row.id)
    ]


Results = list[tuple[Delivery, Outcome]]


def _jobs(runtime: Runtime, session: requests.Session, claimed: Sequence[Delivery]) -> list[Any]:
    """What can be done side by side: each event of a subscriber, all of a CRM connection together."""
    by_connection: dict[str, list[Delivery]] = defaultdict(list)
    jobs: list[Any] = []
    for delivery in claimed:
        kind, _, name = delivery.target.partition(":")
        if kind == "crm":
            by_connection[name.partition(":")[0]].append(delivery)
        else:
            jobs.append(partial(_to_subscriber, runtime, session, name, delivery))
    return jobs + [partial(_to_crm, runtime, name, several) for name, several in by_connection.items()]


def _to_subscriber(runtime: Runtime, session: requests.Session, name: str, delivery: Delivery) -> Results:
    subscriber = runtime.settings.subscribers.get(name)
    if subscriber is None:
        return [(delivery, GivenUp(f'there is no subscriber "{name}" in the configuration any more'))]
    if subscriber.task is None:
        outcome = webhooks.deliver(session, subscriber, delivery.event_id, delivery.payload, utcnow())
    else:
        outcome = _to_task(subscriber.task, subscriber.queue, delivery)
    return [(delivery, outcome)]


def _to_task(task: str, queue: str | None, delivery: Delivery) -> Outcome:
    from worker.app import app

    event = {"id": delivery.event_id, **orjson.loads(delivery.payload)}
    try:
        app.send_task(task, kwargs={"event": event}, queue=queue, task_id=delivery.event_id, ignore_result=True)
    except BrokerAway:
        return Again("the broker cannot be reached")
    return Done()


def _to_crm(runtime: Runtime, connection: str, deliveries: Sequence[Delivery]) -> Results:
    if connection not in runtime.settings.connections:
        gone = GivenUp(f'there is no connection "{connection}" in the configuration any more')
        return [(delivery, gone) for delivery in deliveries]
    try:
        with crm.writer(runtime.settings, connection) as adapter:
            return [(one, _write(adapter, runtime, connection, one)) for one in deliveries]
    except AdapterError as error:
        return [(delivery, crm.outcome_of(error)) for delivery in deliveries]


def _write(adapter: Any, runtime: Runtime, connection: str, delivery: Delivery) -> Outcome:
    external_id = delivery.target.split(":", 2)[2]
    event: Mapping[str, Any] = orjson.loads(delivery.payload)
    return crm.deliver(adapter, runtime.settings, connection, external_id, delivery.event_id, event)


def _finish(connection: Connection, delivery: Delivery, outcome: Outcome, now: datetime) -> str:
    """Write down what became of a delivery; nothing when its lease was lost. Returns the word for the report."""
    values: dict[str, Any] = {"lease_owner": None, "lease_until": None}
    word = "done"
    match outcome:
        case Done():
            values |= {"state": ForwardState.DONE, "last_error": ""}
        case Again():
            again = next_try(outcome, delivery.attempt, now, random.random())
            state = ForwardState.FAILED if again is None else ForwardState.DUE
            values |= {"state": state, "last_error": outcome.words} | ({"due_at": again} if again else {})
            word = "failed" if again is None else "retried"
        case GivenUp():
            values |= {"state": ForwardState.FAILED, "last_error": outcome.words}
            word = "failed"
    mine = and_(forward.c.id == delivery.id, forward.c.lease_owner == delivery.owner)
    connection.execute(update(forward).where(mine).values(**values))
    if word == "failed":
        log.error(
            "a delivery was given up", target=delivery.target, event_id=delivery.event_id, reason=values["last_error"]
        )
    return word
