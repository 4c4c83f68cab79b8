"""Tells workers that there is work, from a thread of its own: no caller waits for a broker that is away."""

from __future__ import annotations

import threading
from collections.abc import Callable

STOP_SECONDS = 5.0


class Telling:
    """What is to be told waits here, each thing once however often it is asked for. ``send`` tells one of them."""

    def __init__(self, send: Callable[..., object]) -> None:
        self._send = send
        self._waiting: dict[tuple[str, ...], None] = {}
        self._change = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to tell."""
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Tell what waits, for at most ``seconds``. What is not told is found by the next tick."""
        with self._change:
            self._ended = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def tell(self, task: str, *arguments: str) -> None:
        """Have it told soon. Returns at once."""
        with self._change:
            self._waiting[task, *arguments] = None
            self._change.notify()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                # Taken before it is told: what is committed meanwhile is told again.
                what = next(iter(self._waiting))
                del self._waiting[what]
            self._send(*what)
