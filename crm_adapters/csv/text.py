"""Decodes a CSV file: detects the delimiter, and yields chunks of whole lines.

Memory stays flat for any file: a line that never ends is shortened to its beginning.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import BinaryIO

CHUNK = 1 << 20
FIELD_LIMIT = 1 << 20
"""The longest cell, in characters."""
DELIMITERS = (",", ";", "\t", "|")

_LINE_LIMIT = 8 * FIELD_LIMIT
_HEAD = 4096
_SAMPLE = 1 << 16
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)
_END_OF_FILE = "\x1a"
"""How DOS and the programs of its time end a text file."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines. ``damaged``: it holds NUL, or lone surrogates in place of bytes that could not be decoded.

    ``last`` marks the last chunk of the file. Only there the last line may have no end.
    """

    text: str
    damaged: bool
    last: bool


def detect_delimiter(sample: str) -> str:
    """Return the delimiter that splits the header and most of the next lines into the same number of cells."""
    separator = _SEPARATOR_LINE.match(sample)
    if separator:
        return separator[1]
    lines = [line for line in StringIO(sample, newline="") if line.strip()][:30]

    def score(delimiter: str) -> tuple[bool, int, int]:
        rows = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        width = rows[0] if rows else 1
        return width > 1, rows.count(width), width

    csv.field_size_limit(FIELD_LIMIT)
    try:
        return max(DELIMITERS, key=score)
    except csv.Error:
        return ","


def is_separator_line(cells: list[str]) -> bool:
    """Return True for Excel's ``sep=;`` line, which names the delimiter and is not a header."""
    return cells[:1] != [] and cells[0].lower() in {"sep=", *(f"sep={delimiter}" for delimiter in DELIMITERS)}


def sample_of(file: BinaryIO, encoding: str) -> str:
    """Return the first lines of the file."""
    return next(text_chunks(file, encoding)).text[:_SAMPLE]


def text_chunks(file: BinaryIO, encoding: str) -> Iterator[Chunk]:
    """Yield the file in chunks of whole lines, without its byte order mark and the end mark of DOS."""
    first = True
    for data, last in line_chunks(file, encoding):
        try:
            text, damaged = data.decode(encoding), False
        except UnicodeDecodeError:
            text, damaged = _decode_damaged(data, encoding), True
        if last:
            text = text.rstrip(_END_OF_FILE)
        yield Chunk(text.lstrip("\ufeff") if first else text, damaged or "\0" in text, last)
        first = False


def _decode_damaged(data: bytes, encoding: str) -> str:
    """Decode with a lone surrogate in place of each byte or unit that cannot be decoded."""
    try:
        return data.decode(encoding, "surrogatepass" if encoding.startswith("utf-16") else "surrogateescape")
    except UnicodeDecodeError:  # surrogates cannot mark this damage in this encoding
        return data.decode(encoding, "replace").replace("\ufffd", "\udcff")


def line_chunks(file: BinaryIO, encoding: str) -> Iterator[tuple[bytes, bool]]:
    """Yield bytes that end at a line end, each with True if they are the last ones (which may end anywhere)."""
    file.seek(0)
    rest = b""
    while data := file.read(CHUNK):
        data = rest + data
        cut = max(_after_last(data, "\n".encode(encoding), 0), _after_last(data, "\r".encode(encoding), 1))
        if cut:
            yield data[:cut], False
        rest = data[cut:]
        if len(rest) > _LINE_LIMIT:
            rest = _shortened(rest, encoding)
    yield rest, True


def _after_last(data: bytes, ending: bytes, spare: int) -> int:
    """Return the offset after the last ``ending`` with ``spare`` more units after it (a CR may belong to an LF)."""
    unit = len(ending)
    at = data.rfind(ending, 0, len(data) - spare * unit)
    while at >= 0 and at % unit:
        at = data.rfind(ending, 0, at + unit - 1)
    return at + unit if at >= 0 else 0


def _shortened(line: bytes, encoding: str) -> bytes:
    """Return the beginning of an endless line, and filler that makes its cell too long. Open quotes stay open."""
    open_quote = line[_HEAD:].count('"'.encode(encoding)) % 2
    return line[:_HEAD] + ("x" * (FIELD_LIMIT + 1) + '"' * open_quote).encode(encoding)
