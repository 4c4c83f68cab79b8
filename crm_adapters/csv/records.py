"""Turns the rows of an export into records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from crm_adapters.base import CONTACT, ContactChange, SourceIncomplete, UnreadableRecord
from crm_adapters.csv.identity import ID_LIMIT, SURE_ENDINGS, Identities, given_id, is_sure_with_zero
from crm_adapters.csv.layout import Layout
from crm_adapters.csv.removed import DeletedValues
from crm_adapters.csv.rows import Damage, Row, SplitRow, holds_other_rows

CsvRecord: TypeAlias = ContactChange | UnreadableRecord

_EXCERPT = 200


def read_records(layout: Layout, rows: Iterable[Row], identities: Identities) -> Iterator[CsvRecord]:
    """Turn rows into records. Nearly all rows take the first branch, which is kept short for speed."""
    names, width, name = layout.names, len(layout.names), layout.name
    by_mailbox = layout.by_contact and bool(layout.emails)
    plain_id = layout.ids[0] if len(layout.ids) == 1 and (by_mailbox or not layout.by_contact) else None
    unsure, sure = identities.unsure, SURE_ENDINGS
    deleted, is_deleted = layout.deleted, DeletedValues()
    line = f"{name} {layout.unit} "
    new = tuple.__new__  # creates a named tuple in half the time of a call
    split = _new_split_row(layout)
    for first, last, cells in rows:
        if plain_id is not None and first == last and type(cells) is list and len(cells) == width:
            external_id = cells[plain_id].strip()
            if by_mailbox:
                is_sure = "@" in external_id and external_id[0] != "="
            else:
                is_sure = external_id[-1:] in sure or is_sure_with_zero(external_id)
            if is_sure and external_id not in unsure and len(external_id) <= ID_LIMIT and not split.lines:
                properties = dict(zip(names, cells))  # noqa: B905 - as long as each other; the argument costs time
                gone = deleted is not None and is_deleted[cells[deleted]]
                yield new(ContactChange, (external_id, properties, None, gone, None, f"{line}{first}", CONTACT, None))
                continue
        row = (first, last, cells)
        if split.takes(row):
            if split.is_whole:
                yield _joined(layout, split.lines)
                split = _new_split_row(layout)
            continue
        waiting, split = [*split.lines, row], _new_split_row(layout) if split.lines else split
        if len(waiting) > 1 and split.takes(row):
            waiting.pop()
        yield from _each_unusual(layout, waiting, identities, is_deleted)
    yield from _each_unusual(layout, split.lines, identities, is_deleted)


def _new_split_row(layout: Layout) -> SplitRow:
    """Return what looks for split rows. A workbook has none: it leaves out empty cells at the end of a row."""
    return SplitRow(0 if layout.is_workbook else len(layout.names), layout.ids[0], layout.phones)


def _each_unusual(
    layout: Layout, rows: Iterable[Row], identities: Identities, is_deleted: DeletedValues
) -> Iterator[CsvRecord]:
    for first, last, cells in rows:
        record = _unusual(layout, first, last, cells, identities, is_deleted)
        if record is not None:
            yield record


def _joined(layout: Layout, lines: Sequence[Row]) -> UnreadableRecord:
    (first, _, _), (_, last, _) = lines[0], lines[-1]
    cells = [cell for _, _, cells in lines if isinstance(cells, list) for cell in cells]
    reason = (
        f"A line break splits it into the lines {first} to {last}; put the cell with the line break in quotes, or take "
        "the line break out."
    )
    return _unreadable(layout, cells, reason, f"{layout.name} {layout.unit} {first}")


def _unusual(
    layout: Layout,
    first: int,
    last: int,
    cells: list[str] | Damage,
    identities: Identities,
    is_deleted: DeletedValues,
) -> CsvRecord | None:
    """Return a row that needs padding, that has an unusual id, or that is rejected; None for an empty row."""
    where = f"{layout.name} {layout.unit} {first}"
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
    if len(cells) == 1 < width == cells[0].count(layout.delimiter or "\n") + 1:
        reason = "The line is in quotation marks as a whole, so it is one cell; export the file without them."
        return _unreadable(layout, cells[0].split(layout.delimiter), reason, where)
    cells = cells[:width] + [""] * (width - len(cells))
    external_id = identities.external_id(layout, cells)
    if not external_id:
        missing = " and ".join(f'"{layout.names[column]}"' for column in layout.ids)
        reason = (
            f"It has no id of its own in {missing}, and neither an email address nor a phone number; "
            "fill one of them in."
        )
        return _unreadable(layout, cells, reason, where)
    if len(external_id) > ID_LIMIT:
        reason = f"Its id has {len(external_id):,} characters, above {ID_LIMIT}; correct it in the CRM."
        return _unreadable(layout, cells, reason, where)
    gone = layout.deleted is not None and is_deleted[cells[layout.deleted]]
    return ContactChange(external_id, dict(zip(layout.names, cells, strict=True)), deleted=gone, where=where)


def _unreadable(layout: Layout, cells: Sequence[str], reason: str, where: str) -> UnreadableRecord:
    content = layout.delimiter.join(cells)
    external_id = given_id(layout, cells)
    if not external_id or not external_id.isprintable() or len(external_id) > ID_LIMIT:
        digest = hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        external_id = f"{layout.name} row {digest}"
    excerpt = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in content[:_EXCERPT]
    )
    return UnreadableRecord(external_id, reason, where, excerpt)
