"""How long to wait before the next attempt: exponential backoff, the one formula for every retry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits ``first`` seconds after the first attempt, ``factor`` times as long after each further one.

    Never longer than ``longest`` seconds.
    """

    first: float
    longest: float
    factor: float = 2.0

    def seconds(self, attempt: int, jitter: float = 0.0) -> float:
        """The wait after attempt number ``attempt`` (from 1). ``jitter``, from 0 to 1, takes off up to half of it.

        Callers pass a random jitter where many wait at once, so that they do not all come back together.
        """
        # The exponent is bounded because a float overflows at about 2 ** 1024.
        wait = min(self.first * self.factor ** min(max(attempt, 1) - 1, 60), self.longest)
        return wait * (1 - jitter / 2)

    def wait(self, attempt: int, jitter: float = 0.0) -> timedelta:
        """The same as a ``timedelta``."""
        return timedelta(seconds=self.seconds(attempt, jitter))
