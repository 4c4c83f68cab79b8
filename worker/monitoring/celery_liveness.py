"""Watches Celery's worker and scheduler: that the main loop runs, and that the threads make progress.

The evidence comes from the main loop and the working threads, so a thread that only reports cannot hide that they hang.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.beat import Scheduler
from celery.utils.time import maybe_make_aware
from celery.worker import state

from worker.broker.broker_state import broker_state
from worker.monitoring.consumer import BROKER_BACKOFF
from worker.monitoring.heartbeats import HeartbeatWriter, start_heartbeat
from worker.monitoring.liveness import LivenessFile
from worker.runtime import Runtime

BROKER = "the broker"


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
        signals.worker_shutting_down.connect(lambda **_: heartbeat.file.report_stopping(), weak=False)
    return heartbeat


class WatchedScheduler(Scheduler):  # type: ignore[misc] # Celery has no types
    """Celery's scheduler, which reports each round of its loop.

    It stores nothing, because the schedule is static. Celery's default writes a pickle, which can run code when read.
    """

    liveness: LivenessFile | None = None

    def setup_schedule(self) -> None:
        """Add our entries, then Celery's own: in the other order, Celery drops its own again."""
        self.merge_inplace(self.app.conf.beat_schedule)
        self.install_default_entries(self.data)

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Run one round of the loop."""
        if self.liveness is not None:
            self.liveness.report(loop_at=time.monotonic(), waits="")
        self._go_by_the_fleets_time()
        return super().tick(*args, **kwargs)

    def _go_by_the_fleets_time(self) -> None:
        """Give each entry our application, whose ``now`` is the fleet's time; it is lost when entries are stored.

        An entry that last ran later than now, because the store's clock was wrong, would not run before that time.
        """
        now = self.app.now()
        for entry in self.schedule.values():
            entry.schedule.app = self.app
            if maybe_make_aware(entry.last_run_at) > now:
                entry.last_run_at = now
                self._heap = None  # Celery computes it again

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send a due task. If the broker cannot be used, the next interval tries again."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # noqa: BLE001 - clients of brokers raise errors of many kinds
            broker_state.failed(error.__cause__ or error)
        else:
            broker_state.works()

    def _ensure_connected(self) -> Any:
        """Block until the broker is reachable, however long that takes."""

        def failed(error: BaseException, _seconds: float = 0) -> None:
            if self.liveness is not None:
                self.liveness.report(waits=BROKER)
            broker_state.failed(error)

        for attempt in itertools.count(1):
            try:
                return self.connection.ensure_connection(failed, self.app.conf.broker_connection_max_retries)
            except self.connection.channel_errors as error:  # it can be reached, and answers with an error
                failed(error)
                time.sleep(BROKER_BACKOFF.seconds(attempt))
        return None


def watch_beat(runtime: Runtime) -> HeartbeatWriter | None:
    """Watch the scheduler, which must be a ``WatchedScheduler``."""
    heartbeat = start_heartbeat(runtime, "beat", LivenessFile.report_progress)  # its loop does all the work
    WatchedScheduler.liveness = None if heartbeat is None else heartbeat.file
    return heartbeat
