"""Compares clocks: each machine uses its own for leases, due times and quiet hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from worker.core.findings import Finding, ok, problem, warning

NOTICED = timedelta(seconds=5)
TOO_MUCH = timedelta(seconds=30)


def judge_clock(whose: str, theirs: datetime, asked: datetime, answered: datetime) -> Finding:
    """Compare ``theirs`` with our clock, which was read before (``asked``) and after (``answered``) it. Pure."""
    early, late = theirs - answered, theirs - asked
    # A difference that the round trip can explain does not count. A Date header has whole seconds.
    apart = early if early > timedelta(0) else min(late + timedelta(seconds=1), timedelta(0))
    if abs(apart) < NOTICED:
        return ok("clock", f"the same as {whose}")
    ahead = "behind" if apart > timedelta(0) else "ahead of"
    level = problem if abs(apart) >= TOO_MUCH else warning
    return level(
        "clock",
        f"this machine is {abs(apart).total_seconds():.0f} s {ahead} {whose}",
        "a worker with a wrong clock takes over rows that others are working on, and sends texts at the wrong hour",
        "synchronize both machines by NTP (`timedatectl` shows the state of this one)",
    )


def now() -> datetime:
    """Return the time of this machine's clock."""
    return datetime.now(UTC)
