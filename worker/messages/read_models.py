"""Messages as people and programs read them: one list row and one detailed view, for HTTP, the CLI and ``explain``.

A new column of a message becomes a field of ``MessageSummary`` or ``MessageDetails``; the queries read fields by name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, select

from config.models import Settings
from worker.core.states import MessageKind, MessageState
from worker.messages.metadata import Value
from worker.messages.outlook import expected_times
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.sql import any_of
from worker.store.tables import inbound_message, message, message_event, message_metadata


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
    metadata: Mapping[str, Value]
    test: bool


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
    """One message with its history, oldest step first. ``about``: its CRM record (connection, external id), if any.

    ``expected_at``: when a queued text will go, as far as that is known now. None for all others, and for a text that
    waits for somebody or would expire before it may go.
    """

    media: tuple[str, ...]
    callback_url: str | None
    expires_at: datetime | None
    sent_at: datetime | None
    carrier: str | None
    carrier_message_id: str | None
    about: tuple[str, str] | None
    expected_at: datetime | None
    steps: tuple[MessageStep, ...]


@dataclass(frozen=True, slots=True)
class ReceivedReply:
    """A text that the number wrote. ``keyword``: ``stop``, ``start``, ``help``, ``review`` or none of them."""

    account: str
    text: str
    keyword: str
    received_at: datetime


FEW = 1000
"""Messages with one entry of metadata that are looked up by their ids."""

_SUMMARY = tuple(field.name for field in fields(MessageSummary))
_COMPUTED = ("media", "about", "expected_at", "steps")
_PLAIN = tuple(field.name for field in fields(MessageDetails) if field.name not in _COMPUTED)
_SUMMARY_COLUMNS = [message.c[name] for name in _SUMMARY]
_DETAIL_COLUMNS = [message.c[name] for name in (*_PLAIN, "media", "connection", "external_id")]


def find_messages(
    runtime: Runtime,
    *,
    message_id: str | None = None,
    message_ids: Collection[str] | None = None,
    state: str | None = None,
    trigger: str | None = None,
    number: str | None = None,
    batch_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
    accounts: Collection[str] = (),
    test: bool | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[MessageSummary]:
    """Return the newest messages that match everything given.

    ``metadata`` names entries that the message must have, with their values as text. ``test``: only those of test keys,
    or only the others. ``before`` is a message id: return only older ones. Empty ``accounts`` means all accounts.
    """
    m = message.c
    wanted = ((m.id, message_id), (m.state, state), (m.trigger, trigger), (m.to_number, number), (m.batch_id, batch_id))
    where = [column == value for column, value in wanted if value is not None]
    if accounts:
        where.append(m.account.in_(accounts))
    if test is not None:
        where.append(m.test == test)
    if before is not None:
        where.append(m.id < before)  # ids are in order of time
    with reading(runtime.engine) as connection:
        if message_ids is not None:
            where.append(any_of(connection, m.id, message_ids))
        if trigger is not None and not metadata:
            where += _recent_enough(connection, where, limit)
        newest = _newest_with(connection, select(*_SUMMARY_COLUMNS).where(*where), metadata or {}, before).limit(limit)
        return [MessageSummary(**_values(row, _SUMMARY)) for row in connection.execute(newest)]


SKEW = timedelta(hours=1)
"""More than the times of a message's id and of its ``created_at`` can differ."""


def _recent_enough(
    connection: Connection, where: Sequence[ColumnElement[bool]], limit: int
) -> list[ColumnElement[bool]]:
    """Return the condition that leaves out all but the newest messages of a trigger, by the index over their times.

    Without it, all messages of the trigger would be sorted by id.
    """
    at = message.c.created_at
    last = connection.scalar(select(at).where(*where).order_by(at.desc()).offset(limit).limit(1))
    return [] if last is None else [at >= last - SKEW]


def _newest_with(
    connection: Connection, wanted: Select[Any], metadata: Mapping[str, str], before: str | None
) -> Select[Any]:
    """Keep messages with these entries, newest first.

    An entry that few messages have finds them at once, whatever else is asked. Where all entries are common, the index
    of the first one has its messages in order, so that a page needs no sort.
    """
    entries = []
    for key, value in metadata.items():
        entry = message_metadata.alias()
        entries.append((entry, and_(entry.c.key == key, entry.c.value == value)))
    for entry, this in entries:
        ids = connection.scalars(select(entry.c.message_id).where(this).limit(FEW + 1)).all()
        if len(ids) <= FEW:
            all_of = [exists().where(one.c.message_id == message.c.id, that) for one, that in entries]
            return wanted.where(any_of(connection, message.c.id, ids), *all_of).order_by(message.c.id.desc())
    for entry, this in entries:
        wanted = wanted.join(entry, and_(entry.c.message_id == message.c.id, this))
    first = entries[0][0].c.message_id if entries else message.c.id
    if before is not None:
        wanted = wanted.where(first < before)
    return wanted.order_by(first.desc())


def read_details(connection: Connection, settings: Settings, *where: ColumnElement[bool]) -> tuple[MessageDetails, ...]:
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
    expected = expected_times(connection, settings, [row.id for row in rows], utcnow()) if rows else {}
    return tuple(_details(row, expected.get(row.id), tuple(steps[row.id])) for row in rows)


def message_details(
    runtime: Runtime, message_id: str, accounts: Collection[str] = (), *, test: bool | None = None
) -> MessageDetails | None:
    """Return one message of ``accounts`` (empty: of any), or None. ``test``: see ``find_messages``."""
    where = [message.c.id == message_id, *([message.c.account.in_(accounts)] if accounts else [])]
    where += [] if test is None else [message.c.test == test]
    with reading(runtime.engine) as connection:
        return next(iter(read_details(connection, runtime.settings, *where)), None)


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


def read_replies(connection: Connection, phone: str, accounts: Collection[str] = ()) -> tuple[ReceivedReply, ...]:
    """Return all texts that ``phone`` wrote to ``accounts`` (empty: to any), oldest first."""
    i = inbound_message.c
    mine = [i.account.in_(accounts)] if accounts else []
    rows = select(i.account, i.text, i.keyword, i.received_at).where(i.from_number == phone, *mine)
    return tuple(ReceivedReply(*row) for row in connection.execute(rows.order_by(i.received_at, i.id)))


def _details(row: Row[Any], expected_at: datetime | None, steps: tuple[MessageStep, ...]) -> MessageDetails:
    about = None if row.connection is None or row.external_id is None else (row.connection, row.external_id)
    media = tuple(orjson.loads(row.media))
    return MessageDetails(**_values(row, _PLAIN), media=media, about=about, expected_at=expected_at, steps=steps)


def _values(row: Row[Any], names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in names}
    metadata = orjson.loads(row.metadata)
    return values | {"kind": MessageKind(row.kind), "state": MessageState(row.state), "metadata": metadata}
