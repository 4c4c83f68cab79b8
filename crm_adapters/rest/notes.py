"""What a run noticed, in sentences for people. They are kept in the adapter's memory, so they survive a restart."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any


class RunNotes:
    """Counts what is odd in a run. ``memory["notes"]`` are the sentences."""

    def __init__(self, memory: MutableMapping[str, Any]) -> None:
        self._memory = memory

    def begin(self) -> None:
        """Forget the run before."""
        again = self._memory.pop("again", None)
        for name in ("ignored", "notes"):
            self._memory.pop(name, None)
        if again:
            self._memory["notes"] = [again]

    def say_again(self, reason: str) -> None:
        """Say in the run that follows why it reads everything."""
        self._memory["again"] = reason

    def count_ignored(self, where: str, parameter: str, older: int) -> None:
        """Count records that are older than what was asked for."""
        counts = {**self._memory.get("ignored", {})}
        counts[where] = [parameter, counts.get(where, ["", 0])[1] + older]
        self._memory["ignored"] = counts
        self._memory["notes"] = [
            f'{place} ignores "{name}": {count} records are older than what was asked for, so each run reads too much.'
            " Correct since.parameter and since.format, or remove since"
            for place, (name, count) in counts.items()
        ]
