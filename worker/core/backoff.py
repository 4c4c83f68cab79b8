"""How long to wait before the next attempt: exponential back-off, one formula for every retry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """A wait of ``first`` seconds after the first attempt, and ``factor`` times as long after each further one.

    No wait is longer than ``longest`` seconds.
    """

    first: float
    longest: float
    factor: float = 2.0

    def seconds(self, attempt: int, jitter: float = 0.0) -> float:
        """Return the wait after attempt number ``attempt`` (from 1). ``jitter``, 0 to 1, shortens it by up to half.

        Callers pass a random jitter where many wait at once, so that they do not all retry at the same time.
        """
        # The exponent is bounded because a float overflows at about 2 ** 1024.
        wait = min(self.first * self.factor ** min(max(attempt, 1) - 1, 60), self.longest)
        return wait * (1 - jitter / 2)

    def wait(self, attempt: int, jitter: float = 0.0) -> timedelta:
        """Return the same wait as a ``timedelta``."""
        return timedelta(seconds=self.seconds(attempt, jitter))
