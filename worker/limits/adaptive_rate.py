"""How an account is slowed down by what VirtualText answers. Pure but for the tally, which a process keeps.

* An answer 429 lowers the rate of the whole fleet, which then rises again: additive increase, multiplicative
  decrease, as TCP does it. A 429 provably did nothing, so finding the limit again and again costs little.
* A row of failures (5xx, no answer) opens the breaker: nothing is asked for a while, then one single request tries.
  A send that meets a failing platform ends as unknown and costs a person's time, so it is better not made.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

LOWERED_TO = 0.7
SLOWEST = 1.0
"""Requests a second. Where even that is too much, each 429 says how long to wait."""
RISES_EVERY = timedelta(seconds=1)
RISES_BY = 0.1
"""Of the lowered rate: what a 429 took away is back after little more than 4 seconds."""
FORGOTTEN_AT = 16.0
"""Times the lowered rate: where no rate is configured, there is no ceiling any more 150 seconds after the last 429."""
SAME_STORM = timedelta(seconds=5)
"""Answers to requests that were on their way at the first 429, or were not slowed down yet, say nothing new."""

FAILURES_TO_OPEN = 5
SHORTEST_OPEN = timedelta(seconds=15)
LONGEST_OPEN = timedelta(minutes=10)


def lowered(rate: float) -> float:
    """The ceiling, in requests a second, after a 429 that came at ``rate``."""
    return max(rate * LOWERED_TO, SLOWEST)


def rate_at_429(seen: float, ceiling: float | None, lowered_to: float | None) -> float:
    """What a 429 came at: requests a second that the fleet was ``seen`` to make, or as many as it was allowed.

    The ``ceiling`` rises by itself from what it was ``lowered_to``, also where nobody makes use of it.
    """
    if ceiling is None or lowered_to is None:
        return seen
    return min(ceiling, max(seen, lowered_to))


def ceiling_now(ceiling: float | None, since: datetime | None, now: datetime) -> float | None:
    """What a ``ceiling`` set at ``since`` has risen to; None: nothing slows the account down any more."""
    if ceiling is None or since is None:
        return None
    factor = 1 + RISES_BY * max((now - since) / RISES_EVERY, 0.0)
    return None if factor >= FORGOTTEN_AT else ceiling * factor


def open_for(trips: int) -> timedelta:
    """How long nothing is asked when the breaker opens for the ``trips``-th time (from 1) without a success between."""
    return min(SHORTEST_OPEN * (1 << min(trips - 1, 10)), LONGEST_OPEN)


class Tally:
    """Failures of one account in this process, each success taking one back. Safe for threads.

    A few failures among many successes are bad luck, not an outage; and whoever fails alone notices it alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0

    def add(self, *, failed: bool) -> bool:
        """Count one answer. Returns whether the breaker opens now."""
        with self._lock:
            self._failures = max(self._failures + (1 if failed else -1), 0)
            if self._failures < FAILURES_TO_OPEN:
                return False
            self._failures = 0
            return True
