"""Wakes tasks of workers from its own thread, so that no caller waits for a broker that is down."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

STOP_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Notifier:
    """A queue of tasks to wake. Each is queued only once, however often it is added. ``send`` sends one of them."""

    def __init__(self, send: Callable[..., object]) -> None:
        self._send = send
        self._waiting: dict[tuple[str, ...], None] = {}
        self._change = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Send the queued tasks, for at most ``seconds``. The next tick finds the work of those that were not sent."""
        with self._change:
            self._ended = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def notify(self, task: str, *arguments: str) -> None:
        """Add a task to wake. Return at once."""
        with self._change:
            self._waiting[task, *arguments] = None
            self._change.notify()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                # Remove it before sending: if more work is committed meanwhile, the task is added and sent again.
                what = next(iter(self._waiting))
                del self._waiting[what]
            try:
                self._send(*what)
            except Exception:
                log.exception("a task could not be woken; the next tick does it", task=what[0])
