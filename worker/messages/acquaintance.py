"""Which accounts know a number: the border between the people of one account and those of another."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, exists, or_, select, union_all

from worker.store.sql import any_of
from worker.store.tables import contact, inbound_message, message, opt_out

_KNOWN = (
    (contact.c.account, contact.c.phone),
    (message.c.account, message.c.to_number),
    (inbound_message.c.account, inbound_message.c.from_number),
)


def is_known_to(
    phone: ColumnElement[str], account: ColumnElement[str], accounts: Collection[str]
) -> ColumnElement[bool]:
    """Return the condition for opt-outs of numbers that ``accounts`` know. The columns are those of the opt-outs."""
    known = (exists().where(of.in_(accounts), number == phone) for of, number in _KNOWN)
    return or_(account.in_(accounts), *known)


def accounts_that_know(connection: Connection, phone: str, accounts: Collection[str]) -> list[str]:
    """Return those of ``accounts`` that have a contact, text, reply or opt-out with ``phone`` (E.164), sorted."""
    known = [*_KNOWN, (opt_out.c.account, opt_out.c.phone)]
    found = union_all(
        *(
            select(account).where(any_of(connection, account, accounts), number == phone).distinct()
            for account, number in known
        )
    )
    return sorted(set(connection.scalars(found)))
