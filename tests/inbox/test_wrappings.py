"""Events that other senders have wrapped: each is understood, and no credential in it is kept."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import reduce
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inbox.conftest import THEM, US, inbound
from worker.inbox.payloads import NOT_STORED, read_payload, without_secrets
from worker.inbox.relay_shapes import RelayText, UnreadableEvent, parse_relay
from worker.inbox.wrappings import opened

CANARY = "canary-5f3c9a1d7e"
STOP = RelayText("in", "in1", "", US, THEM, "STOP", ())
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def text(payload: Any) -> str:
    return orjson.dumps(payload).decode()


# Where senders put a credential.
CREDENTIALS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "none": lambda event: event,
    "AccessToken": lambda event: event | {"AccessToken": CANARY},
    "first of all": lambda event: {"access_token": CANARY} | event,
    "with its user": lambda event: event | {"TextableAccessToken": f"u1:{CANARY}"},
    "Bearer": lambda event: event | {"Authorization": f"Bearer {CANARY}"},
    "in an object": lambda event: event | {"auth": {"apiKey": CANARY, "accessToken": {"value": CANARY}}},
    "in a list": lambda event: event | {"credentials": [CANARY]},
    "as name and value": lambda event: event | {"headers": [{"name": "Authorization", "value": f"Bearer {CANARY}"}]},
    "as a pair": lambda event: event | {"headers": [["X-Api-Key", CANARY], ["Host", "example.org"]]},
    "as header lines": lambda event: event | {"headers": f"Authorization: Bearer {CANARY}\r\nHost: example.org"},
    "again in a URL": lambda event: event | {"AccessToken": CANARY, "link": f"https://a.example/?t={CANARY}"},
    "in XML beside it": lambda event: event | {"raw": f"<AccessToken>{CANARY}</AccessToken>"},
    "in JSON that is cut off": lambda event: event | {"raw": f'{{"AccessToken": "{CANARY}", "Messa'},
    "in a form beside it": lambda event: event | {"raw": f"AccessToken={CANARY}&a=1"},
}

# One more wrapping around an event that may be wrapped already.
WRAPPINGS: dict[str, Callable[[Any], Any]] = {
    "a list of one": lambda inner: [inner],
    "data": lambda inner: {"eventType": "message.received", "timestamp": 1, "data": inner},
    "data in a string": lambda inner: {"eventType": "message.received", "data": text(inner)},
    "payload": lambda inner: {"payload": inner},
    "body of a gateway": lambda inner: {
        "body": text(inner),
        "headers": {"x-access-token": CANARY},
        "isBase64Encoded": False,
    },
    "Message of a topic": lambda inner: {"Type": "Notification", "MessageId": "n1", "Message": text(inner)},
    "message of a push": lambda inner: {
        "message": {"data": base64.b64encode(orjson.dumps(inner)).decode()},
        "subscription": "s",
    },
    "records": lambda inner: {"Records": [inner]},
    "a field of another name": lambda inner: {"webhook": inner},
    "JSON in a string": text,
    "a form in a string": lambda inner: urlencode({"payload": text(inner)}),
    "base64": lambda inner: base64.urlsafe_b64encode(orjson.dumps(inner)).decode(),
    "percent signs": lambda inner: quote(text(inner)),
}

# How the body travels.
BODIES: dict[str, Callable[[Any], tuple[bytes, str]]] = {
    "JSON": lambda payload: (orjson.dumps(payload), "application/json"),
    "JSON with a wrong type": lambda payload: (orjson.dumps(payload), FORM),
    "JSON with a byte order mark": lambda payload: (b"\xef\xbb\xbf" + orjson.dumps(payload), "text/plain"),
    "the text itself": lambda payload: (payload.encode() if isinstance(payload, str) else orjson.dumps(payload), ""),
    "payload= in a form": lambda payload: (urlencode({"payload": text(payload), "token": CANARY}).encode(), FORM),
    "a form without a type": lambda payload: (urlencode({"payload": text(payload)}).encode(), ""),
    "a form with JSON as its name": lambda payload: (urlencode({text(payload): ""}).encode(), FORM),
    "a multipart form": lambda payload: (
        b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n' + orjson.dumps(payload)
        + f'\r\n--b\r\nContent-Disposition: form-data; name="AccessToken"\r\n\r\n{CANARY}\r\n--b--\r\n'.encode(),
        MULTIPART,
    ),
}  # fmt: skip


def assert_understood_and_clean(body: bytes, content_type: str) -> None:
    kept = orjson.dumps(read_payload(body, content_type))
    assert parse_relay(orjson.loads(kept)) == [STOP]
    assert_clean(orjson.loads(kept))


def assert_clean(payload: Any) -> None:
    """The credential is nowhere, also not in what can be opened."""
    if isinstance(payload, dict):
        payload = [*payload.items()]
    if isinstance(payload, list | tuple):
        for one in payload:
            assert_clean(one)
    elif isinstance(payload, str):
        assert CANARY not in payload
        assert_clean(opened(payload))


@pytest.mark.parametrize("wrapping", ["", *WRAPPINGS])
@pytest.mark.parametrize("body", BODIES)
def test_each_wrapping(wrapping: str, body: str) -> None:
    for credential in CREDENTIALS.values():
        event = credential(inbound("STOP"))
        payload = WRAPPINGS[wrapping](event) if wrapping else event
        assert_understood_and_clean(*BODIES[body](payload))


@settings(max_examples=400)
@given(
    credential=st.sampled_from([*CREDENTIALS]),
    wrappings=st.lists(st.sampled_from([*WRAPPINGS]), max_size=5),
    body=st.sampled_from([*BODIES]),
)
def test_wrappings_in_wrappings(credential: str, wrappings: list[str], body: str) -> None:
    event = CREDENTIALS[credential](inbound("STOP"))
    payload = reduce(lambda inner, name: WRAPPINGS[name](inner), wrappings, event)
    assert_understood_and_clean(*BODIES[body](payload))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (f"<event><AccessToken>{CANARY}</AccessToken><MessageBody>STOP</MessageBody></event>".encode(), "text/xml"),
        (f"{{'AccessToken': u'{CANARY}', 'MessageBody': 'STOP'}}".encode(), "application/json"),
        (f'{{"MessageBody": "STOP", "Authorization": "Bearer {CANARY}", "Mess'.encode(), "application/json"),
        (f"AccessToken: {CANARY}\nMessageBody: STOP".encode(), "text/yaml"),
        (orjson.dumps({"data": f"{{'token': '{CANARY}'}}"}), "application/json"),
        (orjson.dumps({"message": f"<token>{CANARY}</token>"}), "application/json"),
        (orjson.dumps([f'{{"token": "{CANARY}"']), "application/json"),
    ],
)
def test_what_cannot_be_read_is_reported_and_its_credential_is_not_stored(body: bytes, content_type: str) -> None:
    payload = read_payload(body, content_type)
    assert_clean(payload)
    assert NOT_STORED in text(payload)
    assert "SHA-256" in text(payload)
    (event,) = parse_relay(payload)
    assert isinstance(event, UnreadableEvent)


def test_a_whole_body_that_is_not_stored_says_what_to_do() -> None:
    (event,) = parse_relay(read_payload(f"<token>{CANARY}</token>".encode(), ""))
    assert isinstance(event, UnreadableEvent)
    assert "look at the conversation" in event.reason


def test_our_own_credential_is_removed_wherever_it_is() -> None:
    body = orjson.dumps(inbound("STOP") | {"x": f"a {CANARY} b", "y": [f"{CANARY}"], CANARY: 1})
    payload = read_payload(body, "", [CANARY])
    assert_clean(payload)
    assert parse_relay(payload) == [STOP]
    assert read_payload(f"no JSON, {CANARY}".encode(), "", [CANARY]) == "no JSON, [removed]"


@pytest.mark.parametrize(
    "written",
    [
        "The password: is swordfish",
        "Token accepted? secret: no",
        '{"a": 1}',
        "[sale] today",
        '"quoted" text',
        "a=1&b=2",
        "<3 you",
        "%7B",
        "eyes",
        "my secret is safe, STOP",
    ],
)
def test_what_people_write_is_not_changed(written: str) -> None:
    event = inbound(written) | {"AccessToken": "a"}
    (read,) = parse_relay(read_payload(orjson.dumps({"data": text(event)}), "application/json"))
    assert isinstance(read, RelayText)
    assert read.text == written


def test_the_value_of_a_credential_does_not_change_numbers_and_short_texts() -> None:
    event = inbound("STOP") | {"token": "STOP", "secret": US, "password": "in1"}
    assert parse_relay(without_secrets(event)) == [STOP]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings_without_end_end(wrapping: str) -> None:
    payload: Any = inbound("STOP") | {"AccessToken": CANARY}
    for _ in range(60):
        payload = WRAPPINGS[wrapping](payload)
        if len(text(payload)) > 250_000:
            break
    kept = read_payload(orjson.dumps(payload), "application/json")
    orjson.dumps(kept)
    assert CANARY not in text(kept)
    assert len(parse_relay(kept)) == 1


def test_a_receipt_in_an_envelope_of_another_name() -> None:
    from worker.inbox.relay_shapes import RelayReceipt

    receipt = {"MessageID": "m1", "MessageStatus": "delivered", "meta": {"a": 1}}
    assert parse_relay({"notification": text(receipt)}) == [RelayReceipt("m1", "delivered", "delivered")]
    assert parse_relay(receipt) == [RelayReceipt("m1", "delivered", "delivered")]
