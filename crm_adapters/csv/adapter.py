"""CSV exports: one or several files that together list every contact."""

from __future__ import annotations

import codecs
import glob
import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator

from config.types import ConfigPath, one_or_many
from crm_adapters.base import (
    Adapter,
    CheckReport,
    ContactChange,
    ContactFields,
    Cursor,
    Page,
    Properties,
    Removals,
    SourceIncomplete,
    SourceInvalid,
    SourceUnavailable,
    UnreadableRecord,
)
from crm_adapters.csv.rows import Damage, Row, holds_other_rows, read_rows
from crm_adapters.csv.text import (
    detect_delimiter,
    detect_encoding,
    is_separator_line,
    resolve_encoding,
    sample_of,
    text_chunks,
)
from crm_adapters.fields import Columns, clean_text, find_column, find_columns, find_id, missing_columns, nearest, read

Record = ContactChange | UnreadableRecord

_SUFFIXES = {".csv", ".tsv", ".tab", ".txt"}
_EXCERPT = 200
_ID_LIMIT = 255
"""The longest id, in characters: ids are indexed, and a database refuses an index entry of a few thousand bytes."""


class CsvOptions(BaseModel):
    """Where the export is and how it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    path: Annotated[tuple[ConfigPath, ...], one_or_many()] = Field(
        min_length=1,
        description="The export: a file (also .gz), a pattern such as `exports/*.csv`, a folder, or a list. Together "
        "they list every contact; one that is in none of them any more counts as deleted.",
        examples=["contacts.csv", ["north.csv", "south.csv"]],
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        pattern=r'^[^\r\n"\w]$',
        description="The character between cells. Left out: comma, semicolon, tab or |, found from the first lines.",
        examples=[";"],
    )
    encoding: str | None = Field(
        None,
        description="The character encoding, such as `utf-8` or `cp1252`. Left out: found from the file.",
        examples=["cp1252"],
    )
    id: Annotated[tuple[str, ...], one_or_many()] = Field(
        (),
        description="The column (or columns, together) that identify a record for ever. Left out: `Record ID`, "
        "`Contact ID`, `Id` and the like; without such a column the email address, without that the phone.",
        examples=["Record ID", ["shop", "customer_no"]],
    )
    settle_seconds: float = Field(
        2.0,
        ge=0,
        le=86_400,
        description="A file changed more recently than this many seconds ago is still being written and not read yet.",
    )

    @field_validator("encoding")
    @classmethod
    def _is_text_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                "\n".encode(codecs.lookup(value).name)
            except (LookupError, ValueError) as error:
                raise ValueError('is not a character encoding; write one such as "utf-8" or "cp1252"') from error
        return value


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one file is written. ``names`` are the properties, one a column; ``ids`` are column numbers.

    ``by_contact`` says that the ids are an email address or a phone number, for want of an id column.
    """

    name: str
    encoding: str
    delimiter: str
    names: tuple[str, ...]
    columns: Columns
    ids: tuple[int, ...]
    by_contact: bool


class CsvAdapter(Adapter):
    """Reads whole exports: every pull lists every row."""

    name = "csv"
    summary = "CSV exports of any CRM: files, patterns or folders, read whole each time."
    Options = CsvOptions
    removals = Removals.ABSENT

    options: CsvOptions

    def check(self) -> CheckReport:
        """Read the header of every file. Raises SourceInvalid, SourceIncomplete, SourceUnavailable."""
        layouts = []
        with _readable():
            for path, name in self._files():
                with _opened(path, name) as file:
                    layouts.append(self._layout(file, name)[0])
        fields = dict.fromkeys(column for layout in layouts for column in layout.names)
        return CheckReport(_summary(layouts), tuple(fields))

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:  # noqa: ARG002 - there is nothing to resume
        """All rows of all files, in order. Raises SourceInvalid, SourceIncomplete, SourceUnavailable."""
        records = self._records()
        while True:
            with _readable():
                page = list(islice(records, self.page_size))
            if not page:
                return
            yield Page(page)

    def contact_fields(self, properties: Properties) -> ContactFields:
        """Read the columns that the mapping names, or those with usual names."""
        return read(find_columns(tuple(properties), self.fields), properties)

    def _records(self) -> Iterator[Record]:
        for path, name in self._files():
            with _opened(path, name) as file:
                before = os.fstat(file.fileno())
                age = time.time() - before.st_mtime
                if 0 <= age < self.options.settle_seconds:
                    raise SourceIncomplete(
                        f"{name} was changed {age:.0f} seconds ago and may still be being written; it is read once it "
                        f"has been left alone for {self.options.settle_seconds:g} seconds (settle_seconds)"
                    )
                layout, rows = self._layout(file, name)
                yield from _read(layout, rows)
                after = os.fstat(file.fileno())
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise SourceIncomplete(f"{name} was changed while it was read; it is read again in the next run")

    def _files(self) -> list[tuple[Path, str]]:
        """Every file once, with the name to call it by. Raises SourceInvalid when a path leads to none."""
        found: dict[Path, None] = {}
        for path in self.options.path:
            matches = _matches(path)
            if not matches:
                kind = "holds no CSV file" if path.is_dir() else "does not exist"
                raise SourceInvalid(f'{path} {kind}; correct "path", or put the export there')
            found.update(dict.fromkeys(matches))
        names = [path.name for path in found]
        return [(path, path.name if names.count(path.name) == 1 else str(path)) for path in found]

    def _layout(self, file: BinaryIO, name: str) -> tuple[_Layout, Iterator[Row]]:
        """How the file is written, and its rows after the header."""
        if os.fstat(file.fileno()).st_size == 0:
            raise SourceIncomplete(f"{name} is empty, without even a header; let the export be written again")
        encoding = resolve_encoding(self.options.encoding, file) if self.options.encoding else detect_encoding(file)
        delimiter = self.options.delimiter or detect_delimiter(sample_of(file, encoding))
        rows = read_rows(text_chunks(file, encoding), delimiter, name)
        for _first, last, cells in rows:
            if isinstance(cells, Damage):
                raise SourceInvalid(f"{name} line {last} should be the header and cannot be read. {cells.reason}")
            if any(cell.strip() for cell in cells) and not is_separator_line(cells):
                names = _property_names(cells)
                columns = find_columns(names, self.fields)
                ids, by_contact = self._ids(names, columns, name)
                return _Layout(name, encoding, delimiter, names, columns, ids, by_contact), rows
        raise SourceIncomplete(f"{name} has no header and no rows; let the export be written again")

    def _ids(self, names: tuple[str, ...], columns: Columns, name: str) -> tuple[tuple[int, ...], bool]:
        """The columns that identify a record. Raises SourceInvalid when a named column does not exist."""
        mapping = self.fields
        _require(names, {"fields.phone": mapping.phone, "fields.full_name": mapping.full_name}, name)
        _require(names, {"fields.email": mapping.email, "id": self.options.id}, name)
        if not columns.phones:
            raise SourceInvalid(
                f"{name} has no column with a usual name for a phone number; name it in the connection's "
                f"fields.phone. There are: {_listed(names)}"
            )
        usual = find_id(names)
        chosen = self.options.id or ((usual,) if usual else ())
        columns_of_id = [find_column(names, column) for column in chosen or (*columns.emails, *columns.phones)[:1]]
        return tuple(names.index(column) for column in columns_of_id if column is not None), not chosen


def _read(layout: _Layout, rows: Iterable[Row]) -> Iterator[Record]:
    """Rows to records. The plain case, nearly all of them, is kept short for its speed."""
    names, width, name = layout.names, len(layout.names), layout.name
    plain_id = layout.ids[0] if len(layout.ids) == 1 and not layout.by_contact else None
    line = f"{name} line "
    new = tuple.__new__  # makes a named tuple in half the time of a call
    for first, last, cells in rows:
        if plain_id is not None and first == last and type(cells) is list and len(cells) == width:
            external_id = cells[plain_id].strip()
            if external_id and len(external_id) <= _ID_LIMIT:
                properties = dict(zip(names, cells, strict=False))
                yield new(ContactChange, (external_id, properties, None, False, None, f"{line}{first}"))
                continue
        record = _unusual(layout, first, last, cells)
        if record is not None:
            yield record


def _unusual(layout: _Layout, first: int, last: int, cells: list[str] | Damage) -> Record | None:
    """A row that is not plainly good: padded, rejected, or None when it is empty."""
    where = f"{layout.name} line {first}"
    if isinstance(cells, Damage):
        return _unreadable(layout, cells.cells, cells.reason, where)
    if not any(cell.strip() for cell in cells):
        return None
    width = len(layout.names)
    if last > first and holds_other_rows(cells, layout.delimiter, width, layout.ids[0]):
        raise SourceIncomplete(
            f"{layout.name} has a quotation mark in line {first} that is closed only in line {last}, and the rows "
            "between would be lost. Nothing was concluded from the file; correct that line or export it again"
        )
    if any(cell.strip() for cell in cells[width:]):
        reason = (
            f"It has {len(cells)} cells where the header has {width}; put the cell with the extra delimiter in quotes."
        )
        return _unreadable(layout, cells, reason, where)
    cells = cells[:width] + [""] * (width - len(cells))
    external_id = _external_id(layout, cells)
    if not external_id:
        missing = " and ".join(f'"{layout.names[column]}"' for column in layout.ids)
        return _unreadable(layout, cells, f"It has nothing in {missing}, which identifies a record; fill it in.", where)
    if len(external_id) > _ID_LIMIT:
        reason = f"Its id has {len(external_id):,} characters, above {_ID_LIMIT}; correct it where it comes from."
        return _unreadable(layout, cells, reason, where)
    return ContactChange(external_id, dict(zip(layout.names, cells, strict=True)), where=where)


def _external_id(layout: _Layout, cells: Sequence[str]) -> str:
    """The id that the row gives, several columns joined so that no two different rows meet; empty if there is none."""
    parts = [cells[column].strip() if column < len(cells) else "" for column in layout.ids]
    if len(parts) == 1:
        return clean_text(parts[0]) if layout.by_contact else parts[0]
    return "|".join(part.replace("\\", r"\\").replace("|", r"\|") for part in parts) if any(parts) else ""


def _unreadable(layout: _Layout, cells: Sequence[str], reason: str, where: str) -> UnreadableRecord:
    content = layout.delimiter.join(cells)
    external_id = _external_id(layout, cells)
    if not external_id or not external_id.isprintable() or len(external_id) > _ID_LIMIT:
        digest = hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        external_id = f"{layout.name} row {digest}"
    excerpt = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in content[:_EXCERPT]
    )
    return UnreadableRecord(external_id, reason, where, excerpt)


def _property_names(header: Sequence[str]) -> tuple[str, ...]:
    """Unique names: ``Phone``, ``Phone (2)``, ``column 7`` for the empty one."""
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
            near = nearest(names, missing)
            hint = f"did you mean {_listed(near)}?" if near else f"there are: {_listed(names)}"
            raise SourceInvalid(f'{file} has no column "{missing}", which {key} names; {hint}')


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def _matches(path: Path) -> list[Path]:
    """The files that a path, folder or pattern stands for, in order of name."""
    if path.is_dir():
        inside = (child for child in path.iterdir() if _plain_suffix(child) in _SUFFIXES and child.is_file())
        return sorted(child for child in inside if not child.name.startswith((".", "~")))
    if path.is_file():
        return [path]
    found = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(match for match in map(Path, found) if match.is_file())


def _plain_suffix(path: Path) -> str:
    """``.csv`` of ``contacts.csv`` and of ``contacts.csv.gz``."""
    return Path(path.stem if _is_gzip(path) else path.name).suffix.lower()


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what goes wrong in reading into our errors."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceIncomplete(
            f"a compressed export is broken or half-written ({error}); let the export be written again"
        ) from error
    except OSError as error:
        what = error.filename or "the export"
        raise SourceUnavailable(
            f"{what} cannot be read ({error.strerror or error}); it is tried again in the next run"
        ) from error


def _opened(path: Path, name: str) -> BinaryIO:
    try:
        return cast(BinaryIO, gzip.open(path)) if _is_gzip(path) else path.open("rb")
    except FileNotFoundError:
        raise SourceInvalid(f"{name} is not there any more; put the export back") from None
    except PermissionError:
        raise SourceInvalid(f"{name} may not be read by this user; correct its permissions") from None


def _summary(layouts: Sequence[_Layout]) -> str:
    """What was found, files that are alike together: ``3 files from a.csv on (...)``."""
    alike: dict[str, list[str]] = {}
    for layout in layouts:
        alike.setdefault(_describe(layout), []).append(layout.name)
    return "; ".join(
        f"{files[0] if len(files) == 1 else f'{len(files)} files from {files[0]} on'} {description}"
        for description, files in alike.items()
    )


def _describe(layout: _Layout) -> str:
    found = layout.columns
    delimiter = {"\t": "tab"}.get(layout.delimiter, layout.delimiter)
    parts = {
        "phone": found.phones,
        "name": (*found.full_name, *found.name_parts),
        "email": found.emails,
        "id": tuple(layout.names[column] for column in layout.ids),
    }
    shown = ", ".join(f"{what} {_listed(columns) if columns else 'none'}" for what, columns in parts.items())
    warning = " (for want of an id column: who changes it becomes a new contact)" if layout.by_contact else ""
    return f"({layout.encoding}, delimiter {delimiter}): {shown}{warning}"
