"""Keys that have a new name. The old name keeps working, and `vtsync check` says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from config.errors import ConfigProblem
from config.problems import dotted

RENAMED = {
    ("accounts", "*", "settle_after"): "lookup_after",
    ("worker", "sweep_every"): "tick_every",
}
"""Old key to new name. ``*`` stands for any name of an account, a connection ... To rename a key, add a row."""


@dataclass(frozen=True, slots=True)
class CurrentNames:
    """A file's data under the current key names. ``written`` maps each renamed key, dotted, to the key in the file."""

    data: dict[str, Any]
    written: dict[str, str] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each old name in the file."""
        return tuple(
            f"{old} is now called {new.rpartition('.')[2]}; the old name still works"
            for new, old in self.written.items()
        )


def with_current_names(data: Mapping[str, Any]) -> CurrentNames:
    """Return ``data`` with every old key name replaced. The old and the new name together are a problem."""
    found = CurrentNames(dict(data))
    for (*table, old), new in RENAMED.items():
        for path in list(_tables(data, table)):
            _rename(found, path, old, new)
    return found


def _rename(found: CurrentNames, path: list[str], old: str, new: str) -> None:
    table = _table_to_change(found.data, path)
    if old not in table:
        return
    if new in table:
        message = f"is the old name of {new}, which is set too"
        found.problems.append(ConfigProblem(dotted([*path, old]), None, message, "remove one of the two"))
        del table[old]
        return
    table[new] = table.pop(old)
    found.written[dotted([*path, new])] = dotted([*path, old])


def _tables(data: Mapping[str, Any], pattern: list[str]) -> Iterator[list[str]]:
    """Yield the path of each table that matches ``pattern``."""
    if not pattern:
        yield []
        return
    step, *rest = pattern
    for name in data if step == "*" else [step]:
        table = data.get(name)
        if isinstance(table, dict):
            for path in _tables(table, rest):
                yield [name, *path]


def _table_to_change(data: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """Return the table at ``path``, copied on the way, so that the caller's data stays as it was."""
    for name in path:
        data[name] = dict(data[name])
        data = data[name]
    return data
