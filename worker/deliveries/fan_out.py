"""Turns each published event into one delivery per receiver, and deletes the event."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import delete, select

from worker.core.states import DeliveryState
from worker.deliveries.targets import CALLBACK, OutgoingEvent, Target, records_of, targets_of
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.sql import any_of, by_column, insert_many, lock_account
from worker.store.tables import delivery, message, public_event

PORTION = 500


def fan_out(runtime: Runtime) -> int:
    """Turn one portion of events into deliveries, in one transaction, and return how many. Safe in many workers."""
    now, settings = utcnow(), runtime.settings
    with writing(runtime.engine) as connection:
        # One worker at a time: a second one would repeat the work, and the deliveries of a record must be in order.
        lock_account(connection, "fan out")
        # A message's event also goes to the caller who asked for the text, if the job named a URL.
        asked = select(public_event, message.c.callback_url)
        asked = asked.outerjoin(message, message.c.id == public_event.c.message_id)
        rows = connection.execute(asked.order_by(public_event.c.at, public_event.c.id).limit(PORTION)).all()
        events = [
            OutgoingEvent(row.id, row.type, row.at, row.account, row.phone, orjson.loads(row.payload), row.callback_url)
            for row in rows
        ]
        records = records_of(connection, settings, (event.phone for event in events))
        deliveries = [
            due_delivery(event, target, now) for event in events for target in targets_of(event, settings, records)
        ]
        insert_many(connection, delivery, by_column(deliveries), unique=["event_id", "target"])
        connection.execute(
            delete(public_event).where(any_of(connection, public_event.c.id, [one.id for one in events]))
        )
    return len(events)


def due_delivery(event: OutgoingEvent, target: Target, now: datetime) -> dict[str, Any]:
    """Return the row of a delivery that is due now."""
    return {
        "event_id": event.id,
        "target": str(target),
        "url": event.callback_url if target.receiver.kind == CALLBACK else None,
        "type": event.type,
        "payload": body(event),
        "created_at": event.at,
        "state": DeliveryState.DUE,
        "due_at": now,
        "attempts": 0,
        "last_error": "",
    }


def body(event: OutgoingEvent) -> str:
    """Return the JSON that receivers get. It stays the same, however often it is delivered."""
    data = {"account": event.account, "phone": event.phone, **event.data}
    return orjson.dumps({"type": event.type, "timestamp": event.at.isoformat(), "data": data}).decode()
