"""What is wrong with a configuration: every problem at once, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing to put right.

    ``key`` is dotted (``accounts.main.token``) and empty where the file itself is meant. ``value`` is the value as
    written, safe to show: ``(hidden)`` stands for a secret, and None for nothing worth showing. ``message`` says what
    is wrong and ``remedy`` what is allowed or what to do.
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
    """The configuration cannot be used. ``problems`` lists everything that was found; ``str()`` is for the operator."""

    def __init__(self, problems: Iterable[ConfigProblem], path: str = "") -> None:
        self.problems: tuple[ConfigProblem, ...] = _by_table(problems)
        self.path = path
        super().__init__(self.problems, path)

    def __str__(self) -> str:
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        head = f"{self.path or 'The configuration'} has {count}:"
        return "\n\n".join([head, *map(str, self.problems)])


def _by_table(problems: Iterable[ConfigProblem]) -> tuple[ConfigProblem, ...]:
    """Without repetitions, and what concerns one table of the file together, in the order in which it was found."""
    sections: dict[str, int] = {}
    tables: dict[str, int] = {}
    unique = list(dict.fromkeys(problems))
    for problem in unique:
        sections.setdefault(_start(problem.key, 1), len(sections))
        tables.setdefault(_start(problem.key, 2), len(tables))
    return tuple(sorted(unique, key=lambda p: (sections[_start(p.key, 1)], tables[_start(p.key, 2)])))


def _start(key: str, parts: int) -> str:
    return ".".join(key.split(".")[:parts])
