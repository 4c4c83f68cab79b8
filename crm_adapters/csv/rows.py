"""Splits the text of a CSV file into rows with line numbers. Marks damaged rows, and stops at a quote left open."""

from __future__ import annotations

import csv
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Protocol, TypeAlias

from crm_adapters.base import SourceIncomplete
from crm_adapters.csv.text import FIELD_LIMIT, Chunk, is_separator_line
from crm_adapters.fields import clean_text

_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_NO_TEXT = "It holds bytes that are not text; correct the record in the CRM."
_HEAD = 1000
_MOST_LINES = 100
_MANY = 10
_PHONE_DIGITS, _EXTENSION_DIGITS = 7, 3
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Damage:
    """A row that cannot be read: the reason, as a full sentence, and the cells as far as they were recognised."""

    reason: str
    cells: list[str]


Row: TypeAlias = "tuple[int, int, list[str] | Damage]"
"""First line, last line (counted from 1), cells."""


@dataclass(frozen=True, slots=True)
class RowShape:
    """What tells a row from a part of one: its width, and the numbers of its columns.

    ``by_contact``: the email address or the phone number is the id.
    """

    width: int
    delimiter: str
    ids: Sequence[int]
    phones: Sequence[int]
    by_contact: bool
    trims: bool = False
    """The program leaves out empty cells at the end of a row, see ``leaves_out_empty_cells``."""


class RowPicker(Protocol):
    """Looks at many rows at once, for a caller who needs only few of them."""

    def pick(self, text: str) -> Iterable[list[str]]:
        """Return the cells of the rows that the caller needs. Each line of ``text`` is one row."""


def read_rows(
    chunks: Iterable[Chunk],
    delimiter: str,
    name: str,
    *,
    short_last_row: bool = False,
    picker: RowPicker | None = None,
) -> Iterator[Row]:
    """Yield every row, an empty row as an empty list. ``name`` is the file in messages.

    ``picker`` chooses the rows of those chunks whose lines are rows; their line numbers are 0.

    Raises SourceIncomplete for a quote that is never closed, and for a last line that breaks off unless
    ``short_last_row``.
    """
    return _RowReader(delimiter, name, short_last_row, picker).read(chunks)


def holds_other_rows(cells: list[str], delimiter: str, width: int, id_column: int) -> bool:
    """Return True if a row of several lines is really several rows, joined by stray quotation marks.

    That is the case if most of its lines, split on their own, have ``width`` cells and an id like the first one's.
    """
    lines = [line.split(delimiter) for line in _LINE_END.split(delimiter.join(cells))]
    if width < 2 or len(lines[0]) <= id_column:
        return False
    id_shape = _shape(lines[0][id_column])
    rowlike = sum(len(line) == width and _shape(line[id_column]) == id_shape for line in lines)
    return rowlike * 2 > len(lines)


@dataclass
class SplitRow:
    """A row, and the lines after it that may be the rest of it, behind a line break outside of quotation marks.

    The rest cannot be known for certain, and it may hold "do not text". So a row that may lack it is read only if the
    next line can be a row of its own: with an id like the first one's, and a phone number or nothing in the phone
    columns. To count cells is not enough: the rest may hold more delimiters. A short row before such a line is read,
    and its missing cells are empty, since some programs leave out empty cells at the end. If missing cells were
    unknown, most texts of such a file would be held.
    """

    shape: RowShape
    lines: list[Row] = field(default_factory=list)

    def begin(self, row: Row) -> bool:
        """Take the row if it may lack its rest: its last cell is missing or empty. Without a phone nobody is texted."""
        cells, shape = row[2], self.shape
        if isinstance(cells, Damage) or any(map(str.strip, cells[shape.width - 1 :])):
            return False
        if not any(_digits(clean_text(cell)) for cell in _at(cells, shape.phones)):
            return False
        self.lines.append(row)
        return True

    def take_rest(self, row: Row) -> bool:
        """Take the line if it may be more of the row."""
        if not self.lines or len(self.lines) >= _MOST_LINES or not self._is_rest(row):
            return False
        self.lines.append(row)
        return True

    def own_lines(self) -> list[Row]:
        """Return the lines of the rest that may be records: with an id like the first one's, or a phone number."""
        return [row for row in self.lines[1:] if self._has_id(cells := self._cells(row)) or self._has_phone(cells)]

    def _is_rest(self, row: Row) -> bool:
        cells, width = self._cells(row), self.shape.width
        has_id, has_words = self._has_id(cells), self._has_words(cells)
        if isinstance(row[2], Damage):
            return not has_id
        if len(cells) < width:
            return not has_id or has_words or self._lacks_phone(cells)
        if len(self._cells(self.lines[0])) < width:
            return not has_id or any(map(str.strip, cells[width:]))
        return not has_id and has_words

    def _lacks_phone(self, cells: list[str]) -> bool:
        """Return True if the line ends before its phone column, and fills the row up."""
        if self.shape.trims or _at(cells, self.shape.phones):
            return False
        return sum(len(self._cells(line)) - 1 for line in self.lines) + len(cells) >= self.shape.width

    def _has_id(self, cells: list[str]) -> bool:
        ids, first = _at(cells, self.shape.ids), _at(self._cells(self.lines[0]), self.shape.ids)
        if self.shape.by_contact or not any(map(str.strip, ids)) or not any(map(str.strip, first)):
            return self._has_phone(cells) or any("@" in one for one in ids)
        return any(_alike(one, other) for one, other in zip(ids, first, strict=False))

    def _has_phone(self, cells: list[str]) -> bool:
        return any(_digits(cell) >= _PHONE_DIGITS for cell in _at(cells, self.shape.phones))

    def _has_words(self, cells: list[str]) -> bool:
        """Return True if a phone column holds something else, and none a phone number."""
        texts = [text for cell in _at(cells, self.shape.phones) if (text := clean_text(cell))]
        return bool(texts) and all(_digits(text) < _EXTENSION_DIGITS for text in texts)

    def _cells(self, row: Row) -> list[str]:
        cells = recognised(row)
        return cells[0].split(self.shape.delimiter) if is_quoted_line(cells, self.shape) else cells


def leaves_out_empty_cells(rows: Iterable[Row], width: int) -> bool:
    """Return True if many of these rows are short, and none ends with an empty cell."""
    found = [cells for _, _, cells in rows if not isinstance(cells, Damage) and any(map(str.strip, cells))]
    return sum(len(cells) < width for cells in found) >= _MANY and all(cells[-1].strip() for cells in found)


def is_quoted_line(cells: Sequence[str], shape: RowShape) -> bool:
    """Return True for a line that is in quotation marks as a whole, so that its cells are one."""
    return len(cells) == 1 < shape.width == cells[0].count(shape.delimiter or "\n") + 1


def recognised(row: Row) -> list[str]:
    """Return the cells of a row, also of a damaged one."""
    return row[2].cells if isinstance(row[2], Damage) else row[2]


def is_unreadable(text: str) -> bool:
    """Return True if the text holds NUL or bytes that could not be decoded."""
    return _UNREADABLE.search(text) is not None


@dataclass
class _Quote:
    """Tracks quotation marks over lines: if one is open, and the line that opened it."""

    open: bool = False
    line: int = 0

    def take(self, text: str, line: int) -> None:
        """Read one more line. Doubled marks neither open nor close."""
        marks = text.count('"') - 2 * text.count('""')
        if marks % 2:
            self.open = not self.open
        if self.open and marks > 0:
            self.line = line


@dataclass
class _Oversized:
    """A row that is being skipped because a cell exceeds the limit. Only its beginning is kept."""

    line: int
    head: str
    quote: _Quote = field(default_factory=_Quote)
    lines: int = 0
    rowlike: int = 0

    def add(self, text: str, delimiter: str, width: int) -> None:
        """Count one more line of it."""
        self.quote.take(text, self.line + self.lines)
        self.lines += 1
        self.rowlike += text.count(delimiter) == width - 1

    @property
    def swallows(self) -> bool:
        """True if most of its lines look like rows of their own."""
        return self.lines > 2 and self.rowlike * 2 > self.lines


@dataclass
class _RowReader:
    delimiter: str
    name: str
    short_last_row: bool = False
    picker: RowPicker | None = None
    width: int = 0
    line: int = 0
    """The number of lines before the current chunk."""
    rest: str = ""
    """The beginning of a row that continues in the next chunk."""
    skipping: _Oversized | None = None

    def read(self, chunks: Iterable[Chunk]) -> Iterator[Row]:
        csv.field_size_limit(FIELD_LIMIT)
        damaged = False
        for chunk in chunks:
            if self.picker is not None and self._is_plain(chunk):
                for cells in self.picker.pick(chunk.text):
                    yield 0, 0, cells
                self.line += chunk.text.count("\n")
                continue
            lines = list(StringIO(self.rest + chunk.text, newline=""))
            damaged = chunk.damaged or (damaged and bool(self.rest))
            self.rest = ""
            yield from self._rows(lines, damaged, chunk.last)
        if self.skipping is not None:
            raise self._unclosed(self.skipping.quote.line)

    def _is_plain(self, chunk: Chunk) -> bool:
        """Return True if each line of the chunk is a row: nothing is open before it, and no cell holds a line end."""
        is_open = self.rest or self.skipping is not None or not self.width
        text = chunk.text
        if is_open or chunk.damaged or chunk.last or ("\r" in text and "\r" in text.replace("\r\n", "\n")):
            return False
        return '"' not in text or "\n" not in "".join(text.split('"')[1::2])

    def _rows(self, lines: list[str], damaged: bool, last: bool) -> Iterator[Row]:
        """Yield the rows of these lines. A row that is still open at the end is kept in ``self.rest``."""
        remaining, before = iter(lines), self.line
        at = 0
        if self.skipping is not None:
            at = yield from self._skip(self.skipping, remaining, 0)
        while at < len(lines):
            reader = csv.reader(remaining, delimiter=self.delimiter, strict=True)
            start, base = at, at
            try:
                for cells in reader:
                    at = base + reader.line_num
                    if damaged or last or not self.width:
                        yield self._row(lines, start, at, cells, damaged, last)
                    else:  # nearly every row of a long file: avoid the call
                        yield before + start + 1, before + at, cells
                    start = at
            except csv.Error as error:
                at = base + reader.line_num
                what = str(error)
                if what.startswith("field larger"):
                    at = yield from self._start_skip(lines, remaining, start, at)
                elif what == "unexpected end of data":
                    if last:
                        raise self._unclosed(self.line + start + 1 + _opened(lines[start:])) from None
                    self.rest = "".join(lines[start:])
                    self.line += start
                    return
                elif at - start > 1:
                    raise self._unclosed(self.line + start + 1 + _opened(lines[start : at - 1])) from None
                else:
                    yield self._misquoted(lines[start], self.line + at)
        self.line += len(lines)

    def _row(self, lines: list[str], start: int, end: int, cells: list[str], damaged: bool, last: bool) -> Row:
        if not self.width and not is_separator_line(cells):
            self.width = len(cells)
        if (
            last
            and end == len(lines)
            and len(cells) < self.width
            and not lines[-1].endswith(("\n", "\r"))
            and not self.short_last_row
        ):
            raise self._broken_off(self.line + end, len(cells))
        first, final = self.line + start + 1, self.line + end
        if damaged and is_unreadable(self.delimiter.join(cells)):
            return first, final, Damage(_NO_TEXT, cells)
        return first, final, cells

    def _misquoted(self, line: str, number: int) -> Row:
        reason = 'There is a quotation mark inside a quoted cell; it must be doubled ("").'
        return number, number, Damage(reason, self._first_cells(line))

    def _start_skip(self, lines: list[str], remaining: Iterator[str], start: int, at: int) -> Generator[Row, None, int]:
        row = _Oversized(self.line + start + 1, lines[start][:_HEAD])
        for text in lines[start:at]:
            row.add(text, self.delimiter, self.width)
        return (yield from self._skip(row, remaining, at))

    def _skip(self, row: _Oversized, remaining: Iterator[str], at: int) -> Generator[Row, None, int]:
        """Skip to the end of the oversized row. Returns the number of lines that were used."""
        self.skipping = row
        while row.quote.open:
            text = next(remaining, None)
            if text is None:
                return at
            row.add(text, self.delimiter, self.width)
            at += 1
        if row.swallows:
            raise self._unclosed(row.quote.line)
        self.skipping = None
        reason = f"It holds a cell of more than {FIELD_LIMIT:,} characters; shorten it in the CRM."
        yield row.line, row.line + row.lines - 1, Damage(reason, self._first_cells(row.head)[:-1])
        return at

    def _first_cells(self, line: str) -> list[str]:
        return next(csv.reader([line[:_HEAD]], delimiter=self.delimiter))

    def _broken_off(self, line: int, cells: int) -> SourceIncomplete:
        return SourceIncomplete(
            f"{self.name} breaks off in line {line}, its last one: it has {cells} of {self.width} cells and no line "
            "end. Nothing was changed. Look at the end of the file. If something is missing, export it again. If the "
            "line is complete, end it with a line break; if the program that writes the file always leaves it out, set "
            "the option short_last_row = true"
        )

    def _unclosed(self, line: int) -> SourceIncomplete:
        return SourceIncomplete(
            f"{self.name} has a quotation mark in line {line} that is not closed, so the rows after it cannot be "
            "separated. Nothing was changed; correct that line or export the file again"
        )


def _opened(lines: list[str]) -> int:
    """Return the index of the line that opened the quotation that is still open."""
    quote = _Quote()
    for index, line in enumerate(lines):
        quote.take(line, index)
    return quote.line


def _shape(text: str) -> str:
    """Return the pattern of an id: ``C-1042`` and ``C-7`` have the same. Runs of digits and letters count as one."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text.strip()))


def _alike(one: str, other: str) -> bool:
    """Return True for two ids of one pattern, or if both are one word with digits: a file may have ids of two kinds."""
    words = one.split() + other.split()
    return (len(words) == 2 and all(map(_digits, words))) or _shape(one) == _shape(other)


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))


def _at(cells: Sequence[str], columns: Iterable[int]) -> list[str]:
    return [cells[column] for column in columns if column < len(cells)]
