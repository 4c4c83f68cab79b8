"""Watches Celery's worker and scheduler: that the main loop runs, and that the threads make progress.

The evidence comes from the main loop and the working threads, so a thread that only reports cannot hide that they hang.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import signals
from celery.beat import PersistentScheduler
from celery.worker import state

from worker.monitoring.heartbeats import HeartbeatWriter, start_heartbeat
from worker.monitoring.liveness import LivenessFile
from worker.runtime import Runtime

BROKER = "the broker"

log = structlog.get_logger(__name__)


def watch_worker(runtime: Runtime, worker: Any, answered: Callable[[], int]) -> HeartbeatWriter | None:
    """Watch a Celery worker. ``answered`` returns how many requests its threads have completed."""
    last_progress = -1

    def observe(file: LivenessFile) -> None:
        nonlocal last_progress
        consumer = worker.consumer
        file.report(waits=BROKER if consumer.waits else "")
        if consumer.waits:
            file.report_loop()
        else:
            consumer.call_soon(file.report_loop)  # runs in the main loop
        progress = state.all_total_count[0] + answered()
        if len(state.active_requests) < worker.concurrency or progress != last_progress:
            last_progress = progress
            file.report_progress()

    heartbeat = start_heartbeat(runtime, "worker", observe)
    if heartbeat is not None:
        signals.worker_shutting_down.connect(lambda **_: heartbeat.file.report(stopping=True), weak=False)
    return heartbeat


class WatchedScheduler(PersistentScheduler):  # type: ignore[misc] # Celery has no types
    """Celery's scheduler, which reports each round of its loop."""

    liveness: LivenessFile | None = None

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Run one round of the loop."""
        if self.liveness is not None:
            self.liveness.report(loop_at=time.monotonic(), waits="")
        return super().tick(*args, **kwargs)

    def _ensure_connected(self) -> Any:
        def again(error: Exception, seconds: float) -> None:
            if self.liveness is not None:
                self.liveness.report(waits=BROKER)
            log.warning("the broker cannot be reached", error=str(error), again_in_seconds=seconds)

        return self.connection.ensure_connection(again, self.app.conf.broker_connection_max_retries)


def watch_beat(runtime: Runtime) -> HeartbeatWriter | None:
    """Watch the scheduler, which must be a ``WatchedScheduler``."""
    heartbeat = start_heartbeat(runtime, "beat", LivenessFile.report_progress)  # its loop does all the work
    WatchedScheduler.liveness = None if heartbeat is None else heartbeat.file
    return heartbeat
