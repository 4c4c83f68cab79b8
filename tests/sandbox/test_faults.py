"""Every way in which an answer can be wrong, late or missing, and that the record tells what really happened."""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any

import pytest
from pydantic import ValidationError

from tests.sandbox.conftest import CUSTOMER, Answered, ask, create, send, text, until
from worker.sandbox import Fault, Sandbox

OTHER = "+14155552672"


def send_to(sandbox: Sandbox, phone: str) -> Answered:
    return send(sandbox, to=phone)


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ({"status": 500}, 500, b"Internal server error"),
        ({"status": 400, "message": "User must be admin"}, 400, b'{"errors":["User must be admin"]}'),
        ({"status": 403}, 403, b'"message":"Forbidden"'),
        ({"status": 404, "message": "Contact not found"}, 404, b'"message":"Contact not found"'),
        ({"status": 429, "headers": {"Retry-After": "7"}}, 429, b"Too many requests"),
        ({"status": 502}, 502, b"<center><h1>502 Bad Gateway</h1></center>"),
        ({"status": 503, "body_kind": "html"}, 503, b"<h1>503 Service Temporarily Unavailable</h1>"),
        ({"status": 502, "body_kind": "envelope"}, 502, b"TXBDEV_API_ERROR_V1"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}, "body": ""}, 302, b""),
        ({"status": 200, "body": '{"status":"false"}'}, 200, b'{"status":"false"}'),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_given_answer(sandbox: Sandbox, fault: dict[str, Any], status: int, said: bytes, when: str) -> None:
    sandbox.add_fault(action="answer", when=when, **fault)

    answered = send(sandbox)

    assert answered.status == status
    assert said in answered.raw
    assert {k.lower(): v for k, v in fault.get("headers", {}).items()}.items() <= answered.headers.items()
    assert len(sandbox.messages()) == (1 if when == "after" else 0)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_answer(sandbox: Sandbox, when: str, reset: bool) -> None:
    sandbox.add_fault(action="drop", when=when, reset=reset)

    with pytest.raises((RemoteDisconnected, ConnectionResetError)) as caught:
        send(sandbox)

    # RemoteDisconnected is a ConnectionResetError too; it means the orderly end of the connection.
    assert isinstance(caught.value, RemoteDisconnected) is not reset
    assert len(sandbox.messages()) == (1 if when == "after" else 0)
    assert sandbox.counts() == {"send": {"dropped": 1}}


def test_half_an_answer(sandbox: Sandbox) -> None:
    sandbox.add_fault(action="truncate")

    with pytest.raises(IncompleteRead) as caught:
        create(sandbox)

    assert caught.value.partial.startswith(b'{"id"')
    assert len(sandbox.contacts()) == 1
    assert sandbox.counts() == {"create": {"truncated": 1}}


def test_an_answer_that_is_announced_as_larger_than_anybody_reads(sandbox: Sandbox) -> None:
    sandbox.add_fault(action="huge")

    host, port = sandbox.api_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /api/contacts HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(4096), b""))

    length = re.search(rb"Content-Length: ([0-9]+)", received)
    assert length is not None
    assert int(length[1]) > 1 << 39
    assert sandbox.counts() == {"list": {"huge": 1}}


@pytest.mark.parametrize(("body", "expected"), [(None, b"<!doctype html>"), ("nonsense", b"nonsense")])
def test_garbage_for_an_answer(sandbox: Sandbox, body: str | None, expected: bytes) -> None:
    sandbox.add_fault(action="garbage", body=body)

    answered = create(sandbox)

    assert (answered.status, answered.raw[: len(expected)]) == (200, expected)
    assert len(sandbox.contacts()) == 1


def test_an_answer_with_another_contact(sandbox: Sandbox) -> None:
    assert create(sandbox).json["id"] == sandbox.contacts()[0]["id"]
    sandbox.add_fault(action="other")
    assert create(sandbox).json["id"] == "0", "there is no other contact yet"
    (boris,) = sandbox.seed_contacts([("+14155550102", "Boris", "")])
    assert create(sandbox).json["id"] == boris
    assert len(sandbox.contacts()) == 2, "nothing was created"


def test_a_late_answer_is_the_right_one(sandbox: Sandbox) -> None:
    sandbox.add_fault(action="delay", delay_ms=30)

    assert send(sandbox).json == {"status": "true"}
    assert sandbox.injections()[0].action == "delay"


def test_an_answer_that_comes_too_late_was_written(sandbox: Sandbox) -> None:
    sandbox.add_fault(action="delay", delay_ms=60_000, when="after")

    with pytest.raises(TimeoutError):
        ask(sandbox.api_url, "POST", "/api/send", text(), timeout=0.1)

    until(sandbox.injections)
    assert len(sandbox.messages()) == 1
    assert sandbox.injections()[0].message_id == sandbox.messages()[0].id


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"calls": 2}, [500, 500, 200, 200]),
        ({"skip": 1, "calls": 2}, [200, 500, 500, 200]),
        ({"skip": 3}, [200, 200, 200, 500]),
        ({"probability": 0}, [200, 200, 200, 200]),
    ],
)
def test_which_calls_are_hit(sandbox: Sandbox, given: dict[str, Any], expected: list[int]) -> None:
    sandbox.add_fault(action="answer", **given)

    assert [send(sandbox).status for _ in expected] == expected


def test_a_rate_limit_hits_what_is_above_it(sandbox: Sandbox) -> None:
    sandbox.add_fault(action="answer", status=429, above=3)
    assert [send(sandbox).status for _ in range(5)].count(429) == 2


@pytest.mark.parametrize("endpoint", ["send", "record", "create", "update", "get", "list", "webhook", "health"])
def test_which_endpoint_is_hit(sandbox: Sandbox, endpoint: str) -> None:
    contact_id = create(sandbox).json["id"]
    sandbox.add_fault(endpoint=endpoint, action="answer", status=507)
    path = f"/api/contacts/{contact_id}"

    statuses = {
        "send": send(sandbox).status,
        "record": send(sandbox, sendStatus="sent").status,
        "create": create(sandbox).status,
        "update": ask(sandbox.api_url, "POST", path, {"phoneNumber": CUSTOMER}).status,
        "get": ask(sandbox.api_url, "GET", path).status,
        "list": ask(sandbox.api_url, "GET", "/api/contacts").status,
        "webhook": ask(sandbox.api_url, "POST", "/api/users/sandbox/webhook", {"url": "http://x"}).status,
        "health": ask(sandbox.api_url, "GET", "/health").status,
    }

    assert statuses == {name: 507 if name == endpoint else 200 for name in statuses}


def test_which_customer_is_hit(sandbox: Sandbox) -> None:
    contact_id = create(sandbox, OTHER).json["id"]
    sandbox.add_fault(phone=OTHER, action="answer")

    assert send(sandbox).status == 200
    assert send(sandbox, to=OTHER).status == 500
    assert create(sandbox).status == 200
    assert create(sandbox, OTHER).status == 500
    assert ask(sandbox.api_url, "GET", f"/api/contacts/{contact_id}").status == 500
    assert ask(sandbox.api_url, "GET", "/api/contacts").status == 200


def test_the_first_fault_that_matches_wins_and_can_be_ended(sandbox: Sandbox) -> None:
    first = sandbox.add_fault(action="answer", status=501)
    sandbox.add_fault(Fault(action="answer", status=503))
    assert send(sandbox).status == 501

    assert sandbox.remove_faults(first) == 1
    assert send(sandbox).status == 503

    assert sandbox.remove_faults() == 1
    assert send(sandbox).status == 200


def test_chance_depends_on_the_seed_and_not_on_the_order() -> None:
    def hit(seed: int, threads: int) -> set[str]:
        with Sandbox(seed=seed) as sandbox, ThreadPoolExecutor(threads) as pool:
            sandbox.add_fault(action="answer", probability=0.5)
            phones = [f"+1415555{2000 + n}" for n in range(40)]
            statuses = pool.map(lambda phone: create(sandbox, phone).status, phones)
            return {phone for phone, status in zip(phones, statuses, strict=True) if status == 500}

    once = hit(7, threads=1)
    assert 8 < len(once) < 32
    assert hit(7, threads=8) == once
    assert hit(8, threads=1) != once


def test_the_record_tells_written_from_lost(sandbox: Sandbox) -> None:
    sandbox.add_fault(action="drop", when="before", phone=CUSTOMER, calls=1)
    sandbox.add_fault(action="drop", when="after", phone=OTHER)
    for call, phone in ((send_to, CUSTOMER), (send_to, OTHER), (create, OTHER)):
        with pytest.raises((HTTPException, ConnectionError)):
            call(sandbox, phone)

    lost, text_written, contact_written = sandbox.injections()

    assert (lost.endpoint, lost.phone, lost.written, lost.message_id) == ("send", CUSTOMER, False, "")
    assert (text_written.written, text_written.message_id) == (True, sandbox.messages()[0].id)
    assert (contact_written.written, contact_written.contact_id) == (True, sandbox.contacts()[0]["id"])
    assert sandbox.summary()["faults"] == {"in_force": 2, "injected": 3, "written_but_not_told": 2}


def test_a_refused_request_was_not_written(sandbox: Sandbox) -> None:
    sandbox.add_fault(action="drop", when="after")
    with pytest.raises((HTTPException, ConnectionError)):
        send(sandbox, to="nobody")

    assert [injection.written for injection in sandbox.injections()] == [False]


def test_after_a_drop_the_same_connection_pool_works_on(sandbox: Sandbox) -> None:
    sandbox.add_fault(action="drop", when="before", reset=True, calls=1)
    with pytest.raises(ConnectionError):
        send(sandbox)

    assert send(sandbox).status == 200


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"action": "explode"},
        {"action": "answer", "probability": 2},
        {"action": "answer", "calls": 0},
        {"action": "answer", "endpoint": "delete"},
        {"action": "truncate", "when": "before"},
        {"action": "huge", "when": "before"},
        {"action": "answer", "colour": "red"},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(sandbox: Sandbox, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        sandbox.add_fault(**given)

    answered = ask(sandbox.api_url, "POST", "/sandbox/faults", given)
    assert answered.status == 400
    assert answered.json["error"]


def test_faults_over_http(sandbox: Sandbox) -> None:
    def faults(method: str, path: str = "", body: object = None) -> Any:
        return ask(sandbox.api_url, method, f"/sandbox/faults{path}", body).json

    assert faults("POST", body={"action": "answer", "status": 503, "endpoint": "send"}) == {"id": 1}
    assert faults("POST", body={"action": "drop", "endpoint": "list"}) == {"id": 2}
    assert send(sandbox).status == 503

    shown = faults("GET")["faults"]
    assert [(f["id"], f["action"], f["matched"], f["hits"]) for f in shown] == [(1, "answer", 1, 1), (2, "drop", 0, 0)]
    [injection] = ask(sandbox.api_url, "GET", "/sandbox/injections").json["injections"]
    assert (injection["fault"], injection["endpoint"], injection["written"]) == (1, "send", False)

    assert faults("DELETE", "/2") == {"removed": 1}
    assert faults("DELETE", "/2") == {"error": "There is no fault with this id."}
    assert faults("DELETE") == {"removed": 1}
    assert send(sandbox).status == 200


def test_a_request_that_stays_half_hurts_nobody(sandbox: Sandbox) -> None:
    host, port = sandbox.api_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as half:
        half.sendall(b"POST /api/send HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        assert send(sandbox).status == 200
