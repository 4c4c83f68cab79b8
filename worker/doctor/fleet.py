"""The fleet: who lives, whether the tick goes round, whether work gets done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Connection, func, or_, select

from config.models import Settings
from config.types import is_loopback
from worker.core.states import ForwardState, InboxState, MessageState, PushState
from worker.doctor.findings import Finding, ok, problem, warning
from worker.doctor.status import overview
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.tables import (
    account_state,
    carrier_state,
    connection_state,
    contact,
    forward,
    heartbeat,
    inbox_event,
    message,
)
from worker.upkeep.rollback_guard import lost_ticks

ALIVE = timedelta(seconds=90)
"""Heartbeats come each 30 seconds."""
LATE, VERY_LATE = timedelta(minutes=5), timedelta(minutes=30)
LONG_QUEUE = 500
LOOK_AGAIN_SECONDS = 1.0
START = "start it: `vtsync up` on one machine, or `vtsync worker` and `vtsync beat`"


@dataclass(frozen=True, slots=True)
class Process:
    """One heartbeat. ``host`` is empty for the tick."""

    role: str
    host: str
    version: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """What is left undone: since when the oldest text is due, rows whose worker vanished, syncs that are late."""

    oldest_due: datetime | None
    left: int
    late_syncs: tuple[str, ...]
    queued: int


def check_fleet(runtime: Runtime) -> Iterator[Finding]:
    """Heartbeats and what is left undone, as the store has them."""
    now = utcnow()
    with reading(runtime.engine) as db:
        processes = [_process(row) for row in db.execute(select(heartbeat))]
        work = _work(db, runtime.settings, now)
        stuck = _carriers(db)
    yield from judge_processes(processes, work, runtime.settings, now)
    yield from judge_hosts(processes, runtime.settings, now)
    yield from judge_work(work, now)
    yield from stuck
    yield from _waiting_for_a_person(runtime)


def check_past(runtime: Runtime) -> Iterator[Finding]:
    """Whether the store still knows what it knew."""
    if lost_ticks(runtime):
        yield problem(
            "store",
            "it has gone back in time, as after a restored backup",
            "what was sent since would be sent again, so nothing is sent",
            "stop every process, then `vtsync restored`",
        )


def _process(row: Any) -> Process:
    parts = row.id.split(":")
    return Process(row.role, parts[1] if len(parts) > 2 else "", row.version, row.seen_at)


def judge_processes(processes: Sequence[Process], work: Work, settings: Settings, now: datetime) -> Iterator[Finding]:
    """Whether workers, scheduler and HTTP side live, and are of one version. Pure."""
    alive = [one for one in processes if one.role != "tick" and now - one.seen_at < ALIVE]
    count = {role: sum(one.role == role for one in alive) for role in ("worker", "beat", "web")}
    if not alive:
        level = problem if work.queued else warning
        waiting = f", and {work.queued} texts wait" if work.queued else ""
        yield level("fleet", f"nothing of vtsync runs{waiting}", "nothing is synced or sent by itself", START)
        yield from _went_back(processes, now)
        return
    yield ok("fleet", ", ".join(f"{number} {role}" for role, number in count.items() if number))
    if not count["worker"]:
        yield problem("fleet", "no worker runs", "nothing is synced or sent", "start `vtsync worker`, and see its log")
    if not count["beat"]:
        yield problem(
            "fleet",
            "no scheduler runs",
            "no sync starts by its schedule, and what was left behind is not found again",
            "start `vtsync beat`, and see its log",
        )
    yield from _tick(processes, settings, now) if count["worker"] and count["beat"] else ()
    if _calls_come_in(settings) and not count["web"]:
        yield warning(
            "fleet",
            "Relay or carriers are configured, and no `vtsync web` runs",
            "replies, STOP and carriers' events are not heard",
            "start `vtsync web`, and see docs/http.md for the proxy before it",
        )
    versions = sorted({one.version for one in alive})
    if len(versions) > 1:
        yield warning(
            "fleet",
            f"versions {' and '.join(versions)} run side by side",
            "that is right while a new version is rolled out, and only then",
            "restart the older processes",
        )


def _went_back(processes: Sequence[Process], now: datetime) -> Iterator[Finding]:
    last = max((one.seen_at for one in processes), default=now)
    if now - last > VERY_LATE:
        yield warning(
            "fleet",
            f"the store has heard of nothing for {_ago(now - last)}",
            "if it was restored from a backup, what was sent since would be sent again",
            "in that case, and before anything is started: `vtsync restored`",
        )


def _calls_come_in(settings: Settings) -> bool:
    return bool(settings.carriers) or any(one.relay_secret is not None for one in settings.accounts.values())


def _tick(processes: Sequence[Process], settings: Settings, now: datetime) -> Iterator[Finding]:
    last = max((one.seen_at for one in processes if one.role == "tick"), default=None)
    most = 3 * settings.worker.tick_every + timedelta(seconds=30)
    if last is not None and now - last < most:
        yield ok("fleet", f"the last tick was {_ago(now - last)} ago")
        return
    yield problem(
        "fleet",
        "no tick was carried out yet" if last is None else f"the last tick was {_ago(now - last)} ago",
        "schedules stand still: ticks are made and no worker takes them, or the queue holds them back",
        "see the logs of beat and workers; both must name the same broker",
    )


def judge_hosts(processes: Sequence[Process], settings: Settings, now: datetime) -> Iterator[Finding]:
    """Whether the engines suit a fleet of several machines. Pure."""
    hosts = sorted({one.host for one in processes if one.host and now - one.seen_at < ALIVE})
    broker = "" if settings.broker.url is None else settings.broker.url.get_secret_value()
    shared_broker = bool(urlsplit(broker).hostname) and not is_loopback(f"http://{urlsplit(broker).hostname}")
    if settings.database_url().startswith("sqlite"):
        if len(hosts) > 1:
            yield problem(
                "fleet",
                f"several machines ({', '.join(hosts)}) use one SQLite file",
                "SQLite's locks do not reach across machines: the file gets damaged and texts go twice",
                "name a PostgreSQL as store.url",
            )
        elif shared_broker:
            yield warning(
                "fleet",
                "the store is a file of this machine, the broker a server",
                "a worker on another machine would take jobs into a store of its own, unknown to this one",
                "name a PostgreSQL as store.url before you start workers elsewhere",
            )
    if not broker and len(hosts) > 1:
        yield problem(
            "fleet",
            f"several machines ({', '.join(hosts)}), and the queue is files of one",
            "the others hear of no work",
            "name a Redis or RabbitMQ as broker.url",
        )


def judge_work(work: Work, now: datetime) -> Iterator[Finding]:
    """Whether what is due gets done. Pure."""
    late = timedelta(0) if work.oldest_due is None else now - work.oldest_due
    if late > LATE:
        level = problem if late > VERY_LATE else warning
        yield level(
            "work",
            f"the oldest text that may go now has waited for {_ago(late)}",
            "people get their texts late, or not at all once they expire",
            "see above for what stands still; `vtsync status` for accounts that pause; else start more workers",
        )
    if work.left:
        yield problem(
            "work",
            f"{work.left} rows are still in the hands of workers that vanished",
            "the tick gives them back, so no tick is carried out",
            "start `vtsync beat` and a worker",
        )
    if work.late_syncs:
        yield warning(
            "work",
            f"late by more than {_ago(LATE)}: {', '.join(work.late_syncs)}",
            "changes in the CRM arrive late",
            "see `vtsync status`; a sync that takes longer than its schedule needs another schedule",
        )
    if late <= LATE and not (work.left or work.late_syncs):
        yield ok("work", "nothing is late")


def _work(db: Connection, settings: Settings, now: datetime) -> Work:
    m, s = message.c, connection_state.c
    paused = select(account_state.c.account).where(
        or_(account_state.c.stopped_at.is_not(None), account_state.c.paused_until > now)
    )
    due = (m.state == MessageState.QUEUED, m.account.in_(list(settings.accounts)))
    oldest = select(func.min(m.due_at)).where(*due, m.due_at <= now, m.account.not_in(paused))
    late = select(s.connection).where(s.next_run_at < now - LATE, s.connection.in_(_scheduled(settings)))
    return Work(
        oldest_due=db.scalar(oldest),
        left=sum(db.scalar(select(func.count()).where(*rows)) or 0 for rows in _left(now - LATE)),
        late_syncs=tuple(db.scalars(late.order_by(s.connection))),
        queued=db.scalar(select(func.count()).where(*due)) or 0,
    )


def _scheduled(settings: Settings) -> list[str]:
    return [name for name, one in settings.connections.items() if one.enabled and one.schedule]


def _left(before: datetime) -> Iterator[tuple[ColumnElement[bool], ...]]:
    """Rows whose lease ran out long ago, table by table."""
    on_the_wire = contact.c.push_state.in_((PushState.CREATING, PushState.UPDATING))
    yield message.c.state == MessageState.DISPATCHING, message.c.lease_until < before
    yield on_the_wire, contact.c.lease_until < before
    yield inbox_event.c.state == InboxState.NEW, inbox_event.c.lease_until < before
    yield forward.c.state == ForwardState.SENDING, forward.c.lease_until < before


def _carriers(db: Connection) -> list[Finding]:
    rows = db.execute(select(carrier_state.c.name, carrier_state.c.last_error).where(carrier_state.c.last_error != ""))
    return [
        warning(
            f"carrier {row.name}",
            f"its list of sent texts cannot be read: {row.last_error}",
            "texts whose event was lost stay out of VirtualText's conversations",
            f"correct [carriers.{row.name}]; it is tried again by itself",
        )
        for row in rows
    ]


def _waiting_for_a_person(runtime: Runtime) -> Iterator[Finding]:
    waiting = overview(runtime).attention
    if waiting:
        yield warning(
            "waiting for you",
            "; ".join(one.words for one in waiting),
            "nothing more happens with these by itself",
            "`vtsync status` names the command for each",
        )


def check_queues(runtime: Runtime) -> Iterator[Finding]:
    """How long the queues are, and whether somebody empties them."""
    from worker.app import app
    from worker.broker.settings import INTAKE, INTERNAL

    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        before = {name: _length(connection, name) for name in (INTAKE, *INTERNAL)}
        time.sleep(LOOK_AGAIN_SECONDS if any(before.values()) else 0)
        after = {name: _length(connection, name) for name in before}
    with reading(runtime.engine) as db:
        alive = heartbeat.c.seen_at > utcnow() - ALIVE
        workers = db.scalar(select(func.count()).where(heartbeat.c.role == "worker", alive)) or 0
    yield from judge_queues(before, after, workers)


def _length(connection: Any, name: str) -> int:
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
        except connection.channel_errors:
            return 0  # no worker has made it yet


def judge_queues(before: Mapping[str, int], after: Mapping[str, int], workers: int) -> Iterator[Finding]:
    """Whether they are emptied, by their lengths a moment apart. Pure."""
    longest = ", ".join(f"{name} {length}" for name, length in after.items() if length) or "empty"
    untouched = [name for name, length in after.items() if length and length >= before[name] > 0]
    if sum(after.values()) and not workers:
        yield problem("queues", longest, "no worker takes what is there", START)
    elif untouched:
        yield warning(
            "queues",
            f"{longest}; nothing was taken from {', '.join(untouched)} for {LOOK_AGAIN_SECONDS:g} s",
            "either all workers are busy, or none of them takes this kind of work",
            "let some worker take it (worker.queues, --queues), or start more workers",
        )
    elif max(after.values(), default=0) >= LONG_QUEUE:
        yield warning(
            "queues",
            longest,
            "jobs come faster than they are taken, or workers wait for something",
            "start more workers; the log of one says what it waits for",
        )
    else:
        yield ok("queues", longest)


def _ago(length: timedelta) -> str:
    seconds = length.total_seconds()
    for unit, long in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * long:
            return f"{seconds / long:.0f} {unit}"
    return f"{seconds:.0f} seconds"
