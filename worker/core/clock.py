"""The fleet's clock: every decision goes by the store's time, whatever the clocks of the machines show.

Two workers whose clocks differ by minutes would take over each other's leases, and a worker whose clock is wrong would
text people at night. So each process measures how far the store's clock is from its own *steady* clock, the one that
counts the seconds since the machine started. ``utcnow`` is that difference plus the steady clock: it asks nobody, and
a machine whose clock somebody sets does not notice. ``worker.store.clock`` measures.

If the store's clock itself is set, processes notice one after the other. For ``GRACE_SECONDS`` after such a jump, a
process judges leases by the earlier of the old and the new time, and lets its own leases end by the later one, so no
process takes what another still works on.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MEASURE_EVERY_SECONDS = 10.0
TOLERANCE_SECONDS = 0.05
"""A clock that is closer to the store's than this is used as it is. It has a finer resolution than a file's time."""
JUMP_SECONDS = 1.0
"""Clocks that drift, or are slewed by NTP, move less than this between two measurements."""
GRACE_SECONDS = 600.0
"""Longer than the leases on requests, so each of them has ended or was renewed by the new time."""

NOTICED_SECONDS = 5.0
"""A clock that differs by this or more is reported."""

_NOTHING = timedelta(0)
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # it also counts while the machine is suspended


def steady_seconds() -> float:
    """Return the seconds of a clock that nobody sets, which starts with the machine."""
    return time.clock_gettime(_STEADY)


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at the store's clock: how many seconds it is ahead of our steady clock, and how wrong that may be."""

    ahead: float
    error: float


@dataclass(frozen=True, slots=True)
class Jump:
    """The store's clock jumped ``seconds`` forward (back: negative) in all, the last time at ``at`` (steady clock)."""

    seconds: float
    at: float


class FleetClock:
    """The store's time as this process knows it. Safe for threads and after a fork."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._measured_at: float | None = None
        self._jump: Jump | None = None
        self._own_ahead = self._ahead = time.time() - steady_seconds()

    def now(self) -> datetime:
        """Return the current time of the fleet, in UTC. Until the store was measured: this machine's time."""
        return datetime.fromtimestamp(self._ahead + steady_seconds(), UTC)

    @property
    def machine_is_ahead(self) -> float:
        """By how many seconds the clock of this machine is now ahead of the fleet's time; negative: behind."""
        return time.time() - steady_seconds() - self._ahead

    @property
    def is_measured(self) -> bool:
        """Whether this process has ever seen the store's clock."""
        return self._measured_at is not None

    def is_due(self) -> bool:
        """Return True if it is time to measure: after a while, and at once when this machine's clock was set."""
        steady = steady_seconds()
        if self._measured_at is None or not 0 <= steady - self._measured_at < MEASURE_EVERY_SECONDS:
            return True
        return abs(time.time() - steady - self._own_ahead) > JUMP_SECONDS

    def follow(self, measured: Measured) -> None:
        """Go by the store's clock from now on, if the measurement shows that ours differs from it."""
        with self._lock:
            steady, is_first = steady_seconds(), self._measured_at is None
            wrong_by = measured.ahead - self._ahead
            if abs(wrong_by) > measured.error + TOLERANCE_SECONDS:
                self._ahead = measured.ahead
                if not is_first and abs(wrong_by) > JUMP_SECONDS:
                    self._jump = Jump(wrong_by + self._recent_jump().total_seconds(), steady)
            self._own_ahead = time.time() - steady
            self._measured_at = steady

    def expiry(self, now: datetime) -> datetime:
        """Return the time at which leases are judged: ``now``, or earlier for a while after a jump forward."""
        return now - max(self._recent_jump(), _NOTHING)

    def lease_start(self, now: datetime) -> datetime:
        """Return the time from which a new lease counts: ``now``, or later for a while after a jump back."""
        return now - min(self._recent_jump(), _NOTHING)

    def _recent_jump(self) -> timedelta:
        jump = self._jump
        if jump is None:
            return _NOTHING
        if steady_seconds() - jump.at > GRACE_SECONDS:
            self._jump = None
            return _NOTHING
        return timedelta(seconds=jump.seconds)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()


def file_system_seconds(file: int) -> float:
    """Write to an open file and return the time that its file system gives it, in seconds since 1970.

    That clock is the same for all processes that share the files, even if their own clocks differ.
    """
    os.pwrite(file, b".", 0)
    return os.fstat(file).st_mtime


CLOCK = FleetClock()
"""This process's clock."""

os.register_at_fork(after_in_child=lambda: CLOCK._after_fork())


def utcnow() -> datetime:
    """Return the current time of the fleet, in UTC."""
    return CLOCK.now()


def describe_clock(seconds: float) -> str:
    """Return how a clock differs from another one, for a person: ``300 s ahead of`` or ``30 s behind``."""
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}"
