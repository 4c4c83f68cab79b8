"""Watches for alerts beside the HTTP API: it is what notices that no worker or scheduler is left to do it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from worker.alerts.evaluate import evaluate, is_due
from worker.deliveries.run import run_notices
from worker.runtime import Runtime
from worker.store.models import utcnow

EVERY_SECONDS = 30.0
STOP_SECONDS = 5.0
NOTICES = 100

log = structlog.get_logger(__name__)


class AlertWatch:
    """A thread that evaluates alerts when no other process has, and delivers their notices without a worker."""

    def __init__(self, current: Callable[[], Runtime]) -> None:
        self._current = current
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. What it was delivering is delivered again later."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            try:
                watch_alerts(self._current())
            except Exception as error:  # noqa: BLE001 - the store may be down; the thread must go on
                log.warning("alerts could not be evaluated; they are tried again", error=type(error).__name__)


def watch_alerts(runtime: Runtime) -> None:
    """Evaluate if it is due, and deliver notices that are due."""
    now = utcnow()
    if is_due(runtime, now):
        evaluate(runtime, now)
    if runtime.settings.alerts.channels:
        run_notices(runtime, NOTICES)
