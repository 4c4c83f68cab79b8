"""What was asked and what it came to. Safe to use from any thread."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from threading import Lock
from typing import Any

from worker.sandbox.faults import Injection

KEPT_REQUESTS = 100_000


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request to the platform. ``outcome`` is the status that was answered, or "dropped" or "truncated"; ``fields``
    is its JSON body; ``at`` is in seconds since 1970. Credentials are not kept.
    """

    at: float
    endpoint: str
    method: str
    path: str
    account: str
    outcome: str
    fields: dict[str, Any] | None


class Log:
    """The latest requests, and counts of all."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._requests: deque[LoggedRequest] = deque(maxlen=KEPT_REQUESTS)
            self._counts: Counter[tuple[str, str]] = Counter()
            self._injections: list[Injection] = []
            self.in_flight = self.peak_in_flight = 0

    def started(self) -> None:
        """A request has arrived."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def ended(
        self, endpoint: str, method: str, path: str, account: str, outcome: str, fields: dict[str, Any] | None
    ) -> None:
        """A request was answered, or was not."""
        self.in_flight = max(0, self.in_flight - 1)  # a reset may have come between
        with self._lock:
            self._requests.append(LoggedRequest(time.time(), endpoint, method, path, account, outcome, fields))
            self._counts[endpoint, outcome] += 1

    def injected(self, injection: Injection) -> None:
        """A fault hit a request."""
        with self._lock:
            self._injections.append(injection)

    def requests(self, endpoint: str = "") -> list[LoggedRequest]:
        """The latest requests, oldest first."""
        with self._lock:
            return [request for request in self._requests if endpoint in ("", request.endpoint)]

    def injections(self) -> list[Injection]:
        """Every request that a fault hit, oldest first."""
        with self._lock:
            return list(self._injections)

    def count_injections(self) -> int:
        """How many requests a fault hit."""
        return len(self._injections)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many requests came to what: endpoint -> outcome -> count."""
        counts: dict[str, dict[str, int]] = {}
        with self._lock:
            for (endpoint, outcome), number in sorted(self._counts.items()):
                counts.setdefault(endpoint, {})[outcome] = number
        return counts
