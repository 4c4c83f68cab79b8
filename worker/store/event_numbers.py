"""Finds stored events by a phone number. Their payload may be encrypted, so their numbers are in a column of their own.

An event without them was written by the version before, or nothing in it was understood. Its payload is searched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, or_, select

from worker.store.tables import inbox_event


def written_numbers(*numbers: str) -> str:
    """Return phone numbers as ``InboxEvent.numbers`` stores them: their digits."""
    digits = ("".join(filter(str.isdecimal, number)) for number in numbers)
    return " ".join(sorted(set(filter(None, digits))))


def events_with_number(
    connection: Connection, number: str, *where: ColumnElement[bool], columns: tuple[Column[Any], ...] = ()
) -> Iterator[Row[Any]]:
    """Yield ``columns`` and the payload of the events in which the digits ``number`` occur, the newest due first."""
    e = inbox_event.c
    maybe = or_(e.numbers.is_(None), e.numbers.contains(number, autoescape=True))
    found = select(*(*columns, e.payload, e.numbers)).where(*where, maybe).order_by(e.due_at.desc(), e.id.desc())
    rows: Sequence[Row[Any]] = connection.execute(found).all()
    for row in rows:
        if row.numbers is not None or number in row.payload:
            yield row
