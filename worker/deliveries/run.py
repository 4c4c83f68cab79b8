"""Makes due deliveries: claims them with a lease, sends them outside a transaction, and stores the outcomes.

Each receiver has its own threads and its own claims. So a slow receiver does not delay the others, which also get the
events that arrive meanwhile.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import orjson

from worker.core.logs import carrying_on
from worker.deliveries.claims import (
    ClaimedDelivery,
    DeliveryCounts,
    callers_due,
    claim_deliveries,
    find_due,
    finish_deliveries,
    give_up_removed,
)
from worker.deliveries.fan_out import fan_out
from worker.deliveries.jobs import DeliveryJob, Results
from worker.deliveries.outcome import RetryLater
from worker.deliveries.targets import CALLBACK, CHANNEL, Receiver, channels_of, receivers_of
from worker.deliveries.webhooks import WebhookSender
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow

THREADS_PER_RECEIVER = 4
MAX_THREADS = 64
CALLERS = 4
"""Origins of callbacks that are called at once. Their number has no limit, and subscribers must not wait for them."""
SHARE = 64
"""Deliveries that a receiver claims at once."""
LOOK_SECONDS = 1.0
"""How often to look for more work while receivers are busy."""


@dataclass
class _Round:
    """The work of one call."""

    busy: Counter[Receiver] = field(default_factory=Counter)
    """Receiver -> jobs that run."""
    only_these: bool = False
    """Deliver to no callers, and give up nothing of other receivers."""
    down: set[Receiver] = field(default_factory=set)
    """Receivers that accept nothing now; they are skipped until the next call."""
    running: dict[Future[Results], Receiver] = field(default_factory=dict)
    claimed: int = 0
    looked_at: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)


def run_deliveries(runtime: Runtime, limit: int) -> DeliveryCounts:
    """Make up to ``limit`` deliveries that are due. Safe in any number of workers at once."""
    return _run(runtime, receivers_of(runtime.settings), limit)


def run_notices(runtime: Runtime, limit: int) -> DeliveryCounts:
    """Deliver only the notices of alerts, where no worker may be there to do it."""
    return _run(runtime, channels_of(runtime.settings), limit, only_these=True)


def _run(runtime: Runtime, receivers: list[Receiver], limit: int, *, only_these: bool = False) -> DeliveryCounts:
    round_ = _Round(only_these=only_these)
    threads = min(MAX_THREADS, THREADS_PER_RECEIVER * (len(receivers) + CALLERS))
    with ThreadPoolExecutor(threads, "delivery") as pool, WebhookSender() as sender:
        while True:
            if round_.claimed < limit and not runtime.stop.requested:
                for job in _next_jobs(runtime, round_, receivers, sender, limit - round_.claimed):
                    round_.running[pool.submit(carrying_on(job))] = job.receiver
                    round_.busy[job.receiver] += 1
            if not round_.running:
                break
            finished, _ = wait(round_.running, LOOK_SECONDS, FIRST_COMPLETED)
            _store_results(runtime, round_, finished)
            if not only_these and time.monotonic() - round_.looked_at >= LOOK_SECONDS:
                fan_out(runtime)
                round_.looked_at = time.monotonic()
    return DeliveryCounts(round_.counts["done"], round_.counts["retried"], round_.counts["failed"])


def _next_jobs(
    runtime: Runtime, round_: _Round, receivers: list[Receiver], sender: WebhookSender, limit: int
) -> list[DeliveryJob]:
    now = utcnow()
    callers = [one for one in round_.busy if one.kind == CALLBACK and round_.busy[one]]
    with writing(runtime.engine) as connection:
        if not find_due(connection, now):
            return []
        if not round_.only_these:
            round_.counts["failed"] += give_up_removed(connection, receivers, now)
        callers_left = 0 if round_.only_these else CALLERS - len(callers)
        unavailable = {*callers, *round_.down}
        more = callers_due(connection, unavailable, callers_left, now) if callers_left > 0 else []
        waiting = [one for one in (*receivers, *more) if not round_.busy[one] and one not in round_.down]
        claimed = claim_deliveries(connection, dict.fromkeys(waiting, min(SHARE, limit)), now)
    round_.claimed += len(claimed)
    return [DeliveryJob(runtime, sender, several) for several in divided(claimed)]


def divided(claimed: Iterable[ClaimedDelivery]) -> list[Sequence[ClaimedDelivery]]:
    """Divide deliveries among the threads of their receivers. Pure.

    Those of one CRM record stay in one thread, and so do the callbacks of one text, and the notices of one channel.
    """
    parts: dict[tuple[Receiver, int], list[ClaimedDelivery]] = defaultdict(list)
    thread: dict[object, int] = {}
    turn: Counter[Receiver] = Counter()
    for one in claimed:
        together: object = one.target if one.receiver.is_crm or one.receiver.kind == CHANNEL else one.id
        if one.receiver.kind == CALLBACK:
            together = orjson.loads(one.payload)["data"]["id"]
        if together not in thread:
            thread[together] = turn[one.receiver] % THREADS_PER_RECEIVER
            turn[one.receiver] += 1
        parts[one.receiver, thread[together]].append(one)
    return list(parts.values())


def _store_results(runtime: Runtime, round_: _Round, finished: Iterable[Future[Results]]) -> None:
    results: Results = []
    for future in finished:
        round_.busy[round_.running.pop(future)] -= 1
        results += future.result()
    if not results:
        return
    round_.down |= {one.receiver for one, outcome in results if isinstance(outcome, RetryLater) and outcome.is_down}
    with writing(runtime.engine) as connection:
        counts = finish_deliveries(connection, results, utcnow(), random.random())
    round_.counts.update(done=counts.done, retried=counts.retried, failed=counts.failed)
