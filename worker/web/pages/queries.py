"""What the pages count and list besides what `vtsync status` and `vtsync explain` read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Text, case, func, or_, select, type_coerce

from worker.core.states import MessageKind, MessageState
from worker.store.sealed import cipher_of
from worker.store.tables import contact, inbound_message, message

DAY = timedelta(hours=24)
COUNTED = 10_000
"""More messages than this are not counted for a page."""
GONE = (MessageState.ACCEPTED, MessageState.CONFIRMED, MessageState.DELIVERED)
"""The states of texts that have gone to the person."""
WAITING = (MessageState.QUEUED, MessageState.HELD, MessageState.UNKNOWN)
COMPARED = 50_000
"""Encrypted names that are compared with the words of a search."""


def texts_by_state(
    connection: Connection, accounts: Collection[str], now: datetime
) -> tuple[dict[str, int], dict[str, int]]:
    """Count the texts that were due in the last 24 hours, and in the 24 hours before, by their state now.

    All of it is in one index, which is what makes it quick: accounts, kind and every state are named for it.
    """
    m = message.c
    which = (m.account.in_(list(accounts)), m.kind == MessageKind.SEND, m.state.in_(list(MessageState)))
    is_today = case((m.due_at >= now - DAY, 1), else_=0)
    rows = connection.execute(
        select(is_today, m.state, func.count())
        .where(*which, m.due_at >= now - 2 * DAY, m.due_at < now)
        .group_by(is_today, m.state)
    ).all()
    today, before = ({str(row[1]): int(row[2]) for row in rows if row[0] == day} for day in (1, 0))
    return today, before


def states_of_all(connection: Connection, filters: Mapping[str, str]) -> dict[str, int]:
    """Count the messages of a filter by state: at most a little more than COUNTED of each, or the newest COUNTED.

    What waits is always counted, however old it is.
    """
    m = message.c
    where = _matching(filters)
    found: dict[str, int] = {}
    if where:
        newest = select(m.state).where(*where).order_by(m.created_at.desc()).limit(COUNTED + 1).subquery()
        rows = connection.execute(select(newest.c.state, func.count()).group_by(newest.c.state))
        found = {str(state): int(count) for state, count in rows}
        if sum(found.values()) <= COUNTED:
            return {state: found[state] for state in MessageState if state in found}
    also = _matching(filters, by_state=True)
    for state in WAITING if where else MessageState:
        some = select(m.id).where(m.state == state, *also).limit(COUNTED + 1).subquery()
        found[state] = connection.scalar(select(func.count()).select_from(some)) or 0
    return {state: found[state] for state in MessageState if found.get(state)}


def _matching(filters: Mapping[str, str], *, by_state: bool = False) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter. ``by_state``: keep other indexes out of it, because few messages wait."""
    m = message.c
    columns = {"trigger": m.trigger, "batch": m.batch_id, "number": m.to_number}
    return [
        (func.coalesce(column, "") if by_state else column) == filters[name]
        for name, column in columns.items()
        if filters.get(name)
    ]


@dataclass(frozen=True, slots=True)
class Bubble:
    """One text of a conversation."""

    at: datetime
    is_ours: bool
    text: str
    state: str
    id: str


def conversation(connection: Connection, phone: str, limit: int = 200) -> list[Bubble]:
    """Return the newest texts of a conversation, oldest first."""
    m, i = message.c, inbound_message.c
    at = func.coalesce(m.sent_at, m.attempted_at, m.created_at)
    ours = select(at, m.text, m.state, m.id).where(m.to_number == phone).order_by(m.id.desc()).limit(limit)
    theirs = select(i.received_at, i.text, i.keyword, i.id).where(i.from_number == phone)
    theirs = theirs.order_by(i.received_at.desc()).limit(limit)
    found = [Bubble(m_at, True, text, state, id_) for m_at, text, state, id_ in connection.execute(ours)]
    found += [Bubble(i_at, False, text, keyword, id_) for i_at, text, keyword, id_ in connection.execute(theirs)]
    return sorted(found, key=lambda one: one.at)[-limit:]


@dataclass(frozen=True, slots=True)
class BeforeReply:
    """Who wrote a reply, and the text that they had received before. Empty where nothing is stored."""

    name: str = ""
    text: str = ""
    at: datetime | None = None


def before_reply(connection: Connection, phone: str, reply_at: datetime) -> BeforeReply:
    """Return the person and the last text that had gone to this number when its owner wrote."""
    m, c = message.c, contact.c
    at = func.coalesce(m.sent_at, m.attempted_at, m.created_at)
    name = connection.scalar(select(c.full_name).where(c.phone == phone).order_by(c.id).limit(1))
    newest = select(m.text, at).where(m.to_number == phone, m.state.in_(GONE), m.created_at <= reply_at, at <= reply_at)
    last = connection.execute(newest.order_by(m.created_at.desc()).limit(1)).first()
    return BeforeReply(name or "", *(() if last is None else last))


def people_called(connection: Connection, words: str, limit: int = 20) -> list[tuple[str, str, str]]:
    """Return (number, name, account) of contacts whose name or number contains this.

    Where names are encrypted, the database cannot look for them, so the newest contacts are read and compared here.
    """
    c = contact.c
    found = select(c.phone, c.full_name, c.account).order_by(c.id.desc())
    cipher = cipher_of(connection.dialect)
    if cipher is None or not cipher.seals:
        pattern = "%" + words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        name = type_coerce(c.full_name, Text())
        alike = or_(name.ilike(pattern, escape="\\"), c.phone.like(pattern, escape="\\"))
        return [tuple(row) for row in connection.execute(found.where(alike).limit(limit))]
    wanted = words.casefold()
    people: list[tuple[str, str, str]] = []
    for row in connection.execute(found.limit(COMPARED)):
        if wanted in row.full_name.casefold() or wanted in row.phone:
            people.append((row.phone, row.full_name, row.account))
        if len(people) == limit:
            break
    return people
