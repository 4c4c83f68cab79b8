"""How an export is written: encoding, delimiter, header, and the columns of a contact."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from config.fields import FieldMapping
from crm_adapters.base import SourceIncomplete, SourceInvalid
from crm_adapters.csv.options import CsvOptions
from crm_adapters.csv.rows import Damage, Row, read_rows
from crm_adapters.csv.text import (
    detect_delimiter,
    detect_encoding,
    is_separator_line,
    resolve_encoding,
    sample_of,
    text_chunks,
)
from crm_adapters.fields import Columns, find_column, find_columns, find_id, missing_columns, nearest_columns


@dataclass(frozen=True, slots=True)
class Layout:
    """How one file is written. ``names`` are the properties, one for each column; ``ids`` are column numbers.

    ``by_contact`` is True if the file has no id column, so that the email address or the phone number is the id.
    """

    name: str
    encoding: str
    delimiter: str
    names: tuple[str, ...]
    columns: Columns
    ids: tuple[int, ...]
    by_contact: bool


def read_layout(file: BinaryIO, name: str, options: CsvOptions, fields: FieldMapping) -> tuple[Layout, Iterator[Row]]:
    """Return how the file is written, and its rows after the header."""
    if os.fstat(file.fileno()).st_size == 0:
        raise SourceIncomplete(f"{name} is empty and has no header; export it again")
    encoding = resolve_encoding(options.encoding, file) if options.encoding else detect_encoding(file)
    delimiter = options.delimiter or detect_delimiter(sample_of(file, encoding))
    rows = read_rows(text_chunks(file, encoding), delimiter, name)
    for _first, last, cells in rows:
        if isinstance(cells, Damage):
            raise SourceInvalid(f"{name} line {last} should be the header and cannot be read. {cells.reason}")
        if any(cell.strip() for cell in cells) and not is_separator_line(cells):
            names = _property_names(cells)
            columns = find_columns(names, fields)
            ids, by_contact = _ids(names, columns, name, options, fields)
            return Layout(name, encoding, delimiter, names, columns, ids, by_contact), rows
    raise SourceIncomplete(f"{name} has no header and no rows; export it again")


def _ids(
    names: tuple[str, ...], columns: Columns, name: str, options: CsvOptions, mapping: FieldMapping
) -> tuple[tuple[int, ...], bool]:
    """Return the columns that identify a record. Raises SourceInvalid if a named column does not exist."""
    _require(names, {"fields.phone": mapping.phone, "fields.full_name": mapping.full_name}, name)
    _require(names, {"fields.email": mapping.email, "id": options.id}, name)
    if not columns.phones:
        raise SourceInvalid(
            f"{name} has no column with a usual name for a phone number; name it in the connection's "
            f"fields.phone. There are: {_listed(names)}"
        )
    usual = find_id(names)
    chosen = options.id or ((usual,) if usual else ())
    columns_of_id = [find_column(names, column) for column in chosen or (*columns.emails, *columns.phones)[:1]]
    return tuple(names.index(column) for column in columns_of_id if column is not None), not chosen


def _property_names(header: Sequence[str]) -> tuple[str, ...]:
    """Return unique names: ``Phone``, ``Phone (2)``, ``column 7`` for an empty name."""
    names: dict[str, None] = {}
    repeats: dict[str, int] = {}
    for number, cell in enumerate(header, 1):
        name = base = cell.strip() or f"column {number}"
        while name in names:
            repeats[base] = repeats.get(base, 1) + 1
            name = f"{base} ({repeats[base]})"
        names[name] = None
    return tuple(names)


def _require(names: tuple[str, ...], wanted: dict[str, tuple[str, ...]], file: str) -> None:
    for key, columns in wanted.items():
        for missing in missing_columns(names, columns):
            near = nearest_columns(names, missing)
            hint = f"did you mean {_listed(near)}?" if near else f"there are: {_listed(names)}"
            raise SourceInvalid(f'{file} has no column "{missing}", which {key} names; {hint}')


def _listed(names: Sequence[str]) -> str:
    first = ", ".join(f'"{name}"' for name in names[:20])
    return first if len(names) <= 20 else f"{first} and {len(names) - 20} more"


def summary_of(layouts: Sequence[Layout]) -> str:
    """Describe the files, with similar ones together: ``3 files such as a.csv (...)``."""
    alike: dict[str, list[str]] = {}
    for layout in layouts:
        alike.setdefault(_describe(layout), []).append(layout.name)
    return "; ".join(
        f"{files[0] if len(files) == 1 else f'{len(files)} files such as {files[0]}'} {description}"
        for description, files in alike.items()
    )


def _describe(layout: Layout) -> str:
    found = layout.columns
    delimiter = {"\t": "tab"}.get(layout.delimiter, layout.delimiter)
    parts = {
        "phone": found.phones,
        "name": (*found.full_name, *found.name_parts),
        "email": found.emails,
        "id": tuple(layout.names[column] for column in layout.ids),
    }
    used = ", ".join(f"{what} {_listed(columns) if columns else 'none'}" for what, columns in parts.items())
    warning = " (there is no id column: a person whose id changes becomes a new contact)" if layout.by_contact else ""
    return f"({layout.encoding}, delimiter {delimiter}): {used}{warning}"
