"""What CRMs and other services may want to hear of: written in the same transaction as the thing itself.

``worker.forward`` hands each announcement on to everybody who wants it, and then forgets it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Connection, insert

from worker.store.ids import new_message_id
from worker.store.tables import public_event


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
