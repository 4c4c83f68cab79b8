"""The log of requests and their outcomes. Safe from any thread."""

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
    """One request to the platform. ``outcome`` is the status of the answer, or "dropped" or "truncated"; ``fields`` is
    its JSON body; ``at`` is in seconds since 1970. Credentials are not kept.
    """

    at: float
    endpoint: str
    method: str
    path: str
    account: str
    outcome: str
    fields: dict[str, Any] | None


class RequestLog:
    """The latest requests, and counts of all."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Delete everything."""
        with self._lock:
            self._requests: deque[LoggedRequest] = deque(maxlen=KEPT_REQUESTS)
            self._counts: Counter[tuple[str, str]] = Counter()
            self._injections: list[Injection] = []
            self.in_flight = self.peak_in_flight = 0

    def started(self) -> None:
        """Count a request that has arrived."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def ended(
        self, endpoint: str, method: str, path: str, account: str, outcome: str, fields: dict[str, Any] | None
    ) -> None:
        """Log a request that is over, with an answer or without."""
        self.in_flight = max(0, self.in_flight - 1)  # a reset may have come between
        with self._lock:
            self._requests.append(LoggedRequest(time.time(), endpoint, method, path, account, outcome, fields))
            self._counts[endpoint, outcome] += 1

    def injected(self, injection: Injection) -> None:
        """Log a request that a fault has hit."""
        with self._lock:
            self._injections.append(injection)

    def requests(self, endpoint: str = "") -> list[LoggedRequest]:
        """Return the latest requests, oldest first."""
        with self._lock:
            return [request for request in self._requests if endpoint in ("", request.endpoint)]

    def injections(self) -> list[Injection]:
        """Return every request that a fault has hit, oldest first."""
        with self._lock:
            return list(self._injections)

    def count_injections(self) -> int:
        """Return how many requests a fault has hit."""
        return len(self._injections)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of requests by endpoint and outcome."""
        counts: dict[str, dict[str, int]] = {}
        with self._lock:
            for (endpoint, outcome), number in sorted(self._counts.items()):
                counts.setdefault(endpoint, {})[outcome] = number
        return counts
