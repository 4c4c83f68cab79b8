"""Compares what a decision about many touches with what the person who decides was shown. Pure."""

from __future__ import annotations

from worker.core.text import counted


class NotAsShown(ValueError):
    """More rows match now than the person was shown. Nothing was done."""


def require_as_shown(count: int, shown: int | None, one: str, many: str | None = None) -> None:
    """Raise NotAsShown, which undoes the transaction, where a decision touches more than the person was shown.

    ``shown``: how many that were; None: it does not matter. ``one`` and ``many`` name the rows.
    """
    if shown is not None and count > shown:
        matching = counted(count, f"{one} matches", f"{many or one + 's'} match")
        raise NotAsShown(f"{matching} now, and you were shown {shown:,}")
