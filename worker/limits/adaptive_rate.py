"""How VirtualText's responses slow an account down. Pure, except for the failure counter that each process keeps.

* A 429 lowers the rate of the whole fleet. The rate then rises again: additive increase, multiplicative decrease, as in
  TCP. A request that got a 429 was not carried out, so probing for the limit repeatedly does little harm.
* Repeated failures (5xx, no response) open the breaker: no requests for a while, then one single request, the probe. A
  send to a failing platform ends as unknown and costs a person's time, so it is not made at all.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from worker.core.backoff import Backoff

LOWERED_TO = 0.7
SLOWEST = 1.0
"""Requests a second. Where even that is too much, each 429 says how long to wait."""
RISES_EVERY = timedelta(seconds=1)
RISES_BY = 0.1
"""Share of the lowered rate: a little more than 4 seconds restore what a 429 took away."""
FORGOTTEN_AT = 16.0
"""Times the lowered rate. Where no rate is configured, the ceiling ends 150 seconds after the last 429."""
SAME_STORM = timedelta(seconds=5)
"""A 429 this soon after the last one is ignored: its request was made before the lower rate took effect."""

FAILURES_TO_OPEN = 5
BREAKER_BACKOFF = Backoff(first=15.0, longest=600.0)
"""How long the breaker stays open, by how often it has opened (from 1) since the last success."""


def lowered_rate(rate: float) -> float:
    """Return the ceiling, in requests a second, after a 429 that came at ``rate``."""
    return max(rate * LOWERED_TO, SLOWEST)


def rate_at_429(observed: float, ceiling: float | None, lowered_to: float | None) -> float:
    """Return the rate at which a 429 came: the ``observed`` requests a second, or as many as the ceiling allowed.

    The ``ceiling`` rises by itself from the rate it was ``lowered_to``, even while nobody uses it.
    """
    if ceiling is None or lowered_to is None:
        return observed
    return min(ceiling, max(observed, lowered_to))


def ceiling_now(ceiling: float | None, since: datetime | None, now: datetime) -> float | None:
    """Return what a ``ceiling`` set at ``since`` has risen to. None: nothing slows the account down any more."""
    if ceiling is None or since is None:
        return None
    factor = 1 + RISES_BY * max((now - since) / RISES_EVERY, 0.0)
    return None if factor >= FORGOTTEN_AT else ceiling * factor


class FailureCounter:
    """Failures of one account in this process; each success cancels one of them. Safe for threads.

    A few failures among many successes are not an outage. Each process counts for itself.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0

    def add(self, *, failed: bool | None) -> bool:
        """Count one response; None counts as neither. Return True when the breaker must open now."""
        if failed is None:
            return False
        with self._lock:
            self._failures = max(self._failures + (1 if failed else -1), 0)
            if self._failures < FAILURES_TO_OPEN:
                return False
            self._failures = 0
            return True
