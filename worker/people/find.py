"""Finds the rows that are about one person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, String, and_, false, func, or_, select
from sqlmodel.sql.sqltypes import AutoString

from worker.core.phones import mentions_number
from worker.people.registry import PersonalTable
from worker.store.sql import any_of
from worker.store.tables import contact, contact_mapping, inbound_message, message

CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Subject:
    """A person, by their number, with what their rows are found by. ``accounts``: only theirs; empty: all."""

    phone: str
    accounts: tuple[str, ...]
    contact_ids: tuple[int, ...]
    records: frozenset[tuple[str, str]]
    message_ids: tuple[str, ...]
    reply_ids: tuple[str, ...]


def find_subject(connection: Connection, phone: str, accounts: Collection[str] = ()) -> Subject:
    """Read what the rows of the person behind ``phone`` (E.164) are found by.

    A contact is a person: its texts belong to it, also those to an earlier number.
    """
    c, m, i, p = contact.c, message.c, inbound_message.c, contact_mapping.c
    contacts = connection.scalars(select(c.id).where(c.phone == phone, *_of(c.account, accounts))).all()
    mine = or_(m.to_number == phone, any_of(connection, m.contact_id, contacts))
    messages = connection.scalars(select(m.id).where(mine, *_of(m.account, accounts))).all()
    replies = connection.scalars(select(i.id).where(i.from_number == phone, *_of(i.account, accounts))).all()
    records = connection.execute(
        select(p.connection, p.external_id).where(any_of(connection, p.contact_id, contacts))
    ).all()
    found = frozenset((row.connection, row.external_id) for row in records)
    return Subject(phone, tuple(accounts), tuple(contacts), found, tuple(messages), tuple(replies))


def _of(column: Column[Any], accounts: Collection[str]) -> list[ColumnElement[bool]]:
    return [column.in_(accounts)] if accounts else []


def belongs(connection: Connection, one: PersonalTable, subject: Subject) -> ColumnElement[bool]:
    """Return the condition for the rows of a table that belong to the person."""
    if subject.accounts and one.account is None:
        return false()
    mine = _owned(connection, one, subject)
    return and_(mine, *_of(one.table.c[one.account], subject.accounts)) if one.account else mine


def _owned(connection: Connection, one: PersonalTable, subject: Subject) -> ColumnElement[bool]:
    by = [one.table.c[name] for name in one.by]
    match one.owner:
        case "phone":
            return by[0] == subject.phone
        case "contact":
            return any_of(connection, by[0], subject.contact_ids)
        case "phone or contact":
            return or_(by[0] == subject.phone, any_of(connection, by[1], subject.contact_ids))
        case "message":
            return any_of(connection, by[0], subject.message_ids)
        case "message or reply":
            return any_of(connection, by[0], [*subject.message_ids, *subject.reply_ids])
        case "record":
            return _of_records(connection, by[0], by[1], subject)
        case "phone or record":
            return or_(by[0] == subject.phone, _of_records(connection, by[1], by[2], subject))
        case "target":
            return any_of(connection, by[0], [f"crm:{name}:{external_id}" for name, external_id in subject.records])
        case None:
            return false()


def _of_records(
    connection: Connection, name: Column[Any], external_id: Column[Any], subject: Subject
) -> ColumnElement[bool]:
    by_connection: defaultdict[str, list[str]] = defaultdict(list)
    for connection_name, one in sorted(subject.records):
        by_connection[connection_name].append(one)
    parts = [and_(name == key, any_of(connection, external_id, ids)) for key, ids in sorted(by_connection.items())]
    return or_(false(), *parts)


def owned_keys(connection: Connection, one: PersonalTable, subject: Subject) -> Sequence[Row[Any]]:
    """Return the primary keys of the rows of a table that belong to the person."""
    return connection.execute(select(*one.table.primary_key.columns).where(belongs(connection, one, subject))).all()


def mentioning(connection: Connection, one: PersonalTable, phone: str) -> Iterator[Row[Any]]:
    """Yield the rows of a table (key, then ``mentions``) that name the number, in any format, in these columns.

    The database makes a rough choice by the digits. What it stores encrypted is read row by row.
    """
    columns = [one.table.c[name] for name in one.mentions]
    if not columns:
        return
    likely = or_(*(_has_digits(column, phone) for column in columns)) if all(map(_is_plain, columns)) else None
    keys = list(one.table.primary_key.columns)
    rows = select(*keys, *(column for column in columns if column not in keys))
    found = connection.execute(rows if likely is None else rows.where(likely), execution_options={"yield_per": CHUNK})
    for row in found:
        if any(mentions_number(str(row._mapping[column]), phone) for column in columns):
            yield row


def key_of(one: PersonalTable, row: Sequence[Any]) -> tuple[Any, ...]:
    """Return the primary key of a row that ``owned_keys`` or ``mentioning`` found."""
    return tuple(row)[: len(one.table.primary_key.columns)]


def is_one_of(one: PersonalTable, rows: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
    """Return the condition for these rows."""
    columns = list(one.table.primary_key.columns)
    keys = [key_of(one, row) for row in rows]
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return or_(false(), *(and_(*(c == value for c, value in zip(columns, key, strict=True))) for key in keys))


def _is_plain(column: Column[Any]) -> bool:
    return isinstance(column.type, String | AutoString)


def _has_digits(column: Column[Any], phone: str) -> ColumnElement[bool]:
    """Return the rough condition that the last digits of a number occur in this order."""
    return func.coalesce(column, "").like("%" + "%".join(phone[-7:]) + "%")
