"""Checks the lengths of the broker's queues, and whether workers take jobs from them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from sqlalchemy import func, select

from worker.broker.jobs import count_jobs
from worker.broker.unacked import TakenJobs
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.text import counted
from worker.doctor.fleet import ALIVE, START_ALL
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.tables import heartbeat

LONG_QUEUE = 500
SECOND_LOOK_SECONDS = 1.0


def check_queues(runtime: Runtime) -> Iterator[Finding]:
    """Compare the lengths of the queues at two moments."""
    before = count_jobs(runtime.settings)
    time.sleep(SECOND_LOOK_SECONDS if before.waiting else 0)
    after = count_jobs(runtime.settings)
    with reading(runtime.engine) as db:
        alive = heartbeat.c.seen_at > utcnow() - ALIVE
        workers = db.scalar(select(func.count()).where(heartbeat.c.role == "worker", alive)) or 0
    yield judge_queues(before.queues, after.queues, workers)
    if after.taken is not None:
        yield judge_taken_jobs(after.taken, workers)


def judge_taken_jobs(taken: TakenJobs, workers: int) -> Finding:
    """Judge whether somebody does the jobs that workers have taken. Pure."""
    found = f"{counted(taken.in_progress, 'job')} in progress"
    if not taken.left_behind:
        return ok("queues", found)
    gone = f"{found}, {taken.left_behind} of them taken by workers that are gone"
    if workers:
        return ok("queues", f"{gone}; other workers take them back within a minute")
    return problem(FindingCode.QUEUE_WITHOUT_WORKER, "queues", gone, "nobody does these jobs", START_ALL)


def judge_queues(before: Mapping[str, int], after: Mapping[str, int], workers: int) -> Finding:
    """Judge by the lengths of the queues at two moments whether workers take jobs from them. Pure."""
    lengths = ", ".join(f"{name} {length}" for name, length in after.items() if length) or "empty"
    untouched = [name for name, length in after.items() if length and length >= before[name] > 0]
    if sum(after.values()) and not workers:
        return problem(FindingCode.QUEUE_WITHOUT_WORKER, "queues", lengths, "no worker takes these jobs", START_ALL)
    if untouched:
        return warning(
            FindingCode.QUEUE_WAITS,
            "queues",
            f"{lengths}; nothing was taken from {', '.join(untouched)} for {SECOND_LOOK_SECONDS:g} s",
            "either all workers are busy, or none of them takes this kind of work",
            "assign the queue to a worker (worker.queues, --queues), or start more workers",
        )
    if max(after.values(), default=0) >= LONG_QUEUE:
        return warning(
            FindingCode.QUEUE_WAITS,
            "queues",
            lengths,
            "jobs arrive faster than workers take them, or the workers wait for something",
            "start more workers; a worker's log says what it waits for",
        )
    return ok("queues", lengths)
