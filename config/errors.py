"""Problems of a configuration: all of them at once, each with a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One problem to correct.

    ``key`` is dotted (``accounts.main.token``), or empty for the file itself. ``value`` is the value as written, safe
    to show: ``(hidden)`` replaces a secret, and None means that there is nothing to show. ``message`` says what is
    wrong, and ``remedy`` what is allowed or what to do.
    """

    key: str
    value: str | None
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        head = self.key or "the file"
        lines = [head if self.value is None else f"{head} = {self.value}", f"    {self.message}"]
        if self.remedy:
            lines.extend(f"    {line}" for line in self.remedy.splitlines())
        return "\n".join(lines)


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` lists everything that is wrong; ``str()`` is for the operator."""

    def __init__(self, problems: Iterable[ConfigProblem], path: str = "") -> None:
        self.problems: tuple[ConfigProblem, ...] = _by_table(problems)
        self.path = path
        super().__init__(self.problems, path)

    def __str__(self) -> str:
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        head = f"{self.path or 'The configuration'} has {count}:"
        return "\n\n".join([head, *map(str, self.problems)])


def _by_table(problems: Iterable[ConfigProblem]) -> tuple[ConfigProblem, ...]:
    """Remove duplicates and group the problems of each table, in the order in which they were found."""
    sections: dict[str, int] = {}
    tables: dict[str, int] = {}
    unique = list(dict.fromkeys(problems))
    for problem in unique:
        sections.setdefault(_start(problem.key, 1), len(sections))
        tables.setdefault(_start(problem.key, 2), len(tables))
    return tuple(sorted(unique, key=lambda p: (sections[_start(p.key, 1)], tables[_start(p.key, 2)])))


def _start(key: str, parts: int) -> str:
    return ".".join(key.split(".")[:parts])
