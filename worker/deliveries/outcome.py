"""The outcome of one delivery, and the time of the next attempt. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""The waits that the Standard Webhooks specification recommends: more than three days in total."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver accepted it."""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """It failed, and is retried. ``after``: the wait that the receiver asks for. ``is_down``: it accepts nothing."""

    reason: str
    after: timedelta | None = None
    is_down: bool = False


@dataclass(frozen=True, slots=True)
class GaveUp:
    """It is not retried automatically. ``reason`` also says what to do."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotTried:
    """It was claimed and is released, because the worker stops or the receiver is down."""


DeliveryOutcome = Delivered | RetryLater | GaveUp | NotTried


def next_attempt_at(outcome: RetryLater, attempt: int, now: datetime, jitter: float) -> datetime | None:
    """Return the time after attempt number ``attempt`` (from 1); None after the last. ``jitter``, 0 to 1, adds 10 %."""
    if attempt > len(SCHEDULE):
        return None
    wait = SCHEDULE[attempt - 1] * (1 + jitter / 10)
    return now + max(wait, outcome.after or timedelta(0))
