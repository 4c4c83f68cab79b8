"""Checks whether another Celery application uses our queues. Each would take jobs of the other, and lose them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select

from worker.broker.job_messages import UNKNOWN_TASK
from worker.broker.jobs import OURS, IntakeUse, look_at_intake
from worker.core.findings import Finding, FindingCode, ok, problem
from worker.core.text import counted
from worker.doctor.fleet import ALIVE
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.tables import dead_letter, heartbeat

SHARED = "each application takes jobs of the other; a job that is sent to us can be lost without a trace"
SEPARATE = (
    "give each application a RabbitMQ vhost or a Redis database of its own; or set broker.celery_queue = false, and let"
    " services send to the queue vtsync.intake"
)
NAMED = 3


@dataclass(frozen=True, slots=True)
class IntakeFacts:
    """``refused``: tasks that were asked for and are not ours. ``workers``: our own that are alive."""

    intake: IntakeUse
    refused: tuple[str, ...]
    workers: int


def check_sharing(runtime: Runtime) -> Iterator[Finding]:
    """Look at Celery's default queue, and at the messages that workers refused."""
    if not runtime.settings.broker.celery_queue:
        return
    intake = look_at_intake(runtime.settings)
    with reading(runtime.engine) as db:
        alive = heartbeat.c.seen_at > utcnow() - ALIVE
        workers = db.scalar(select(func.count()).where(heartbeat.c.role == "worker", alive)) or 0
        foreign = select(dead_letter.c.task).where(dead_letter.c.reason == UNKNOWN_TASK, dead_letter.c.task != "")
        refused = db.scalars(foreign.distinct().order_by(dead_letter.c.task)).all()
    yield judge_sharing(IntakeFacts(intake, tuple(name for name in refused if not name.startswith(OURS)), workers))


def judge_sharing(facts: IntakeFacts) -> Finding:
    """Judge whether somebody else uses the queue. Pure."""
    if tasks := sorted({*facts.intake.foreign_tasks, *facts.refused})[:NAMED]:
        found = f"jobs of another application arrive in our queues: {', '.join(tasks)}"
        return problem(FindingCode.QUEUES_SHARED, "queues", found, SHARED, SEPARATE)
    consumers = facts.intake.consumers
    if consumers is not None and consumers > facts.workers:
        others = counted(consumers - facts.workers, "program takes", "programs take")
        return problem(
            FindingCode.QUEUES_SHARED, "queues", f"{others} our jobs and are none of our workers", SHARED, SEPARATE
        )
    return ok("queues", "no other application uses our queues")
