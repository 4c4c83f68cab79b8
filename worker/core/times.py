"""Rules for times that others send us."""

from __future__ import annotations

from datetime import datetime


def plausible(at: datetime) -> bool:
    """Return True if a text can have this time. Such a time can also be moved by a few years without overflow."""
    return 2000 <= at.year < 2100
