"""Counts and times in sentences for people."""

from __future__ import annotations

from datetime import timedelta


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 record`` or ``2,000 records``. Pass ``many`` if the plural is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(length: timedelta) -> str:
    """Format a length of time in its largest useful unit: ``6 minutes``."""
    seconds = length.total_seconds()
    for unit, long in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * long:
            return f"{seconds / long:.0f} {unit}"
    return f"{seconds:.0f} seconds"
