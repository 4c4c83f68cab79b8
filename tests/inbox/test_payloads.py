"""Bodies of webhooks: read in whichever form they come, kept without credentials."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.inbox.payloads import MAX_TEXT, read_payload, without_secrets
from worker.inbox.relay_shapes import parse_relay

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind", "read"),
    [
        (b'{"a": 1}', "text/plain", {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', "", {"a": 1}),
        (b'{"a": "half \\ud83d"}', "", {"a": "half ?"}),
        (b'{"a": "\xff"}', "", {"a": "\ufffd"}),
        (b'{"a": NaN, "b": 1}', "", {"a": None, "b": 1}),
        (b'{"a": "line\nbreak"}', "", {"a": "line\nbreak"}),
        (b"{'a': 1}", "", "{'a': 1}"),
        (b"a=1&b=%2B2&c=", FORM, {"a": "1", "b": "+2", "c": ""}),
        (b"just words", FORM, {"just words": ""}),
        (b"data[MessageBody]=Hi&data[AccessToken]=hush&x[=1", FORM, {"data": {"MessageBody": "Hi"}, "x[": "1"}),
        (b"just words", "", "just words"),
        (b"", "", ""),
        (b"x" * 50_000, "", "x" * MAX_TEXT),
    ],
)
def test_bodies(body: bytes, kind: str, read: Any) -> None:
    assert read_payload(body, kind) == read


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"AccessToken": "hush"}', ""),
        (b'{"accountAccessToken": "hush", "x": {"Authorization": "Bearer hush"}}', ""),
        (b'[[{"client-secret": ["hush"]}]]', ""),
        (b'{"data": "{\\"AccessToken\\": \\"hush\\"}"}', ""),
        (b'{"MessageBody": "cut off", "AccessToken": "hush", "Mess', ""),
        (b'{"AccessToken": "hu sh', ""),
        (b"{'AccessToken': 'hush'}", ""),
        (b"AccessToken=hush&a=1", FORM),
        (b"AccessToken=hush&a=1", ""),
        (b"access_token: hush", ""),
        (b'{"password": "hush", bad}', ""),
        (
            b'--b\r\nContent-Disposition: form-data; name="AccessToken"\r\n\r\nhush\r\n--b--',
            "multipart/form-data; boundary=b",
        ),
    ],
)
def test_no_credential_is_kept(body: bytes, kind: str) -> None:
    kept = orjson.dumps(read_payload(body, kind))
    assert b"hu" not in kept
    assert b"sh" not in kept


def test_what_people_write_stays_as_it_is() -> None:
    payload = {"MessageBody": "The password: is swordfish", "MessageID": "token-1"}
    assert without_secrets(payload) == payload


def test_nesting_without_end_ends() -> None:
    form = "x"
    for _ in range(200):
        form = f"{quote(form)}="
    nested = [b'{"data":' * levels + b"1" + b"}" * levels for levels in (900, 5000)]
    for body in (*nested, form.encode(), b"[" * 100_000, b'"\\' * 50_000, b'{"' * 50_000, b"a=" * 50_000):
        for kind in ("", FORM, "multipart/form-data; boundary=a"):
            payload = read_payload(body, kind)
            orjson.dumps(payload)
            assert len(parse_relay(payload)) == 1


@settings(max_examples=150)
@given(
    st.binary(max_size=200) | st.text(max_size=100).map(str.encode),
    st.sampled_from(["", FORM, "application/json", "multipart/form-data; boundary=b", "multipart/mixed"]),
)
def test_any_body_can_be_stored_and_read(body: bytes, kind: str) -> None:
    assert parse_relay(orjson.loads(orjson.dumps(read_payload(body, kind))))
