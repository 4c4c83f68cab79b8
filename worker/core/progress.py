"""Progress of long work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

from worker.core.text import duration

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the amount done and the total; 0 means that the total is unknown."""

ESTIMATED_AFTER = 5.0
"""Seconds of work before the time that is left can be estimated."""


def untold(done: int, total: int) -> None:
    """Tell nobody."""


def progress_text(what: str, done: int, total: int, seconds: float) -> str:
    """Say how far work is after so many seconds: ``reading: 1,200 of 5,000 (24%), about 6 minutes left``. Pure."""
    if not total or done > total:  # it is not known, or has grown meanwhile
        return f"{what}: {done:,}"
    text = f"{what}: {done:,} of {total:,} ({100 * done // total}%)"
    if 0 < done < total and seconds >= ESTIMATED_AFTER:
        text += f", about {duration(timedelta(seconds=seconds * (total - done) / done))} left"
    return text
