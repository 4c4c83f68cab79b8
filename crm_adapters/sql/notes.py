"""Values that could not be read, for people: how many, in which column, for example which, and where."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any

from crm_adapters.sql.values import is_beyond

_SHOWN = 40
_END = "; triggers and messages take it for empty until it is corrected in the CRM"


class DroppedValues:
    """Counts the values of a run that triggers and messages take for empty.

    The count is in the adapter's memory, so it survives a restart.

    ``memory["notes"]`` are the sentences for people.
    """

    def __init__(self, memory: MutableMapping[str, Any], where: str) -> None:
        self._memory = memory
        self._where = where

    def begin(self) -> None:
        """Forget the values of the run before."""
        for name in ("dropped", "notes"):
            self._memory.pop(name, None)

    def add(self, names: Sequence[str], rows: Iterable[tuple[str, Sequence[Any]]]) -> None:
        """Count the values in these rows, each with its id, that JSON cannot hold."""
        counts: dict[str, list[Any]] = {name: list(found) for name, found in self._memory.get("dropped", {}).items()}
        for identifier, row in rows:
            for name, value in zip(names, row, strict=False):  # the key may follow
                if is_beyond(value):
                    counts.setdefault(name, [0, str(value)[:_SHOWN], identifier])[0] += 1
        self._memory["dropped"] = counts
        self._memory["notes"] = [*map(self._sentence, counts.items()), *self._others()]

    def say(self, note: str) -> None:
        """Add a sentence."""
        self._memory["notes"] = [*self._memory.get("notes", []), note]

    def _others(self) -> list[str]:
        return [note for note in self._memory.get("notes", []) if not note.endswith(_END)]

    def _sentence(self, found: tuple[str, Sequence[Any]]) -> str:
        name, (count, example, identifier) = found
        has = "1 record has" if count == 1 else f"{count} records have"
        kind = f'a value in "{name}" of {self._where} that cannot be used, such as {example} (record {identifier})'
        return f"{has} {kind}{_END}"
