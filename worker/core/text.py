"""Counts in sentences for people."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 record`` or ``2,000 records``. Pass ``many`` if the plural is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
