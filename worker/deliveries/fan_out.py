"""Makes one delivery of each announcement for everybody who wants it, and forgets the announcement."""

from __future__ import annotations

import orjson
from sqlalchemy import delete, select

from worker.core.states import ForwardState
from worker.deliveries.targets import Event, records_of, targets
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.sql import any_of, insert_many, lock_account
from worker.store.tables import forward, public_event

PORTION = 500


def fan_out(runtime: Runtime) -> int:
    """Take one portion of announcements, in one transaction. Returns how many those were. Safe in many workers."""
    now, settings = utcnow(), runtime.settings
    with writing(runtime.engine) as connection:
        # One at a time: a second would do the same again, and a record's deliveries are made in its order.
        lock_account(connection, "fan out")
        rows = connection.execute(
            select(public_event).order_by(public_event.c.at, public_event.c.id).limit(PORTION)
        ).all()
        events = [Event(row.id, row.type, row.at, row.account, row.phone, orjson.loads(row.payload)) for row in rows]
        records = records_of(connection, settings, (event.phone for event in events))
        deliveries = [
            {
                "event_id": event.id,
                "target": target,
                "type": event.type,
                "payload": body(event),
                "created_at": event.at,
                "state": ForwardState.DUE,
                "due_at": now,
                "attempts": 0,
                "last_error": "",
            }
            for event in events
            for target in targets(event, settings, records)
        ]
        insert_many(connection, forward, deliveries, unique=["event_id", "target"])
        connection.execute(
            delete(public_event).where(any_of(connection, public_event.c.id, [one.id for one in events]))
        )
    return len(events)


def body(event: Event) -> str:
    """What receivers get: JSON that stays the same however often it is delivered."""
    data = {"account": event.account, "phone": event.phone, **event.data}
    return orjson.dumps({"type": event.type, "timestamp": event.at.isoformat(), "data": data}).decode()
