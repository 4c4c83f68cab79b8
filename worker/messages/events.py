"""What CRMs and other services may want to hear of: written in the same transaction as the thing itself.

``worker.deliveries`` hands each announcement on to everybody who wants it, and then forgets it here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Connection, Row, insert, select

from worker.core.states import MessageKind, MessageState
from worker.store.ids import new_message_id
from worker.store.sql import any_of, insert_many
from worker.store.tables import message, public_event


class EventType(StrEnum):
    """The public names of what can happen; stable once released."""

    MESSAGE_RECEIVED = "message.received"
    MESSAGE_SENT = "message.sent"
    """VirtualText took it, or showed it in its conversation."""
    MESSAGE_RECORDED = "message.recorded"
    """A text that another system sent is in the conversation now."""
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_FAILED = "message.failed"
    """Refused, or reported as not delivered."""
    MESSAGE_SUPPRESSED = "message.suppressed"
    """The policy ended it: opted out, no consent, a duplicate."""
    MESSAGE_EXPIRED = "message.expired"
    MESSAGE_UNKNOWN = "message.unknown"
    """It may or may not have gone out; a person or its echo settles it."""
    CONTACT_OPTED_OUT = "contact.opted_out"
    CONTACT_OPTED_IN = "contact.opted_in"


def announce(
    connection: Connection,
    type_: EventType,
    *,
    account: str,
    phone: str,
    now: datetime,
    data: Mapping[str, Any],
    message_id: str | None = None,
) -> str:
    """Put one announcement beside what it tells of. ``phone`` is the customer's number. Returns the event's id."""
    event_id = new_message_id()
    row = {
        "id": event_id,
        "type": type_,
        "at": now,
        "account": account,
        "phone": phone,
        "message_id": message_id,
        "payload": orjson.dumps(dict(data)).decode(),
    }
    connection.execute(insert(public_event), row)
    return event_id


_EVENTS = {
    MessageState.ACCEPTED: EventType.MESSAGE_SENT,
    MessageState.CONFIRMED: EventType.MESSAGE_SENT,
    MessageState.DELIVERED: EventType.MESSAGE_DELIVERED,
    MessageState.FAILED: EventType.MESSAGE_FAILED,
    MessageState.REJECTED: EventType.MESSAGE_FAILED,
    MessageState.SUPPRESSED: EventType.MESSAGE_SUPPRESSED,
    MessageState.EXPIRED: EventType.MESSAGE_EXPIRED,
    MessageState.UNKNOWN: EventType.MESSAGE_UNKNOWN,
}


def event_of(before: MessageState | None, after: MessageState) -> EventType | None:
    """What others hear when a message goes from ``before`` to ``after``; None: nothing. Pure."""
    if (before, after) == (MessageState.ACCEPTED, MessageState.CONFIRMED):
        return None  # they have heard that it was sent
    return _EVENTS.get(after)


def announce_messages(
    connection: Connection,
    ids: Sequence[str],
    type_: EventType,
    reason: str,
    now: datetime,
    rows: Sequence[Row[Any]] | None = None,
) -> None:
    """Announce the same of several messages, each once: its event's id is made of the message and the type.

    ``rows`` are those of ``message`` where the caller has them: sending a text waits for this.
    """
    if rows is None:
        rows = connection.execute(select(message).where(any_of(connection, message.c.id, list(ids)))).all()
    events = []
    for row in rows:
        recorded = row.kind == MessageKind.RECORD
        named = EventType.MESSAGE_RECORDED if recorded and type_ is EventType.MESSAGE_SENT else type_
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
            "sent_at": (row.sent_at or row.attempted_at or now).isoformat(),
        }
        events.append(
            {
                # A text that is sent again is announced again.
                "id": hashlib.blake2b(f"{row.id}:{named}:{row.attempts}".encode(), digest_size=16).hexdigest(),
                "type": named,
                "at": now,
                "account": row.account,
                "phone": row.to_number,
                "message_id": row.id,
                "payload": orjson.dumps(data).decode(),
            }
        )
    insert_many(connection, public_event, events, unique=["id"])
