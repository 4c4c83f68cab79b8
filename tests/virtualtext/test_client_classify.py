"""Which end an answer or an error is, as tables. Pure."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPConnectionPool
from urllib3._collections import HTTPHeaderDict
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    EmptyPoolError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from worker.core.http import HttpResponse, NoResponse, ResponseTooLarge
from worker.virtualtext import wire
from worker.virtualtext.classify import MAX_DETAIL, classify, clean, retry_after_seconds
from worker.virtualtext.outcomes import Cause, Receipt, RemoteContact, Status

HTML = b"<html><body>502 Bad Gateway</body></html>"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def answer(status: int, body: bytes = b"", trouble: Exception | None = None, **headers: str) -> HttpResponse:
    named = HTTPHeaderDict({name.replace("_", "-"): value for name, value in headers.items()})
    return HttpResponse(status, named, body, trouble)


@pytest.mark.parametrize(
    ("status", "body", "end", "cause"),
    [
        (101, b"", Status.UNKNOWN, Cause.UNREADABLE),
        (301, b"", Status.NOT_DONE, Cause.REDIRECTED),
        (304, b"", Status.NOT_DONE, Cause.REDIRECTED),
        (308, HTML, Status.NOT_DONE, Cause.REDIRECTED),
        (400, b'{"errors":["Missing parameter \'to\'"]}', Status.NOT_DONE, Cause.REJECTED),
        (400, b'{"errors":["User must be admin"]}', Status.NOT_DONE, Cause.CREDENTIALS),
        (400, b'{"message":"Forbidden","reason":"Must be Admin"}', Status.NOT_DONE, Cause.CREDENTIALS),
        (401, b'{"message":"Invalid API Credentials"}', Status.NOT_DONE, Cause.CREDENTIALS),
        (403, b"", Status.NOT_DONE, Cause.CREDENTIALS),
        (404, HTML, Status.NOT_DONE, Cause.REJECTED),
        (407, b"", Status.NOT_DONE, Cause.UNREACHABLE),
        (408, b'{"message":"Request timeout"}', Status.UNKNOWN, Cause.TIMEOUT),
        (413, b"", Status.NOT_DONE, Cause.REJECTED),
        (415, b"", Status.NOT_DONE, Cause.REJECTED),
        (422, b"", Status.NOT_DONE, Cause.REJECTED),
        (429, b"", Status.NOT_DONE, Cause.RATE_LIMITED),
        (451, b"", Status.NOT_DONE, Cause.OPTED_OUT),
        (500, b'{"message":"Oops"}', Status.UNKNOWN, Cause.SERVER_ERROR),
        (502, HTML, Status.UNKNOWN, Cause.GATEWAY),
        (502, b"", Status.UNKNOWN, Cause.SERVER_ERROR),
        (503, HTML, Status.UNKNOWN, Cause.GATEWAY),
        (504, b"upstream", Status.UNKNOWN, Cause.SERVER_ERROR),
        (799, b"", Status.UNKNOWN, Cause.UNREADABLE),
    ],
)
def test_what_a_status_means(status: int, body: bytes, end: Status, cause: Cause) -> None:
    outcome = classify(answer(status, body), wire.read_receipt)
    assert (outcome.status, outcome.cause, outcome.http_status) == (end, cause, status)
    assert outcome.detail


@pytest.mark.parametrize(
    ("body", "detail", "reference_code"),
    [
        (b'{"errors":["Missing parameter \'to\'","Bad \'from\'"]}', "Missing parameter 'to'; Bad 'from'", ""),
        (b'{"errors":[{"message":"No such user"},7]}', "No such user", ""),
        (
            b'{"_errType":"TXBDEV_API_ERROR_V1","message":"Invalid","userFriendlyMessage":"Sorry",'
            b'"reason":"no such user","referenceCode":"r-1"}',
            "Invalid: no such user",
            "r-1",
        ),
        (b'{"userFriendlyMessage":"Sorry","referenceCode":5}', "Sorry", ""),
        (b"plain\r\n  words\x00 here", "plain words here", ""),
        (HTML, "HTTP 400 Bad Request, an HTML page", ""),
        (b"[1]", "HTTP 400 Bad Request", ""),
        (b"", "HTTP 400 Bad Request", ""),
    ],
)
def test_the_words_of_an_error(body: bytes, detail: str, reference_code: str) -> None:
    outcome = classify(answer(400, body), wire.read_receipt)
    assert (outcome.detail, outcome.reference_code) == (detail, reference_code)


def test_a_redirect_names_where_it_leads() -> None:
    assert "https://elsewhere" in classify(answer(302, Location="https://elsewhere"), wire.read_receipt).detail


def test_retry_after_is_kept_for_an_unknown_end_too() -> None:
    for status in (429, 503):
        assert classify(answer(status, Retry_After="7"), wire.read_receipt).retry_after == 7.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("9" * 400, 86_400.0),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2026 12:01:00 -0000", 60.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2099 11:00:00 GMT", 86_400.0),
        ("Sun, 99 Mar 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_breaks_the_reading(value: str) -> None:
    seconds = retry_after_seconds(value, NOW)
    assert seconds is None or 0 <= seconds <= 86_400


_CONNECTION = HTTPConnection("api.example")
_POOL = HTTPConnectionPool("api.example")
_REFUSED = NewConnectionError(_CONNECTION, "refused")
_REFUSED.__cause__ = ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NameResolutionError("x.invalid", _CONNECTION, socket.gaierror(-2, "unknown")), "could not be resolved"),
        (_REFUSED, "Connection refused"),
        (ConnectTimeoutError(_CONNECTION, "timed out"), "in time"),
        (ReadTimeoutError(_POOL, "/", "the TLS handshake timed out"), "in time"),
        (SSLError(ssl.SSLError(1, "certificate verify failed")), "certificate verify failed"),
        (ProxyError("Cannot connect to proxy.", OSError("Tunnel connection failed: 403 Forbidden")), "HTTP 403"),
        (ProtocolError("aborted", ConnectionResetError(104, "Connection reset by peer")), "Connection reset"),
        (EmptyPoolError(_POOL, "full"), "became free"),
        (ValueError("anything else"), "ValueError"),
    ],
)
def test_an_error_before_the_request_left_is_not_done(error: Exception, words: str) -> None:
    outcome = classify(NoResponse(error, request_left=False), wire.read_receipt)
    assert (outcome.status, outcome.cause, outcome.http_status) == (Status.NOT_DONE, Cause.UNREACHABLE, None)
    assert words in outcome.detail


_LOST: list[tuple[Exception, Cause]] = [
    (ReadTimeoutError(_POOL, "/", "timed out"), Cause.TIMEOUT),
    (ProtocolError("Connection aborted.", TimeoutError("writing timed out")), Cause.TIMEOUT),
    (ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")), Cause.CONNECTION_LOST),
    (ProtocolError("Connection aborted.", RemoteDisconnected("closed")), Cause.CONNECTION_LOST),
    (ProtocolError("Connection broken", IncompleteRead(b"")), Cause.CONNECTION_LOST),
    (ProtocolError("Connection aborted.", BadStatusLine("garbage")), Cause.UNREADABLE),
    (SSLError(ssl.SSLError(1, "bad record mac")), Cause.CONNECTION_LOST),
    (NewConnectionError(_CONNECTION, "whatever urllib3 calls it, the request had left"), Cause.CONNECTION_LOST),
    (ResponseTooLarge("too long"), Cause.UNREADABLE),
]


@pytest.mark.parametrize(("error", "cause"), _LOST)
def test_an_error_after_the_request_left_is_unknown(error: Exception, cause: Cause) -> None:
    for lost in (NoResponse(error, request_left=True), answer(200, b"", error)):
        outcome = classify(lost, wire.read_receipt)
        assert (outcome.status, outcome.cause) == (Status.UNKNOWN, cause)
        assert outcome.detail


@pytest.mark.parametrize(
    ("reader", "body", "value"),
    [
        (wire.read_receipt, b'{"status":"true"}', Receipt()),
        (wire.read_receipt, b'{"status":true,"messageId":"m1"}', Receipt("m1")),
        (wire.read_receipt, b'{"status":"true","MessageID":"","id":7}', Receipt("7")),
        (wire.read_receipt, b'{"status":"false"}', None),
        (wire.read_receipt, b'{"status":1}', None),
        (wire.read_receipt, b'{"id":"m1"}', None),
        (wire.read_receipt, b'["true"]', None),
        (wire.read_receipt, b"true", None),
        (wire.read_receipt, b"", None),
        (wire.read_contact, b'{"id":12,"fullName":null}', RemoteContact("12", "")),
        (wire.read_contact, b'{"phoneNumber":"+14155552671"}', None),
        (wire.contact_reader("c9"), b'{"phoneNumber":"+14155552671"}', RemoteContact("c9", "+14155552671")),
        (wire.contact_reader("c9"), b"{}", None),
        (wire.contact_reader("c9"), b'{"errors":["no"]}', None),
        (
            wire.read_contacts,
            b'{"contacts":[{"id":"a","phoneNumber":"+1","x":1},{"id":"b"},{"phoneNumber":"+2"},3,null]}',
            [RemoteContact("a", "+1")],
        ),
        (wire.read_contacts, b"[]", None),
        (wire.read_health, b'{"status":"warn"}', "warn"),
        (wire.read_health, b'{"status":"true"}', None),
    ],
)
def test_what_a_success_must_say(reader: Any, body: bytes, value: object) -> None:
    outcome = classify(answer(200, body), reader)
    if value is None:
        assert (outcome.status, outcome.cause) == (Status.UNKNOWN, Cause.UNREADABLE)
        assert outcome.detail
    else:
        assert (outcome.status, outcome.value) == (Status.DONE, value)


@pytest.mark.parametrize(("body", "done"), [(b"", True), (b"OK", True), (b"{}", True), (b'{"errors":["no"]}', False)])
def test_a_relay_is_registered_unless_the_answer_is_an_error(body: bytes, done: bool) -> None:
    assert classify(answer(200, body), wire.read_nothing).done is done


@given(st.text(max_size=600), st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=20))
def test_details_hold_no_secret_and_stay_short(words: str, token: str) -> None:
    said = f"{words[:300]} uid:{token} {token}{words[300:]}"
    bodies = [orjson.dumps({"errors": [said]}), orjson.dumps({"message": said, "referenceCode": said}), said.encode()]
    for status in (200, 400, 500):
        for body in bodies:
            outcome = classify(answer(status, body), wire.read_receipt, (f"uid:{token}", token))
            assert token not in outcome.detail + outcome.reference_code
            assert len(outcome.detail) <= MAX_DETAIL
            assert "\n" not in outcome.detail


def test_the_longest_secret_is_struck_out_first() -> None:
    assert clean("Bearer uid:token", ("token", "uid:token")) == "Bearer [hidden]"
