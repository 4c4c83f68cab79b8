"""Publish events for CRMs and other services, in the same transaction as the change they report.

``worker.deliveries`` creates a delivery of each event for each of its receivers, and then deletes the event's row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, insert, select

from config.event_types import EventType
from worker.core.states import MessageKind, MessageState
from worker.store.ids import new_message_id
from worker.store.sql import any_of, by_column, insert_many
from worker.store.tables import message, public_event


def publish(
    connection: Connection,
    type_: EventType,
    *,
    account: str,
    phone: str,
    now: datetime,
    data: Mapping[str, Any],
    message_id: str | None = None,
) -> None:
    """Publish one event. ``phone`` is the customer's number."""
    connection.execute(insert(public_event), _row(type_, account, phone, now, data, message_id))


def publish_each(
    connection: Connection, type_: EventType, *, account: str, now: datetime, data: Mapping[str, Mapping[str, Any]]
) -> None:
    """Publish the same event for several numbers with one statement. ``data``: the data of each, by number."""
    rows = [_row(type_, account, phone, now, one, None) for phone, one in data.items()]
    if rows:
        connection.execute(insert(public_event), rows)


def _row(
    type_: EventType, account: str, phone: str, now: datetime, data: Mapping[str, Any], message_id: str | None
) -> dict[str, Any]:
    return {
        "id": new_message_id(),
        "type": type_,
        "at": now,
        "account": account,
        "phone": phone,
        "message_id": message_id,
        "payload": orjson.dumps(dict(data)).decode(),
    }


_EVENTS = {
    MessageState.ACCEPTED: EventType.MESSAGE_SENT,
    MessageState.CONFIRMED: EventType.MESSAGE_SENT,
    MessageState.DELIVERED: EventType.MESSAGE_DELIVERED,
    MessageState.FAILED: EventType.MESSAGE_FAILED,
    MessageState.REJECTED: EventType.MESSAGE_FAILED,
    MessageState.SUPPRESSED: EventType.MESSAGE_SUPPRESSED,
    MessageState.EXPIRED: EventType.MESSAGE_EXPIRED,
    MessageState.SIMULATED: EventType.MESSAGE_SIMULATED,
    MessageState.UNKNOWN: EventType.MESSAGE_UNKNOWN,
}


def event_of(before: MessageState | None, after: MessageState) -> EventType | None:
    """Return the event to publish when a message goes from ``before`` to ``after``; None for no event. Pure."""
    if (before, after) == (MessageState.ACCEPTED, MessageState.CONFIRMED):
        return None  # MESSAGE_SENT was published already
    return _EVENTS.get(after)


def publish_messages(
    connection: Connection,
    ids: Collection[str],
    type_: EventType,
    reason: str,
    now: datetime,
    rows: Sequence[Row[Any]] | None = None,
) -> None:
    """Publish one event for each message. Publishing the same event of a message again changes nothing.

    ``rows`` are the rows of ``message`` where the caller has them, which saves a query before a text is sent.
    """
    if rows is None:
        rows = connection.execute(select(message).where(any_of(connection, message.c.id, ids))).all()
    events = [_message_row(row, type_, reason, now) for row in rows]
    insert_many(connection, public_event, by_column(events), unique=["id"])


def _message_row(row: Row[Any], type_: EventType, reason: str, now: datetime) -> dict[str, Any]:
    if row.kind == MessageKind.RECORD and type_ is EventType.MESSAGE_SENT:
        type_ = EventType.MESSAGE_RECORDED
    data = {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "reason": reason,
        "from": row.from_number,
        "to": row.to_number,
        "text": row.text,
        "media": orjson.loads(row.media),
        "source": row.source,
        "trigger": row.trigger,
        "record": None if row.connection is None else {"connection": row.connection, "id": row.external_id},
        "virtualtext_message_id": row.virtualtext_message_id,
        "metadata": orjson.loads(row.metadata),
        "test": row.test or row.state == MessageState.SIMULATED,
        "sent_at": (row.sent_at or row.attempted_at or now).isoformat(),
    }
    return {
        # The id depends on the attempt: a text that is sent again is published again.
        "id": hashlib.blake2b(f"{row.id}:{type_}:{row.attempts}".encode(), digest_size=16).hexdigest(),
        "type": type_,
        "at": now,
        "account": row.account,
        "phone": row.to_number,
        "message_id": row.id,
        "payload": orjson.dumps(data).decode(),
    }
