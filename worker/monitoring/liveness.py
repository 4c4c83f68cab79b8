"""What shows that a process works: its main loop comes round, and its threads still end what they begin.

No thread of its own says "alive" here: the loop and the threads themselves do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import signals
from celery.beat import PersistentScheduler
from celery.worker import state

from worker.monitoring.heartbeats import Heart, start_heart
from worker.monitoring.pulse import PulseFile
from worker.runtime import Runtime

BROKER = "the broker"

log = structlog.get_logger(__name__)


def watch_worker(runtime: Runtime, worker: Any, answered: Callable[[], int]) -> Heart | None:
    """Feel a Celery worker's pulse. ``answered`` counts what its threads get done within tasks."""
    begun = -1

    def feel(pulse: PulseFile) -> None:
        nonlocal begun
        consumer = worker.consumer
        pulse.note(waits=BROKER if consumer.waits else "")
        if consumer.waits:
            pulse.loop()
        else:
            consumer.call_soon(pulse.loop)  # the main loop itself carries it out
        progress = state.all_total_count[0] + answered()
        if len(state.active_requests) < worker.concurrency or progress != begun:
            begun = progress
            pulse.work()

    heart = start_heart(runtime, "worker", feel)
    if heart is not None:
        signals.worker_shutting_down.connect(lambda **_: heart.pulse.note(stopping=True), weak=False)
    return heart


class WatchedScheduler(PersistentScheduler):  # type: ignore[misc] # Celery has no types
    """Celery's scheduler, whose pulse is its own loop."""

    pulse: PulseFile | None = None

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """One round of the loop."""
        if self.pulse is not None:
            self.pulse.note(loop_at=time.monotonic(), waits="")
        return super().tick(*args, **kwargs)

    def _ensure_connected(self) -> Any:
        def again(error: Exception, seconds: float) -> None:
            if self.pulse is not None:
                self.pulse.note(waits=BROKER)
            log.warning("the broker cannot be reached", error=str(error), again_in_seconds=seconds)

        return self.connection.ensure_connection(again, self.app.conf.broker_connection_max_retries)


def watch_beat(runtime: Runtime) -> Heart | None:
    """Feel the scheduler's pulse; it is ``WatchedScheduler`` that must run."""
    heart = start_heart(runtime, "beat", PulseFile.work)  # its loop does all the work
    WatchedScheduler.pulse = None if heart is None else heart.pulse
    return heart
