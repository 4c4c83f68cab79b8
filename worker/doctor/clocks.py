"""Clocks: leases, due times and quiet hours are by the clock of each machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from worker.doctor.findings import Finding, ok, problem, warning

NOTICED = timedelta(seconds=5)
TOO_MUCH = timedelta(seconds=30)


def judge_clock(whose: str, theirs: datetime, asked: datetime, answered: datetime) -> Finding:
    """How far ``theirs`` is from ours, which was ``asked`` and ``answered`` around it. Pure."""
    early, late = theirs - answered, theirs - asked
    # What the way there and back can explain is no difference; a Date header has whole seconds.
    apart = early if early > timedelta(0) else min(late + timedelta(seconds=1), timedelta(0))
    if abs(apart) < NOTICED:
        return ok("clock", f"the same as {whose}")
    ahead = "behind" if apart > timedelta(0) else "ahead of"
    level = problem if abs(apart) >= TOO_MUCH else warning
    return level(
        "clock",
        f"this machine is {abs(apart).total_seconds():.0f} s {ahead} {whose}",
        "a worker whose clock is wrong takes away what others still work on, and texts at the wrong hour",
        "let both machines keep time by NTP (timedatectl says whether this one does)",
    )


def now() -> datetime:
    """Ours."""
    return datetime.now(UTC)
