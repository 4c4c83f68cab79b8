"""Delivers what is due: claimed with a lease, delivered without a transaction, written back.

Each receiver is served by its own few threads and claims for itself; while a slow one is waited for, the others go on
and hear of what happens meanwhile.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from worker.core.logs import carrying_on
from worker.deliveries.claims import Delivery, claim, due, finish, give_up_others
from worker.deliveries.fan_out import fan_out
from worker.deliveries.jobs import Job, Results
from worker.deliveries.outcome import Again
from worker.deliveries.webhooks import Sender
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow

THREADS_A_RECEIVER = 4
MOST_THREADS = 64
SHARE = 64
"""Deliveries that a receiver claims at once."""
LOOK_SECONDS = 1.0
"""How often it is looked for more while receivers are busy."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of deliveries."""

    done: int = 0
    retried: int = 0
    failed: int = 0


@dataclass
class _Round:
    """What is under way in one call."""

    busy: Counter[str] = field(default_factory=Counter)
    """Receiver -> jobs that run."""
    away: set[str] = field(default_factory=set)
    """Receivers that take nothing now: left alone until the next call."""
    running: dict[Future[Results], str] = field(default_factory=dict)
    claimed: int = 0
    looked_at: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)


def forward_due(runtime: Runtime, limit: int) -> Report:
    """Deliver up to ``limit`` events that are due. Safe in any number of workers at once."""
    round_ = _Round()
    receivers = receivers_of(runtime)
    threads = min(MOST_THREADS, THREADS_A_RECEIVER * max(1, len(receivers)))
    with ThreadPoolExecutor(threads, "forward") as pool, Sender() as sender:
        while True:
            if round_.claimed < limit and not runtime.stop.requested:
                for job in _next_jobs(runtime, round_, receivers, sender, limit - round_.claimed):
                    round_.running[pool.submit(carrying_on(job))] = job.receiver
                    round_.busy[job.receiver] += 1
            if not round_.running:
                break
            finished, _ = wait(round_.running, LOOK_SECONDS, FIRST_COMPLETED)
            _write_down(runtime, round_, finished)
            if time.monotonic() - round_.looked_at >= LOOK_SECONDS:
                fan_out(runtime)
                round_.looked_at = time.monotonic()
    return Report(round_.counts["done"], round_.counts["retried"], round_.counts["failed"])


def receivers_of(runtime: Runtime) -> list[str]:
    """Everybody whom the configuration names."""
    settings = runtime.settings
    return [f"subscriber:{name}" for name in settings.subscribers] + [f"crm:{name}" for name in settings.connections]


def _next_jobs(runtime: Runtime, round_: _Round, receivers: list[str], sender: Sender, limit: int) -> list[Job]:
    free = {one: min(SHARE, limit) for one in receivers if not round_.busy[one] and one not in round_.away}
    now = utcnow()
    with writing(runtime.engine) as connection:
        if not due(connection, now):
            return []
        round_.counts["failed"] += give_up_others(connection, receivers, now)
        claimed = claim(connection, free, now)
    round_.claimed += len(claimed)
    return [Job(runtime, sender, several) for several in divided(claimed)]


def divided(claimed: Iterable[Delivery]) -> list[Sequence[Delivery]]:
    """A receiver's deliveries over its threads; those of one CRM record stay together, in their order. Pure."""
    parts: dict[tuple[str, int], list[Delivery]] = defaultdict(list)
    place: dict[str, int] = {}
    turn: Counter[str] = Counter()
    for one in claimed:
        together = one.target if one.target.startswith("crm:") else str(one.id)
        if together not in place:
            place[together] = turn[one.receiver] % THREADS_A_RECEIVER
            turn[one.receiver] += 1
        parts[one.receiver, place[together]].append(one)
    return list(parts.values())


def _write_down(runtime: Runtime, round_: _Round, finished: Iterable[Future[Results]]) -> None:
    results: Results = []
    for future in finished:
        round_.busy[round_.running.pop(future)] -= 1
        results += future.result()
    if not results:
        return
    round_.away |= {one.receiver for one, outcome in results if isinstance(outcome, Again) and outcome.away}
    with writing(runtime.engine) as connection:
        counts = finish(connection, results, utcnow(), random.random())
    round_.counts.update(done=counts.done, retried=counts.retried, failed=counts.failed)
