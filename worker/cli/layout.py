"""Lays lines and rows out for the width of a terminal: a table where it fits, else a block for each row. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from rich.cells import cell_len

from worker.core.text import visible

GAP = 2
"""Spaces between two columns, and before the details of a block."""
SHORT = 16
"""A cell of at most this width is not wrapped."""
READABLE = 28
"""A column of longer cells is at least this wide; a narrower one breaks sentences into single words."""
MOST_LINES = 6
"""A cell with more lines than this makes a table hard to follow."""

_COMMAND = re.compile("`[^`\n]*`")
_TOGETHER = re.compile(r"(?<![^ (])(?:[0-9][0-9,]{0,8} (?=[a-z])|[0-9]{4}-[0-9]{2}-[0-9]{2} (?=[0-9]{2}:))")
"""The space of a count with its word, or of a day with its time."""
_WORD = re.compile("( *)([^ ]+)")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. ``number``: it holds counts, which are aligned at the right."""

    name: str
    number: bool = False

    @classmethod
    def of(cls, name: str) -> Column:
        """Read the short form of a column: "#Seen" holds counts."""
        return cls(name.removeprefix("#"), name.startswith("#"))


def wrap(line: str, width: int, hang: int = 0) -> list[str]:
    """Break a line between words, so that no part is wider than ``width``.

    Later parts are indented like the first one, by at least ``hang`` columns. A command in backticks stays on one line
    if it fits on one. A longer word stays whole, because it is an address, an id or a path; only text that is written
    without spaces, such as Japanese, is broken.
    """
    line = line.rstrip(" ")
    indent = len(line) - len(line.lstrip(" "))
    hang = min(max(hang, indent), width // 2)
    lines, current = [], ""
    for space, word in _words(line, width - hang):
        if current.strip() and cell_len(current) + len(space) + cell_len(word) > width:
            lines.append(current)
            current = " " * hang + word
        else:
            current += space + word
    return [*lines, current]


def _words(line: str, room: int) -> Iterator[tuple[str, str]]:
    """Yield the parts of a line that are not broken, each with the spaces before it."""
    joined = _COMMAND.sub(lambda one: one[0].replace(" ", "\0") if cell_len(one[0]) <= room else one[0], line)
    joined = _TOGETHER.sub(lambda one: one[0].replace(" ", "\0"), joined)
    for space, word in _WORD.findall(joined):
        whole = word.replace("\0", " ")
        if whole.isascii() or cell_len(whole) <= room:
            yield space, whole
        else:
            yield from zip(chain([space], repeat("")), _pieces(whole, max(room, 2)), strict=False)


def _pieces(text: str, width: int) -> Iterator[str]:
    piece = ""
    for letter in text:
        if piece and cell_len(piece + letter) > width:
            yield piece
            piece = ""
        piece += letter
    yield piece


def lay_out(
    columns: Sequence[str], rows: Sequence[Sequence[object]], width: int, lead: Sequence[str] = (), rule: str = "-"
) -> tuple[list[str], list[str]]:
    """Return rows as lines of at most ``width`` columns: the heading, and the lines below it.

    A table if all columns are readable in this width. Else a block for each row and no heading: the columns ``lead``
    (none: the first one) are its first line, the others are below it with their names. A column that is empty in all
    rows is left out.
    """
    cells = [[visible(str(cell)).expandtabs(4) for cell in row] for row in rows]
    shown = [index for index in range(len(columns)) if any(row[index].strip() for row in cells)]
    chosen = [Column.of(columns[index]) for index in shown]
    kept = [[row[index] for index in shown] for row in cells]
    widths = _table_widths(chosen, kept, width)
    if widths is None:
        return [], [line for row in kept for line in _block(chosen, row, width, lead or (chosen[0].name,))]
    heading = _table_lines(chosen, [one.name for one in chosen], widths)
    ruled = rule * (sum(widths) + GAP * (len(widths) - 1))
    return [*heading, ruled], [line for row in kept for line in _table_lines(chosen, row, widths)]


def _table_widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Return the width of each column; None if a table does not fit."""
    natural = [max(_widest(name), *map(_widest, cells)) for name, cells in _by_column(columns, rows)]
    least = [_least(name, cells) for name, cells in _by_column(columns, rows)]
    room = width - GAP * (len(columns) - 1)
    if sum(least) > room:
        return None
    widths, spare = list(least), room - sum(least)
    # The columns that lack least become whole first; the others share what is left.
    wanting = sorted((index for index in range(len(columns)) if natural[index] > least[index]), key=natural.__getitem__)
    for position, index in enumerate(wanting):
        more = min(natural[index] - least[index], spare // (len(wanting) - position))
        widths[index], spare = widths[index] + more, spare - more
    lines = max(len(_cell_lines(cell, size)) for row in rows for cell, size in zip(row, widths, strict=True))
    return widths if lines <= MOST_LINES else None


def _by_column(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
    for index, one in enumerate(columns):
        yield one.name, [row[index] for row in rows]


def _least(name: str, cells: Sequence[str]) -> int:
    """Return the least width in which a column is readable."""
    longest_word = max(
        (cell_len(word) for cell in cells for line in cell.split("\n") for _, word in _words(line, READABLE)), default=0
    )
    widest = max(map(_widest, cells))
    wrapped = widest if widest <= SHORT else min(widest, max(READABLE, longest_word))
    return max(wrapped, *map(cell_len, name.split()))


def _widest(cell: str) -> int:
    return max(map(cell_len, cell.split("\n")))


def _cell_lines(cell: str, width: int) -> list[str]:
    return [part for line in cell.split("\n") for part in wrap(line, width)]


def _table_lines(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    parts = [_cell_lines(cell, size) for cell, size in zip(row, widths, strict=True)]
    for number in range(max(map(len, parts))):
        line = [
            _aligned(part[number] if number < len(part) else "", size, right=one.number)
            for part, size, one in zip(parts, widths, columns, strict=True)
        ]
        yield (" " * GAP).join(line).rstrip()


def _aligned(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def _block(columns: Sequence[Column], row: Sequence[str], width: int, lead: Sequence[str]) -> Iterator[str]:
    named = list(zip(columns, row, strict=True))
    first = (" " * GAP).join(cell for name in lead for one, cell in named if one.name == name and cell)
    yield from _first_line(first, width)
    counts = [f"{one.name}: {cell}" for one, cell in named if one.number and one.name not in lead and cell]
    if counts:
        yield from wrap(" " * 2 * GAP + ", ".join(counts), width)
    for one, cell in named:
        if one.number or one.name in lead or not cell.strip():
            continue
        begin, *further = cell.split("\n")
        yield from wrap(f"{' ' * 2 * GAP}{one.name}: {begin}", width, hang=3 * GAP)
        for line in further:
            yield from wrap(" " * 3 * GAP + line.strip(), width)


def _first_line(text: str, width: int) -> list[str]:
    if cell_len(text) <= width:
        return [text]  # as it is, with two spaces between its parts
    return wrap(text, width, hang=2 * GAP)
