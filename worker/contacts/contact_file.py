"""Reads an export of VirtualText's contacts: a CSV file, an Excel workbook, or the JSON of the contact list.

The columns are found by their usual names, as in an export of a CRM. Each row needs an id and a phone number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from config.fields import FieldMapping
from crm_adapters.base import AdapterError
from crm_adapters.csv.exports import ExportReader
from crm_adapters.csv.files import readable
from crm_adapters.csv.options import CsvOptions
from crm_adapters.csv.rows import Damage
from crm_adapters.fields import ColumnFinder, clean_text, find_id, fold, read
from worker.core.phones import PhoneProblem, parse_phone
from worker.virtualtext.outcomes import RemoteContact

ID_NAMES = ("virtualtextid", "conversationid")
"""Names of the id column that only VirtualText uses; they come before ``id`` and the like."""
MAX_JSON_BYTES = 512 << 20
LONGEST_ID = 255

NamedRow: TypeAlias = "tuple[str, Mapping[str, Any] | str]"
"""The place of a row in the file, and its cells by column, or why it cannot be read."""


class UnusableFile(ValueError):
    """The file holds no contacts that can be used. The message says why, and what to do."""


@dataclass(slots=True)
class ContactFile:
    """The contacts of an export, and the rows that cannot be used: (place, reason)."""

    contacts: list[RemoteContact] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)


def read_contact_file(path: Path, default_region: str | None) -> ContactFile:
    """Read an export. ``default_region`` is the country of numbers without a country code, such as ``US``.

    Raises UnusableFile.
    """
    if not path.is_file():
        raise UnusableFile(f"there is no file {path}")
    rows = _json_rows(path) if _is_json(path) else table_rows(path)
    found = _used(rows, default_region)
    if not found.contacts:
        first = f", for example {': '.join(found.unusable[0])}" if found.unusable else ""
        raise UnusableFile(f"{path} has no contact that can be used{first}; nothing was changed")
    return found


def _used(rows: Iterable[NamedRow], default_region: str | None) -> ContactFile:
    """Separate the rows that can be used from the others."""
    finder = ColumnFinder(FieldMapping())
    found = ContactFile()
    by_id: dict[str, RemoteContact] = {}
    for place, cells in rows:
        contact = cells if isinstance(cells, str) else _contact(cells, finder, default_region)
        if isinstance(contact, RemoteContact):
            before = by_id.setdefault(contact.id, contact)
            if before.phone != contact.phone:
                contact = f"the id {contact.id} stands in an earlier row with another number"
            elif before is contact:
                found.contacts.append(contact)
        if isinstance(contact, str):
            found.unusable.append((place, contact))
    return found


def _contact(cells: Mapping[str, Any], finder: ColumnFinder, default_region: str | None) -> RemoteContact | str:
    """Return the contact of a row, or why it cannot be used."""
    header = tuple(cells)
    id_column = next((name for name in header if fold(name) in ID_NAMES), None) or find_id(header)
    remote_id = clean_text(cells.get(id_column)) if id_column else ""
    if not remote_id or len(remote_id) > LONGEST_ID or "\0" in remote_id:
        return "it has no id of VirtualText"
    fields = read(finder.of(cells), cells)
    if not fields.phones:
        return "it has no phone number"
    _column, text = fields.phones[0]
    phone = parse_phone(text, default_region)
    if isinstance(phone, PhoneProblem):
        return f'its phone number "{text}" {phone.reason}'
    return RemoteContact(remote_id, phone.e164, fields.full_name, fields.email)


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise UnusableFile(f"{path} cannot be read: {error.strerror or error}") from error
    return path.suffix.lower() == ".json" or start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _json_rows(path: Path) -> Iterator[NamedRow]:
    """Yield the objects of a list, or of the list ``contacts`` in an object, as VirtualText's API returns it."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise UnusableFile(f"{path} is larger than {MAX_JSON_BYTES:,} bytes")
    try:
        data = orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise UnusableFile(f"{path} is not valid JSON: {error}") from error
    entries = data.get("contacts") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise UnusableFile(f'{path} holds no list of contacts; expected [...] or {{"contacts": [...]}}')
    for number, entry in enumerate(entries, 1):
        yield f"entry {number}", entry if isinstance(entry, dict) else "it is no JSON object"


def table_rows(path: Path) -> Iterator[NamedRow]:
    """Yield the rows of a CSV file or a workbook, in any encoding and with any delimiter. Raises UnusableFile."""
    try:
        with readable():
            reader = ExportReader(CsvOptions(path=(path.absolute(),)), FieldMapping(), {})
            for export in reader.select().files:
                with reader.open(export) as (layout, rows):
                    for _first, last, cells in rows:
                        place = f"{layout.unit} {last}"
                        if isinstance(cells, Damage):
                            yield place, cells.reason
                        elif any(cell.strip() for cell in cells):
                            yield place, dict(zip(layout.names, cells, strict=False))
    except AdapterError as error:
        # The reader is that of a CRM's export, and names options that a command does not have.
        raise UnusableFile(str(error).replace("name it in the connection's fields.phone", "call it phone")) from error
