"""Checks which processes of the fleet are alive, and whether a worker runs the tick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from config.alert_kinds import AlertKind
from config.models import Settings
from config.types import is_loopback
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.text import counted, duration
from worker.doctor.status import overview
from worker.doctor.work import judge_work, read_work, stuck_carriers
from worker.monitoring.heartbeats import ALIVE_SECONDS, TICK_ROLE
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.tables import heartbeat
from worker.upkeep.rollback_guard import lost_ticks

ALIVE = timedelta(seconds=ALIVE_SECONDS)
LONG_SILENCE = timedelta(minutes=30)
START_ALL = "start it: `vtsync up` on one machine, or `vtsync worker` and `vtsync beat`"


@dataclass(frozen=True, slots=True)
class FleetProcess:
    """One heartbeat. ``host`` is empty for the tick."""

    role: str
    host: str
    version: str
    seen_at: datetime


def check_fleet(runtime: Runtime, *, brief: bool = False) -> Iterator[Finding]:
    """Check heartbeats, overdue work, accounts, and what waits for a person, all from the store.

    ``brief``: see ``overview``.
    """
    yield from check_processes(runtime)
    yield from overview(runtime, brief=brief).findings


def check_processes(runtime: Runtime) -> Iterator[Finding]:
    """Check heartbeats and overdue work."""
    now = utcnow()
    with reading(runtime.engine) as db:
        processes = [_process(row) for row in db.execute(select(heartbeat))]
        work = read_work(db, runtime.settings, now)
        stuck = stuck_carriers(db)
    yield from judge_processes(processes, work.queued, runtime.settings, now)
    yield from judge_hosts(processes, runtime.settings, now)
    yield from judge_work(work, now)
    yield from stuck


def check_history(runtime: Runtime) -> Iterator[Finding]:
    """Check that the store was not replaced by an older state of itself."""
    if lost_ticks(runtime):
        yield problem(
            AlertKind.NO_TICK,
            "store",
            "it is older than the last tick, as after restoring a backup",
            "texts sent since then would be sent again, so vtsync sends nothing",
            "stop every process, then run `vtsync restored`",
        )


def _process(row: Any) -> FleetProcess:
    parts = row.id.split(":")
    return FleetProcess(row.role, parts[1] if len(parts) > 2 else "", row.version, row.seen_at)


def judge_processes(
    processes: Sequence[FleetProcess], queued: int, settings: Settings, now: datetime
) -> Iterator[Finding]:
    """Judge whether workers, scheduler and HTTP API are alive and have the same version. Pure.

    ``queued`` is the number of texts that wait to be sent.
    """
    alive = [one for one in processes if one.role != TICK_ROLE and now - one.seen_at < ALIVE]
    count = {role: sum(one.role == role for one in alive) for role in ("worker", "beat", "web")}
    if not alive:
        level = problem if queued else warning
        waiting = f"; {counted(queued, 'queued text')}" if queued else ""
        yield level(
            AlertKind.NO_TICK,
            "fleet",
            f"no vtsync process is running{waiting}",
            "nothing is synced or sent",
            START_ALL,
        )
        yield from _long_silence(processes, now)
        return
    yield ok("fleet", ", ".join(f"{number} {role}" for role, number in count.items() if number))
    if not count["worker"] and not count["beat"]:
        yield problem(
            AlertKind.NO_TICK,
            "fleet",
            "no worker is running, and no scheduler is running",
            "nothing is synced or sent",
            "`vtsync up` starts both on one machine; `vtsync worker` and `vtsync beat` start them one by one",
        )
    elif not count["worker"]:
        yield problem(
            AlertKind.NO_TICK,
            "fleet",
            "no worker is running",
            "nothing is synced or sent",
            "start `vtsync worker`; the log of the last one says why it stopped",
        )
    elif not count["beat"]:
        yield problem(
            AlertKind.NO_TICK,
            "fleet",
            "no scheduler is running",
            "no sync starts on schedule, and nobody picks up work that a crashed worker left behind",
            "start `vtsync beat`; the log of the last one says why it stopped",
        )
    yield from _tick(processes, settings, now) if count["worker"] and count["beat"] else ()
    if _expects_calls(settings) and not count["web"]:
        yield warning(
            FindingCode.WEB_NOT_RUNNING,
            "fleet",
            "the Relay or carriers are configured, but `vtsync web` is not running",
            "replies, STOP and carrier events do not arrive",
            "start `vtsync web`; docs/http.md describes the proxy in front of it",
        )
    versions = sorted({one.version for one in alive})
    if len(versions) > 1:
        yield warning(
            FindingCode.VERSIONS_DIFFER,
            "fleet",
            f"versions {' and '.join(versions)} are running side by side",
            "that is safe during an upgrade, but not permanently",
            "restart the older processes",
        )


def _long_silence(processes: Sequence[FleetProcess], now: datetime) -> Iterator[Finding]:
    last = max((one.seen_at for one in processes), default=now)
    if now - last > LONG_SILENCE:
        yield warning(
            FindingCode.LONG_SILENCE,
            "fleet",
            f"the last sign of life in the store is {duration(now - last)} old",
            "if the store was restored from a backup, texts sent since then would be sent again",
            "if it was, run `vtsync restored` before you start anything",
        )


def _expects_calls(settings: Settings) -> bool:
    return bool(settings.carriers) or any(one.relay_secret is not None for one in settings.accounts.values())


def _tick(processes: Sequence[FleetProcess], settings: Settings, now: datetime) -> Iterator[Finding]:
    last = max((one.seen_at for one in processes if one.role == TICK_ROLE), default=None)
    allowed = 3 * settings.worker.tick_every + timedelta(seconds=30)
    if last is not None and now - last < allowed:
        yield ok("fleet", f"the last tick was {duration(now - last)} ago")
        return
    yield problem(
        AlertKind.NO_TICK,
        "fleet",
        "no worker has carried out a tick yet" if last is None else f"the last tick was {duration(now - last)} ago",
        "schedules do not run: no worker takes the scheduler's ticks, or they wait in the queue",
        "read the logs of the scheduler and the workers; both must use the same broker",
    )


def judge_hosts(processes: Sequence[FleetProcess], settings: Settings, now: datetime) -> Iterator[Finding]:
    """Judge whether store and broker suit the number of machines. Pure."""
    hosts = sorted({one.host for one in processes if one.host and now - one.seen_at < ALIVE})
    broker = "" if settings.broker.url is None else settings.broker.url.get_secret_value()
    shared_broker = bool(urlsplit(broker).hostname) and not is_loopback(f"http://{urlsplit(broker).hostname}")
    if settings.database_url().startswith("sqlite"):
        if len(hosts) > 1:
            yield problem(
                FindingCode.MACHINES_APART,
                "fleet",
                f"several machines ({', '.join(hosts)}) use one SQLite file",
                "SQLite's locks do not work across machines: the file gets damaged and texts are sent twice",
                "set store.url to a PostgreSQL database",
            )
        elif shared_broker:
            yield warning(
                FindingCode.MACHINES_APART,
                "fleet",
                "the store is a file on this machine, but the broker is a server",
                "a worker on another machine would put jobs into its own store, which this machine cannot see",
                "set store.url to a PostgreSQL database before you start workers elsewhere",
            )
    if not broker and len(hosts) > 1:
        yield problem(
            FindingCode.MACHINES_APART,
            "fleet",
            f"several machines ({', '.join(hosts)}) are running, but the queue is a folder on one of them",
            "the other machines get no work",
            "set broker.url to a Redis or RabbitMQ server",
        )
