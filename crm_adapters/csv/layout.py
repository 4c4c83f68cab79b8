"""How an export is written: encoding, delimiter, header, and the columns of a contact."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, BinaryIO, NoReturn

from config.fields import FieldMapping
from crm_adapters.base import SourceIncomplete, SourceInvalid
from crm_adapters.csv.encoding import Encoding, detect_encoding, resolve_encoding
from crm_adapters.csv.files import ExportFile
from crm_adapters.csv.formats import refuse_other_formats
from crm_adapters.csv.languages import ENCODINGS
from crm_adapters.csv.options import CsvOptions
from crm_adapters.csv.removed import SAMPLE, unclear_value, usual_columns
from crm_adapters.csv.rows import Damage, Row, RowPicker, read_rows
from crm_adapters.csv.text import DELIMITERS, detect_delimiter, is_separator_line, sample_of, text_chunks
from crm_adapters.csv.workbook import read_workbook
from crm_adapters.fields import (
    Columns,
    find_column,
    find_columns,
    find_id,
    fold,
    missing_columns,
    nearest_columns,
    repeated_column,
)

_TITLE_LINES = 20
EARLIER_IDS = frozenset(
    """
    recordid hsobjectid contactid personid id externalid customerid clientid leadid userid uid uuid guid
    customernumber kundennummer kundennr kontaktid numeroclient idcliente
    """.split()
)
"""The id columns that the version before this one found. Records that it stored keep their ids."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one file is written. ``names`` are the properties, one for each column; the others are column numbers.

    ``by_contact`` is True if the file has no id column, so that the email address or the phone number is the id.
    ``deleted`` is the column that marks rows as deleted.
    """

    name: str
    unit: str
    """What a row is called in messages: ``line``, or ``row`` in a workbook."""
    encoding: Encoding | None
    delimiter: str
    names: tuple[str, ...]
    columns: Columns
    ids: tuple[int, ...]
    by_contact: bool
    emails: tuple[int, ...] = ()
    phones: tuple[int, ...] = ()
    full_name: tuple[int, ...] = ()
    deleted: int | None = None
    raw_ids: bool = False
    """Ids keep the formula around them (``="00123"``), as the version before stored them."""
    notes: tuple[str, ...] = field(default=())

    @property
    def is_workbook(self) -> bool:
        """True for an Excel workbook."""
        return self.encoding is None

    @property
    def id_names(self) -> list[str]:
        """The columns that identify a record; none if the file has no such column."""
        return [] if self.by_contact else [self.names[column] for column in self.ids]

    @property
    def deleted_name(self) -> str:
        """The column that marks rows as deleted, or ""."""
        return "" if self.deleted is None else self.names[self.deleted]


def read_layout(
    file: BinaryIO,
    export: ExportFile,
    options: CsvOptions,
    fields: FieldMapping,
    earlier: Mapping[str, Any],
    encoding: Encoding | None = None,
    picker: RowPicker | None = None,
) -> tuple[Layout, Iterator[Row]]:
    """Return how the file is written, and its rows after the header.

    ``earlier`` is what the adapter remembers of the export before: its encoding and id columns. ``encoding`` is that
    of this file if it is known already. ``picker``: see ``read_rows``.
    """
    name = export.name
    encoding, delimiter, rows = open_rows(file, export, options, earlier, encoding, picker)
    for _first, last, cells in rows:
        if isinstance(cells, Damage):
            raise SourceInvalid(
                f"{name} line {last} should be the header and cannot be read. {cells.reason} If this is no CSV file, "
                "export the contacts as CSV"
            )
        if any(cell.strip() for cell in cells) and not is_separator_line(cells):
            unit = "row" if export.is_workbook else "line"
            first_rows = list(islice(rows, SAMPLE)) if options.deleted is None and usual_columns(cells) else []
            header = _Header(name, _property_names(cells), options, fields, earlier)
            if not header.columns.phones:
                header.refuse(unit, islice(rows, _TITLE_LINES))
            return header.layout(unit, encoding, delimiter, first_rows), chain(first_rows, rows)
    raise SourceIncomplete(f"{name} has no header and no rows; export it again")


def open_rows(
    file: BinaryIO,
    export: ExportFile,
    options: CsvOptions,
    earlier: Mapping[str, Any],
    encoding: Encoding | None = None,
    picker: RowPicker | None = None,
) -> tuple[Encoding | None, str, Iterator[Row]]:
    """Return the encoding (None for a workbook), the delimiter and all rows of a file.

    Parameters as in ``read_layout``.
    """
    name = export.name
    if os.fstat(file.fileno()).st_size == 0:
        raise SourceIncomplete(f"{name} is empty and has no header; export it again")
    if export.is_workbook:
        return None, "", read_workbook(file, name, options.sheet)
    refuse_other_formats(file, name)
    if encoding is None:
        given = options.encoding
        encoding = resolve_encoding(given, file) if given else detect_encoding(file, earlier)
    delimiter = options.delimiter or detect_delimiter(sample_of(file, encoding.name))
    chunks = text_chunks(file, encoding.name)
    return encoding, delimiter, read_rows(chunks, delimiter, name, short_last_row=options.short_last_row, picker=picker)


@dataclass(frozen=True, slots=True)
class _Header:
    """Finds the columns of a contact in the header of a file."""

    file: str
    names: tuple[str, ...]
    options: CsvOptions
    fields: FieldMapping
    earlier: Mapping[str, Any]

    @property
    def columns(self) -> Columns:
        """The columns of a contact."""
        return find_columns(self.names, self.fields)

    def refuse(self, unit: str, following: Iterable[Row]) -> NoReturn:
        """Raise SourceInvalid for a header without a phone column. ``following`` are the rows after it."""
        self._require_mapped()
        found = f"{self.file} has no column with a usual name for a phone number"
        if len(self.names) == 1 and (held := [one for one in DELIMITERS if one in self.names[0]]):
            raise SourceInvalid(
                f"{found}: its first line is one cell, {listed(self.names)}. If each line is in quotation marks as a "
                f'whole, export it again without them; if not, set the option delimiter, for example "{held[0]}"'
            )
        if len(self.names) == 1:
            raise SourceInvalid(
                f"{found}: its first line is one cell, {listed(self.names)}. If another character separates the "
                "columns, set the option delimiter to it; if this is not the header, export the contacts as CSV"
            )
        for first, _last, cells in following:
            if isinstance(cells, list) and find_columns(_property_names(cells), self.fields).phones:
                raise SourceInvalid(
                    f"{found}; the header seems to be {unit} {first}. Remove the lines above it, or export the "
                    "contacts without a title"
                )
        raise SourceInvalid(f"{found}; name it in the connection's fields.phone. There are: {listed(self.names)}")

    def _require_mapped(self) -> None:
        mapping = self.fields
        self._require({"fields.phone": mapping.phone, "fields.full_name": mapping.full_name})
        self._require({"fields.email": mapping.email, "id": self.options.id})

    def layout(self, unit: str, encoding: Encoding | None, delimiter: str, first_rows: Sequence[Row]) -> Layout:
        columns = self.columns
        self._require_mapped()
        chosen, id_notes = self._chosen_ids()
        deleted, deleted_notes = self._deleted(first_rows)
        return Layout(
            self.file,
            unit,
            encoding,
            delimiter,
            self.names,
            columns,
            self._numbers(chosen or (*columns.emails, *columns.phones)[:1]),
            not chosen,
            self._numbers(columns.emails),
            self._numbers(columns.phones),
            self._numbers(columns.full_name or columns.name_parts),
            deleted,
            bool(self.earlier.get("upgraded")),
            (*id_notes, *deleted_notes),
        )

    def _numbers(self, columns: Sequence[str]) -> tuple[int, ...]:
        found = (find_column(self.names, column) for column in columns)
        return tuple(self.names.index(column) for column in found if column is not None)

    def _chosen_ids(self) -> tuple[tuple[str, ...], list[str]]:
        """Return the id columns, and notes. The columns of the export before are kept: other ids are other records."""
        if self.options.id:
            return self.options.id, []
        usual = find_id(self.names)
        before = self.earlier.get("id")
        if before is None and self.earlier.get("upgraded") and usual and fold(usual) not in EARLIER_IDS:
            before = []  # the version that stored the records did not know this name
        if before is None:
            return ((usual,) if usual else ()), []
        if not before and usual:
            return (), [
                f'{self.file} has a column "{usual}" that could identify its records; they are still identified by '
                f'email address or phone, as before. To change that, set options.id = "{usual}"'
            ]
        for missing in missing_columns(self.names, before):
            raise SourceInvalid(
                f'{self.file} has no column "{missing}" any more, which identified its records so far. '
                "Nothing was changed. Give the column its name back, or name the new one in options.id; "
                f"{self._hint(missing)}"
            )
        return tuple(before), []

    def _deleted(self, first_rows: Sequence[Row]) -> tuple[int | None, list[str]]:
        """Return the column that marks rows as deleted, and notes."""
        wanted = self.options.deleted
        if wanted is False:
            return None, []
        if wanted is not None:
            self._require({"deleted": (wanted,)})
            return self._numbers([wanted])[0], []
        before = str(self.earlier.get("deleted", ""))
        if before and missing_columns(self.names, [before]):
            raise SourceInvalid(
                f'{self.file} has no column "{before}" any more, which marked deleted records so far; without it they '
                "would come back. Nothing was changed. Export the column again, or name another one in options.deleted "
                f"(false: there is none); {self._hint(before)}"
            )
        notes = []
        for column in [before] if before else usual_columns(self.names):
            (number,) = self._numbers([column])
            values = (cells[number] for _, _, cells in first_rows if isinstance(cells, list) and len(cells) > number)
            unclear = "" if before else unclear_value(values)
            if not unclear:
                return number, []
            notes.append(
                f'{self.file} has a column "{column}", but "{unclear[:40]}" in it is neither a yes or no nor a time, '
                "so no row counts as deleted. If it marks deleted records, name it in options.deleted; if not, set "
                "that to false"
            )
        return None, notes

    def _require(self, wanted: dict[str, tuple[str, ...]]) -> None:
        for key, columns in wanted.items():
            for missing in missing_columns(self.names, columns):
                raise SourceInvalid(f'{self.file} has no column "{missing}", which {key} names; {self._hint(missing)}')

    def _hint(self, missing: str) -> str:
        near = nearest_columns(self.names, missing)
        return f"did you mean {listed(near)}?" if near else f"there are: {listed(self.names)}"


def _property_names(header: Sequence[str]) -> tuple[str, ...]:
    """Return unique names: ``Phone``, ``Phone (2)``, ``column 7`` for an empty name."""
    names: dict[str, None] = {}
    repeats: dict[str, int] = {}
    for number, cell in enumerate(header, 1):
        name = base = cell.strip() or f"column {number}"
        while name in names:
            repeats[base] = repeats.get(base, 1) + 1
            name = repeated_column(base, repeats[base])
        names[name] = None
    return tuple(names)


def listed(names: Sequence[str]) -> str:
    """Return names in quotation marks, the first twenty of them."""
    first = ", ".join(f'"{name}"' for name in names[:20])
    return first if len(names) <= 20 else f"{first} and {len(names) - 20} more"


def encoding_note(layout: Layout) -> str:
    """Return what a person should know about the encoding of a file, or ""."""
    encoding = layout.encoding
    if encoding is None or not encoding.guess:
        return ""
    words = f" (it reads {listed(encoding.words)})" if encoding.words else ""
    note = f"{layout.name} does not say how it is encoded; {_named(encoding.name)} is a guess{words}."
    if encoding.instead_of:
        note += f" The export before was read as {_named(encoding.instead_of)}, which does not fit this one."
    if encoding.likelier:
        note += f" It looks like {_named(encoding.likelier)} now, but the encoding of the export before is kept."
    example = f', for example encoding = "{encoding.alternative}"' if encoding.alternative else ""
    right = f'if they are right, set encoding = "{encoding.name}"'
    return f"{note} If names look wrong, set the option encoding{example}; {right}"


def _named(encoding: str) -> str:
    return f"{encoding} ({ENCODINGS[encoding][1]})" if encoding in ENCODINGS else encoding


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
        "name": (*found.full_name, *found.name_parts, *found.bare_name),
        "email": found.emails,
        "id": tuple(layout.names[column] for column in layout.ids),
    }
    used = ", ".join(f"{what} {listed(columns) if columns else 'none'}" for what, columns in parts.items())
    gone = f', rows with anything but no in "{layout.deleted_name}" count as deleted' if layout.deleted_name else ""
    warning = " (there is no id column: a person whose id changes becomes a new contact)" if layout.by_contact else ""
    if layout.encoding is None:
        return f"(workbook): {used}{gone}{warning}"
    guess = ", a guess" if layout.encoding.guess else ""
    return f"({layout.encoding.name}{guess}, delimiter {delimiter}): {used}{gone}{warning}"
