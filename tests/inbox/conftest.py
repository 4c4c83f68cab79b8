"""A store with an inbox, and short words for what comes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, Row, select, update

from tests.messages.conftest import FakeClient, FakeRuntime, Outbox, number
from worker.inbox.events import Incoming, store_events
from worker.inbox.process import InboxReport, process_due
from worker.inbox.relay import prepare_relay
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import inbound_message, inbox_event, public_event

US = "+14155550100"
THEM = number(0)


def inbound(text: str | None = "Hello", message_id: str | None = "in1", **more: Any) -> dict[str, Any]:
    """A reply, as documented."""
    body: dict[str, Any] = {
        "ToNumber": US,
        "FromNumber": THEM,
        "MessageBody": text,
        "MessageDirection": "in",
        "Media": [],
    }
    return body | ({"MessageID": message_id} if message_id else {}) | more


def echo(text: str = "hello", message_id: str | None = "out1", to: str = THEM, **more: Any) -> dict[str, Any]:
    """A text of ours, as documented."""
    body: dict[str, Any] = {
        "ToNumber": to,
        "FromNumber": US,
        "MessageBody": text,
        "MessageDirection": "out",
        "Media": [],
    }
    return body | ({"MessageID": message_id} if message_id else {}) | more


@dataclass
class Inbox(Outbox):
    """An outbox with the inbox beside it."""

    def comes(self, *payloads: Any, at: datetime | None = None) -> InboxReport:
        """These events come in and are worked off."""
        now = at or utcnow()
        with writing(self.engine) as connection:
            store_events(connection, [Incoming("relay", "main", orjson.dumps(one).decode(), now) for one in payloads])
        return self.process()

    def process(self) -> InboxReport:
        return process_due(self.runtime, {"relay": prepare_relay}, limit=10_000)

    def later(self) -> InboxReport:
        """As if every wait were over."""
        with writing(self.engine) as connection:
            connection.execute(update(inbox_event).values(due_at=utcnow() - timedelta(seconds=1)))
        return self.process()

    def rows(self, table: Any) -> list[Row[Any]]:
        with reading(self.engine) as connection:
            return list(connection.execute(select(table)))

    def replies(self) -> list[Row[Any]]:
        return self.rows(inbound_message)

    def events(self) -> list[Row[Any]]:
        return self.rows(inbox_event)

    def announced(self) -> list[str]:
        return [row.type for row in self.rows(public_event)]


@pytest.fixture
def inbox(engine: Engine) -> Inbox:
    client = FakeClient()
    return Inbox(FakeRuntime(engine, client), client)
