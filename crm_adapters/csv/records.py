"""Turns the rows of an export into records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeAlias

from crm_adapters.base import CONTACT, ContactChange, SourceIncomplete, UnreadableRecord
from crm_adapters.csv.identity import ID_LIMIT, SURE_ENDINGS, Identities, given_id, is_sure_with_zero
from crm_adapters.csv.layout import Layout
from crm_adapters.csv.removed import SAMPLE, DeletedValues
from crm_adapters.csv.rows import (
    Damage,
    Row,
    RowShape,
    SplitRow,
    holds_other_rows,
    is_quoted_line,
    leaves_out_empty_cells,
    recognised,
)

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
    first_rows = list(islice(rows := iter(rows), SAMPLE))
    unusual = _UnusualRows(layout, identities, is_deleted, _shape_of(layout, first_rows))
    held: tuple[ContactChange, Row] | None = None
    """A record whose last cell is empty: the next line may be the rest of that cell."""
    for row in chain(first_rows, rows):
        first, last, cells = row
        if plain_id is not None and first == last and type(cells) is list and len(cells) == width:
            external_id = cells[plain_id].strip()
            if by_mailbox:
                is_sure = "@" in external_id and external_id[0] != "="
            else:
                is_sure = external_id[-1:] in sure or is_sure_with_zero(external_id)
            if is_sure and external_id not in unsure and len(external_id) <= ID_LIMIT and not unusual.split.lines:
                if held is not None:
                    yield held[0]
                properties = dict(zip(names, cells))  # noqa: B905 - as long as each other; the argument costs time
                gone = deleted is not None and is_deleted[cells[deleted]]
                record = new(
                    ContactChange, (external_id, properties, None, gone, None, f"{line}{first}", CONTACT, None)
                )
                held = None if cells[-1].strip() else (record, row)
                if held is None:
                    yield record
                continue
        if any(map(str.strip, recognised(row))) or isinstance(cells, Damage):
            if held is not None and first > held[1][1] + 1 and len(recognised(row)) == 1:  # the foot of a report
                yield held[0]
                held = None
            yield from unusual.take(row, held and held[1])
            held = None
    if held is not None:
        yield held[0]
    yield from unusual.end()


def _shape_of(layout: Layout, first_rows: Sequence[Row]) -> RowShape:
    width = len(layout.names)
    trims = leaves_out_empty_cells(first_rows, width)
    return RowShape(width, layout.delimiter, layout.ids, layout.phones, layout.by_contact, trims)


@dataclass
class _UnusualRows:
    """Turns those rows into records that need a closer look. A row that may lack its rest waits for the next one."""

    layout: Layout
    identities: Identities
    is_deleted: DeletedValues
    shape: RowShape

    def __post_init__(self) -> None:
        self.split = SplitRow(self.shape)

    def take(self, row: Row, before: Row | None) -> Iterator[CsvRecord]:
        """Yield the records that are complete with this row. ``before`` is the row before it, if that was kept back."""
        layout = self.layout
        _refuse_other_rows(layout, row)
        if before is not None:
            yield from self._start(before)
        if self.split.take_rest(row):
            return
        yield from self.end()
        yield from self._start(row)

    def end(self) -> Iterator[CsvRecord]:
        """Yield the row that was waiting. If it has a rest, it is rejected, with the lines that may be records."""
        lines, own = self.split.lines, self.split.own_lines()
        self.split = SplitRow(self.shape)
        if len(lines) == 1:
            yield self._record(lines[0])
        elif lines:
            yield _joined(self.layout, lines)
            yield from (_rest(self.layout, lines[0], row) for row in own)

    def _start(self, row: Row) -> Iterator[CsvRecord]:
        """Let the row wait for its rest, or yield it. A workbook has no split rows."""
        if self.layout.is_workbook or not self.split.begin(row):
            yield self._record(row)

    def _record(self, row: Row) -> CsvRecord:
        return _unusual(self.layout, self.shape, row, self.identities, self.is_deleted)


def _joined(layout: Layout, lines: Sequence[Row]) -> UnreadableRecord:
    (first, _, _), (_, last, _) = lines[0], lines[-1]
    reason = (
        f"A line break seems to split it into the lines {first} to {last}, since what follows its first line is no "
        "complete row. Put the cell with the line break in quotes, or take the line break out; remove lines that are "
        "no records."
    )
    cells = [cell for row in lines for cell in recognised(row)]
    return _unreadable(layout, cells, reason, f"{layout.name} {layout.unit} {first}")


def _rest(layout: Layout, start: Row, row: Row) -> UnreadableRecord:
    reason = (
        f"It seems to be the rest of the row in line {start[0]}, which a line break splits. Put the cell with the line "
        "break in quotes; if this is a row of its own, give it all its cells."
    )
    return _unreadable(layout, recognised(row), reason, f"{layout.name} {layout.unit} {row[0]}")


def _refuse_other_rows(layout: Layout, row: Row) -> None:
    first, last, cells = row
    if isinstance(cells, Damage) or last == first:
        return
    if holds_other_rows(cells, layout.delimiter, len(layout.names), layout.ids[0]):
        raise SourceIncomplete(
            f"{layout.name} has a quotation mark in line {first} that is closed only in line {last}, and the rows "
            "between would be lost. Nothing was changed; correct that line or export the file again"
        )


def _unusual(layout: Layout, shape: RowShape, row: Row, identities: Identities, is_deleted: DeletedValues) -> CsvRecord:
    """Return a row that needs padding, that has an unusual id, or that is rejected."""
    first, _last, cells = row
    where = f"{layout.name} {layout.unit} {first}"
    if isinstance(cells, Damage):
        return _unreadable(layout, cells.cells, cells.reason, where)
    width = len(layout.names)
    if any(cell.strip() for cell in cells[width:]):
        reason = (
            f"It has {len(cells)} cells where the header has {width}; put the cell with the extra delimiter in quotes."
        )
        return _unreadable(layout, cells, reason, where)
    if is_quoted_line(cells, shape):
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
