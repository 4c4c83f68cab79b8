"""Turns the rows of an export into records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from crm_adapters.base import ContactChange, SourceIncomplete, UnreadableRecord
from crm_adapters.csv.layout import Layout
from crm_adapters.csv.rows import Damage, Row, holds_other_rows
from crm_adapters.fields import clean_text

CsvRecord: TypeAlias = ContactChange | UnreadableRecord

_EXCERPT = 200
_ID_LIMIT = 255
"""The longest id, in characters: ids are indexed, and a database refuses an index entry of a few thousand bytes."""


def read_records(layout: Layout, rows: Iterable[Row]) -> Iterator[CsvRecord]:
    """Turn rows into records. Nearly all rows take the first branch, which is kept short for speed."""
    names, width, name = layout.names, len(layout.names), layout.name
    plain_id = layout.ids[0] if len(layout.ids) == 1 and not layout.by_contact else None
    line = f"{name} line "
    new = tuple.__new__  # creates a named tuple in half the time of a call
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


def _unusual(layout: Layout, first: int, last: int, cells: list[str] | Damage) -> CsvRecord | None:
    """Return a row that needs padding, or that is rejected; None for an empty row."""
    where = f"{layout.name} line {first}"
    if isinstance(cells, Damage):
        return _unreadable(layout, cells.cells, cells.reason, where)
    if not any(cell.strip() for cell in cells):
        return None
    width = len(layout.names)
    if last > first and holds_other_rows(cells, layout.delimiter, width, layout.ids[0]):
        raise SourceIncomplete(
            f"{layout.name} has a quotation mark in line {first} that is closed only in line {last}, and the rows "
            "between would be lost. Nothing was changed; correct that line or export the file again"
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
        return _unreadable(
            layout, cells, f"It has no value in {missing}, which identifies a record; fill it in.", where
        )
    if len(external_id) > _ID_LIMIT:
        reason = f"Its id has {len(external_id):,} characters, above {_ID_LIMIT}; correct it in the CRM."
        return _unreadable(layout, cells, reason, where)
    return ContactChange(external_id, dict(zip(layout.names, cells, strict=True)), where=where)


def _external_id(layout: Layout, cells: Sequence[str]) -> str:
    """Return the id of the row, or an empty text. Several columns are joined so that different rows never collide."""
    parts = [cells[column].strip() if column < len(cells) else "" for column in layout.ids]
    if len(parts) == 1:
        return clean_text(parts[0]) if layout.by_contact else parts[0]
    return "|".join(part.replace("\\", r"\\").replace("|", r"\|") for part in parts) if any(parts) else ""


def _unreadable(layout: Layout, cells: Sequence[str], reason: str, where: str) -> UnreadableRecord:
    content = layout.delimiter.join(cells)
    external_id = _external_id(layout, cells)
    if not external_id or not external_id.isprintable() or len(external_id) > _ID_LIMIT:
        digest = hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        external_id = f"{layout.name} row {digest}"
    excerpt = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in content[:_EXCERPT]
    )
    return UnreadableRecord(external_id, reason, where, excerpt)
