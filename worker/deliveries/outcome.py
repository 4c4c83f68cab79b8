"""What became of one delivery, and when the next try is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""The waits that the Standard Webhooks specification recommends: more than three days in all."""


@dataclass(frozen=True, slots=True)
class Done:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Not now; ``words`` say why. ``after``: the receiver said when. ``away``: it takes nothing else now, either."""

    words: str
    after: timedelta | None = None
    away: bool = False


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Never by itself; ``words`` say why and what to do."""

    words: str


@dataclass(frozen=True, slots=True)
class NotTried:
    """Claimed, and given back: the worker stops, or the receiver is away."""


Outcome = Done | Again | GivenUp | NotTried


def next_try(outcome: Again, attempt: int, now: datetime, jitter: float) -> datetime | None:
    """When to try again after the ``attempt``-th (from 1) try; None: that was the last. ``jitter``: 0 to 1."""
    if attempt > len(SCHEDULE):
        return None
    wait = SCHEDULE[attempt - 1] * (1 + jitter / 10)
    return now + max(wait, outcome.after or timedelta(0))
