"""Relay events in every shape that was documented or seen: what they say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.inbox.payloads import without_secrets
from worker.inbox.relay_shapes import RelayReceipt, RelayText, UnreadableEvent, parse_relay

US, THEM = "+14155550100", "+12125550123"
FLAT = {
    "MessageID": "m1",
    "ConversationID": "c1",
    "ToNumber": US,
    "FromNumber": THEM,
    "MessageBody": "Hello",
    "MessageDirection": "in",
    "TextableUserID": "u1",
    "ContactName": "Ada",
    "ContactEmail": "ada@example.org",
    "Media": [],
}
IN = RelayText("in", "m1", "c1", US, THEM, "Hello", ())
OUT = RelayText("out", "m1", "c1", THEM, US, "Hello", ())
OUT_FLAT = FLAT | {"MessageDirection": "out", "ToNumber": THEM, "FromNumber": US}


def without(*names: str, of: dict[str, Any] = FLAT) -> dict[str, Any]:
    return {key: value for key, value in of.items() if key not in names}


TEXTS: list[tuple[str, Any, RelayText]] = [
    ("documented, in", FLAT, IN),
    ("documented, out", OUT_FLAT, OUT),
    ("without id", without("MessageID"), RelayText("in", "", "c1", US, THEM, "Hello", ())),
    ("id null", FLAT | {"MessageID": None}, RelayText("in", "", "c1", US, THEM, "Hello", ())),
    ("id a number", FLAT | {"MessageID": 17}, RelayText("in", "17", "c1", US, THEM, "Hello", ())),
    ("wrapped", {"eventType": "message.received", "timestamp": 1, "data": FLAT}, IN),
    ("wrapped, sent", {"eventType": "message.sent", "timestamp": 1, "data": OUT_FLAT}, OUT),
    ("wrapped twice", {"data": {"eventType": "x", "data": FLAT}}, IN),
    (
        "direction only in the envelope",
        {"eventType": "message.sent", "data": without("MessageDirection", of=OUT_FLAT)},
        OUT,
    ),
    ("a list of one", [FLAT], IN),
    ("JSON in a string", {"eventType": "message.received", "data": orjson.dumps(FLAT).decode()}, IN),
    ("inbound spelt out", FLAT | {"MessageDirection": "Inbound"}, IN),
    ("small keys", {key.lower(): value for key, value in FLAT.items()}, IN),
    (
        "snake keys",
        {
            "message_id": "m1",
            "conversation_id": "c1",
            "to_number": US,
            "from_number": THEM,
            "message_body": "Hello",
            "message_direction": "in",
        },
        IN,
    ),
    ("numbers without plus", FLAT | {"ToNumber": "14155550100", "FromNumber": "12125550123"}, IN),
    ("ten digits", FLAT | {"ToNumber": "4155550100", "FromNumber": "(212) 555-0123"}, IN),
    ("numbers as numbers", FLAT | {"ToNumber": 14155550100, "FromNumber": 12125550123}, IN),
    ("a short code", FLAT | {"FromNumber": "262966"}, RelayText("in", "m1", "c1", US, "262966", "Hello", ())),
    (
        "a picture without words",
        FLAT | {"MessageBody": None, "Media": ["https://a.example/1.png"]},
        RelayText("in", "m1", "c1", US, THEM, "", ("https://a.example/1.png",)),
    ),
    (
        "media as a string",
        without("Media") | {"MediaURL": "https://a.example/1.png"},
        RelayText("in", "m1", "c1", US, THEM, "Hello", ("https://a.example/1.png",)),
    ),
    (
        "several in a string",
        without("Media") | {"MediaUrls": "https://a.example/1.png, https://a.example/2.png"},
        RelayText("in", "m1", "c1", US, THEM, "Hello", ("https://a.example/1.png", "https://a.example/2.png")),
    ),
    (
        "media objects",
        FLAT | {"Media": [{"url": "https://a.example/1.png"}, {"no": "url"}, None]},
        RelayText("in", "m1", "c1", US, THEM, "Hello", ("https://a.example/1.png",)),
    ),
    ("NUL and half a pair", FLAT | {"MessageBody": "He\x00llo\ud83d"}, IN),
]


@pytest.mark.parametrize(("payload", "text"), [one[1:] for one in TEXTS], ids=[one[0] for one in TEXTS])
def test_texts(payload: Any, text: RelayText) -> None:
    assert parse_relay(payload) == [text]


@pytest.mark.parametrize(
    ("payload", "receipt"),
    [
        ({"MessageID": "m1", "MessageStatus": "delivered"}, RelayReceipt("m1", "delivered", "delivered")),
        ({"id": "m1", "status": "Failed"}, RelayReceipt("m1", "failed", "Failed")),
        ({"id": "m1", "status": "undelivered"}, RelayReceipt("m1", "failed", "undelivered")),
        ({"id": "m1", "status": "sent"}, RelayReceipt("m1", "taken", "sent")),
        ({"eventType": "message.delivered", "data": {"MessageID": "m1"}}, RelayReceipt("m1", "delivered", "delivered")),
        (
            {"eventType": "message.status", "data": {"MessageID": "m1", "status": "failed"}},
            RelayReceipt("m1", "failed", "failed"),
        ),
    ],
)
def test_receipts(payload: Any, receipt: RelayReceipt) -> None:
    assert parse_relay(payload) == [receipt]


def test_an_echo_that_carries_its_receipt() -> None:
    assert parse_relay(OUT_FLAT | {"status": "delivered"}) == [OUT, RelayReceipt("m1", "delivered", "delivered")]


@pytest.mark.parametrize(
    ("payload", "word"),
    [
        ("just words", "not a JSON object"),
        (None, "not a JSON object"),
        (7, "not a JSON object"),
        ([], "empty"),
        ({}, "neither text nor media"),
        (without("MessageDirection"), "MessageDirection"),
        (without("FromNumber"), "number is missing"),
        ({"status": "delivered"}, "without a message id"),
        ({"id": "m1", "status": "reticulating"}, "reticulating"),
    ],
)
def test_what_is_not_understood_says_why(payload: Any, word: str) -> None:
    (event,) = parse_relay(payload)
    assert isinstance(event, UnreadableEvent)
    assert word in event.reason


def test_secrets_are_taken_out_at_any_depth() -> None:
    payload = FLAT | {"AccessToken": "t", "data": [{"access_token": "t", "Authorization": "Bearer t", "ok": 1}]}
    cleaned = without_secrets(payload)
    assert cleaned == FLAT | {"data": [{"ok": 1}]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*FLAT, "data", "eventType", "status", "id", "x"]) | st.text(max_size=5), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(JSON)
def test_nothing_that_json_can_say_breaks_it(payload: Any) -> None:
    events = parse_relay(without_secrets(payload))
    assert events
    for event in events:
        orjson.dumps(event)  # all text can be stored
