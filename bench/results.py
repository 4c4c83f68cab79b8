"""Prints the figures of a benchmark with their goals: a line for each at once, and a Markdown table at the end."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of a figure: at least or at most ``bound``."""

    bound: float
    at_most: bool = False

    def met_by(self, figure: float) -> bool:
        return figure <= self.bound if self.at_most else figure >= self.bound


@dataclass
class Results:
    """The figures of one benchmark. A figure without unit is a ratio."""

    title: str
    markdown: bool = False
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def add(self, what: str, figure: float, unit: str = "", goal: Goal | None = None, beside: str = "") -> None:
        """Add a figure. ``beside`` are the two sides of a ratio, or other details."""
        asked = "" if goal is None else f"{'<=' if goal.at_most else '>='} {_shown(goal.bound, unit)}"
        met = "" if goal is None else ("yes" if goal.met_by(figure) else "NO")
        row = (what, _shown(figure, unit), asked, met, beside)
        self.rows.append(row)
        line = f"  {what:48} {row[1]:>16}  {asked:18} {met:4} {beside}"
        print(line.rstrip(), file=sys.stderr if self.markdown else sys.stdout, flush=True)

    def table(self) -> str:
        head = [f"### {self.title}", "", "| what | measured | goal | met | detail |", "| --- | --- | --- | --- | --- |"]
        return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in self.rows), ""])


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--markdown", action="store_true", help="print a Markdown table; the lines go to stderr")
    return made


@contextmanager
def results(title: str, options: argparse.Namespace) -> Iterator[Results]:
    """Collect figures, then print the table with ``--markdown``."""
    found = Results(title, options.markdown)
    print(title, file=sys.stderr if options.markdown else sys.stdout, flush=True)
    yield found
    if options.markdown:
        print(found.table(), flush=True)


def machine() -> str:
    """Describe the machine, for the document."""
    import os

    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, {platform.system()}"


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a kernel's file
        return file.read().splitlines()


def _shown(figure: float, unit: str) -> str:
    if not unit:
        return f"{figure:.2f}"
    digits = 1 if figure < 100 and unit in ("ms", "s") else 0
    return f"{figure:,.{digits}f} {unit}"
