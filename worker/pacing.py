"""How an account is slowed down by what VirtualText answers. Pure; the numbers are kept in ``account_state``.

* An answer 429 halves the rate of the whole fleet, which then rises again step by step: additive increase,
  multiplicative decrease, as TCP does it.
* A row of failures (5xx, no answer) opens the breaker: nothing is asked for a while, then one single request tries.
  A send that meets a failing platform ends as unknown and costs a person's time, so it is better not made.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

SLOWEST = 1.0
"""Requests a second. Where even that is too much, each 429 says how long to wait."""
RISES_EVERY = timedelta(seconds=10)
RISES_BY = 0.1
"""Of the ceiling at which the rise began: back at twice of it after 100 seconds."""
FORGOTTEN_AT = 16.0
"""Times the ceiling: where no rate is configured, the ceiling is gone 25 minutes after the last 429."""

FAILURES_TO_OPEN = 5
SHORTEST_OPEN = timedelta(seconds=15)
LONGEST_OPEN = timedelta(minutes=10)


def lowered(rate: float) -> float:
    """The ceiling, in requests a second, after a 429 that came at ``rate``."""
    return max(rate / 2, SLOWEST)


def ceiling_now(ceiling: float | None, since: datetime | None, now: datetime) -> float | None:
    """What a ``ceiling`` set at ``since`` has risen to; None: nothing slows the account down any more."""
    if ceiling is None or since is None:
        return None
    factor = 1 + RISES_BY * max((now - since) / RISES_EVERY, 0.0)
    return None if factor >= FORGOTTEN_AT else ceiling * factor


class Breaker(NamedTuple):
    """``failures``: more of them than successes of late. ``trips``: how often it opened since the last success."""

    failures: int = 0
    trips: int = 0

    @property
    def closed(self) -> bool:
        """Whether nothing is wrong: there is nothing to write down after a success."""
        return self == Breaker()


def after_answers(breaker: Breaker, failed: int, succeeded: int, *, probe: bool) -> tuple[Breaker, timedelta | None]:
    """The breaker after that many answers, and for how long to ask nothing; None: go on.

    Failures among many successes are bad luck, not an outage: each success takes one failure back.
    """
    if probe and succeeded:
        return Breaker(), None
    failures = max(breaker.failures + failed - succeeded, 0)
    if failures < FAILURES_TO_OPEN and not (probe and failed):
        return Breaker(failures, breaker.trips if failed else 0), None
    trips = breaker.trips + 1
    return Breaker(0, trips), min(SHORTEST_OPEN * 2 ** min(trips - 1, 10), LONGEST_OPEN)
