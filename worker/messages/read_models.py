"""Messages as people and programs read them: one list row and one detailed view, for HTTP, the CLI and ``explain``.

A new column of a message becomes a field of ``MessageSummary`` or ``MessageDetails``; the queries read fields by name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, select

from worker.core.states import MessageKind, MessageState
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.sql import any_of
from worker.store.tables import inbound_message, message, message_event


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """One message as a list shows it. Each field is a column of the same name."""

    id: str
    account: str
    kind: MessageKind
    state: MessageState
    reason: str
    to_number: str
    from_number: str
    text: str
    segments: int
    source: str
    trigger: str | None
    batch_id: str | None
    created_at: datetime
    due_at: datetime
    attempts: int
    virtualtext_message_id: str | None
    reference_code: str


@dataclass(frozen=True, slots=True)
class MessageStep:
    """One change of a message's state. ``before`` is None for its creation."""

    at: datetime
    before: MessageState | None
    after: MessageState
    reason: str
    actor: str
    attempt: int


@dataclass(frozen=True, slots=True)
class MessageDetails(MessageSummary):
    """One message with its history, oldest step first. ``about``: its CRM record (connection, external id), if any."""

    media: tuple[str, ...]
    expires_at: datetime | None
    sent_at: datetime | None
    carrier: str | None
    carrier_message_id: str | None
    about: tuple[str, str] | None
    steps: tuple[MessageStep, ...]


@dataclass(frozen=True, slots=True)
class ReceivedReply:
    """A text that the number wrote. ``keyword``: ``stop``, ``start``, ``help``, ``review`` or none of them."""

    account: str
    text: str
    keyword: str
    received_at: datetime


_SUMMARY = tuple(field.name for field in fields(MessageSummary))
_PLAIN = tuple(field.name for field in fields(MessageDetails) if field.name not in ("media", "about", "steps"))
_SUMMARY_COLUMNS = [message.c[name] for name in _SUMMARY]
_DETAIL_COLUMNS = [message.c[name] for name in (*_PLAIN, "media", "connection", "external_id")]


def find_messages(
    runtime: Runtime,
    *,
    message_id: str | None = None,
    state: str | None = None,
    trigger: str | None = None,
    number: str | None = None,
    batch_id: str | None = None,
    accounts: Collection[str] = (),
    before: str | None = None,
    limit: int = 50,
) -> list[MessageSummary]:
    """Return the newest messages that match everything given.

    ``before`` is a message id: return only older ones. Empty ``accounts`` means all accounts.
    """
    m = message.c
    wanted = ((m.id, message_id), (m.state, state), (m.trigger, trigger), (m.to_number, number), (m.batch_id, batch_id))
    where = [column == value for column, value in wanted if value is not None]
    if accounts:
        where.append(m.account.in_(accounts))
    if before is not None:
        where.append(m.id < before)  # ids are in order of time
    newest = select(*_SUMMARY_COLUMNS).where(*where).order_by(m.id.desc()).limit(limit)
    with reading(runtime.engine) as connection:
        return [MessageSummary(**_values(row, _SUMMARY)) for row in connection.execute(newest)]


def read_details(connection: Connection, *where: ColumnElement[bool]) -> tuple[MessageDetails, ...]:
    """Return the messages that match, oldest first, with their histories."""
    rows = connection.execute(select(*_DETAIL_COLUMNS).where(*where).order_by(message.c.id)).all()
    e = message_event.c
    steps: defaultdict[str, list[MessageStep]] = defaultdict(list)
    events = select(e.message_id, e.at, e.from_state, e.to_state, e.reason, e.actor, e.attempt)
    events = events.where(any_of(connection, e.message_id, [row.id for row in rows])).order_by(e.id)
    for row in connection.execute(events) if rows else ():
        before = None if row.from_state is None else MessageState(row.from_state)
        step = MessageStep(row.at, before, MessageState(row.to_state), row.reason, row.actor, row.attempt)
        steps[row.message_id].append(step)
    return tuple(_details(row, tuple(steps[row.id])) for row in rows)


def message_details(runtime: Runtime, message_id: str, accounts: Collection[str] = ()) -> MessageDetails | None:
    """Return one message of ``accounts`` (empty: of any), or None."""
    where = [message.c.id == message_id, *([message.c.account.in_(accounts)] if accounts else [])]
    with reading(runtime.engine) as connection:
        return next(iter(read_details(connection, *where)), None)


def is_message_id(runtime: Runtime, text: str) -> bool:
    """Return True if a message has this id. Ids of batches have the same shape."""
    with reading(runtime.engine) as connection:
        return connection.scalar(select(message.c.id).where(message.c.id == text)) is not None


def newest_replies(runtime: Runtime, phone: str, *, accounts: Collection[str] = (), limit: int) -> list[ReceivedReply]:
    """Return the newest texts that ``phone`` wrote to ``accounts`` (empty: to any)."""
    i = inbound_message.c
    statement = select(i.account, i.text, i.keyword, i.received_at).where(i.from_number == phone)
    if accounts:
        statement = statement.where(i.account.in_(accounts))
    newest = statement.order_by(i.received_at.desc(), i.id.desc()).limit(limit)
    with reading(runtime.engine) as connection:
        return [ReceivedReply(*row) for row in connection.execute(newest)]


def _details(row: Row[Any], steps: tuple[MessageStep, ...]) -> MessageDetails:
    about = None if row.connection is None or row.external_id is None else (row.connection, row.external_id)
    media = tuple(orjson.loads(row.media))
    return MessageDetails(**_values(row, _PLAIN), media=media, about=about, steps=steps)


def _values(row: Row[Any], names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in names}
    return values | {"kind": MessageKind(row.kind), "state": MessageState(row.state)}
