"""The numbers of an event, by which it is found although its payload may be encrypted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, select

from config.integrations import Carrier
from tests.inbox.conftest import THEM, US, echo, inbound
from worker.inbox.carrier_texts import carrier_numbers
from worker.inbox.events import Incoming, store_events
from worker.inbox.relay import relay_numbers
from worker.store.db import reading, writing
from worker.store.event_numbers import events_with_number, written_numbers
from worker.store.models import utcnow
from worker.store.tables import inbox_event

BOTH = written_numbers(US, THEM)
RELAY: dict[str, tuple[Any, str | None]] = {
    "a reply": (inbound(), BOTH),
    "an echo": (echo(), BOTH),
    "as people write them": (inbound(FromNumber="(415) 555-2000"), BOTH),
    "wrapped": ({"eventType": "message", "data": inbound()}, BOTH),
    "in a string": ({"payload": orjson.dumps(inbound()).decode()}, BOTH),
    "two": ([inbound(), inbound(FromNumber="+14155552999")], written_numbers(US, THEM, "+14155552999")),
    "a receipt has none": ({"MessageID": "out1", "MessageStatus": "delivered"}, ""),
    "no event": ({"hello": "world"}, None),
    "one that is none beside a reply": ([inbound(), {"hello": "world"}], None),
    "nothing": ({}, None),
    "a text": ("hello 14155552000", None),
}
TWILIO = Carrier(carrier="twilio", account="main", auth_token="t", account_id="AC1")
CARRIER: dict[str, tuple[Any, str | None]] = {
    "twilio": ({"MessageSid": "SM1", "MessageStatus": "sent", "To": THEM, "From": US, "Body": "Hi"}, BOTH),
    "only an id": ({"MessageSid": "SM1", "MessageStatus": "sent"}, None),
    "no event": ({"hello": "world"}, None),
    "no object": (["x"], None),
}


@pytest.mark.parametrize("case", RELAY)
def test_numbers_of_the_relay(case: str) -> None:
    payload, numbers = RELAY[case]
    assert relay_numbers(payload) == numbers


@pytest.mark.parametrize("case", CARRIER)
def test_numbers_of_carriers(case: str) -> None:
    payload, numbers = CARRIER[case]
    assert carrier_numbers(TWILIO, payload) == numbers


def test_an_event_without_known_numbers_is_searched(engine: Engine) -> None:
    now = utcnow()
    stored = [
        Incoming("relay", "main", '{"known": "x"}', now, written_numbers(THEM)),
        Incoming("relay", "main", '{"other": "14155552000"}', now, written_numbers(US)),
        Incoming("relay", "main", '{"unknown": "14155552000"}', now + timedelta(seconds=1), None),
        Incoming("relay", "main", '{"unknown and other": "1"}', now, None),
        Incoming("relay", "main", '{"none": "14155552000"}', now, ""),
    ]
    with writing(engine) as connection:
        store_events(connection, stored)
    with reading(engine) as connection:
        rows = list(events_with_number(connection, THEM[1:], inbox_event.c.name == "main", columns=(inbox_event.c.id,)))
        assert [next(iter(orjson.loads(row.payload))) for row in rows] == ["unknown", "known"]
        assert not list(events_with_number(connection, THEM[1:], inbox_event.c.name == "other"))
        assert connection.scalars(select(inbox_event.c.numbers).where(inbox_event.c.id == rows[1].id)).all() == [
            THEM[1:]
        ]
