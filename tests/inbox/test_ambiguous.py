"""Sends whose answers are lost, over real HTTP: an echo settles each, or a person must; none is sent twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr
from sqlalchemy import Engine, func, select

from tests.harness import until
from tests.inbox.conftest import Inbox
from tests.messages.conftest import AT_ANY_HOUR, number
from tests.messages.worker_process import settings
from worker.core.states import MessageState
from worker.messages.delivery import deliver_due
from worker.messages.recording import RecordingReport, record_due
from worker.runtime import Runtime
from worker.sandbox import Sandbox
from worker.store.db import reading
from worker.store.tables import inbox_event
from worker.web.app import create_app

SECRET = "a-secret-of-at-least-24-characters"
LOST: dict[str, dict[str, Any]] = {
    "dropped after it was carried out": {"action": "drop", "when": "after"},
    "reset after it was carried out": {"action": "drop", "when": "after", "reset": True},
    "too late": {"action": "delay", "delay_ms": 60_000, "when": "after"},
    "a gateway's 502": {"action": "answer", "status": 502, "when": "after"},
    "cut off half-way": {"action": "truncate"},
    "no answer of VirtualText's": {"action": "garbage"},
}


@contextmanager
def http_side(runtime: Runtime) -> Iterator[str]:
    """The real application on a port of its own; its URL."""
    server = uvicorn.Server(uvicorn.Config(create_app(runtime), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until("the HTTP side", lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.behaviour.relay.gap_seconds = 0.05
        yield running


@pytest.fixture
def wired(engine: Engine, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """A store whose sends go to the sandbox, whose Relay posts to our HTTP side."""
    monkeypatch.setattr("worker.web.app.wake", lambda *_: True)
    made = settings(engine.url.render_as_string(hide_password=False), sandbox.api_url, sandbox.create_url)
    account = made.accounts["main"].model_copy(update={"relay_secret": SecretStr(SECRET), "read_timeout": 0.5})
    runtime = Runtime(made.model_copy(update={"accounts": {"main": account}, "policy": AT_ANY_HOUR}), engine=engine)
    with http_side(runtime) as url:
        assert runtime.client("main").register_relay(f"{url}/relay/{SECRET}").done
        yield Inbox(runtime, None)  # type: ignore[arg-type]


def came(inbox: Inbox, count: int) -> Callable[[], bool]:
    """Whether so many events were stored."""

    def so_many() -> bool:
        with reading(inbox.engine) as connection:
            return int(connection.execute(select(func.count()).select_from(inbox_event)).scalar_one()) >= count

    return so_many


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_an_echo_settles_what_the_answer_did_not(wired: Inbox, sandbox: Sandbox, fault: dict[str, Any]) -> None:
    sandbox.add_fault(endpoint="send", **fault)
    sends = [wired.send(number(n), "Your order is ready.") for n in range(2)]
    deliver_due(wired.runtime)
    assert {wired.state(send) for send in sends} == {MessageState.UNKNOWN}
    until("the echoes", came(wired, 2))
    assert wired.process().done == 2
    wired.all_due()
    deliver_due(wired.runtime)
    assert {wired.state(send) for send in sends} == {MessageState.CONFIRMED}
    ids = {message.to: message.id for message in sandbox.messages("sent_by_platform")}
    assert [wired.row(send).virtualtext_message_id for send in sends] == [ids[number(n)] for n in range(2)]
    assert len(sandbox.messages("sent_by_platform")) == 2, "none is sent twice"


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_an_echo_settles_a_record_and_it_is_not_repeated(wired: Inbox, sandbox: Sandbox, fault: dict[str, Any]) -> None:
    wired.record("SM-reported", number(9), "the first report shows that reports come")
    record_due(wired.runtime)
    until("the first echo", came(wired, 1))
    wired.process()
    sandbox.add_fault(endpoint="record", **fault)
    records = [wired.record(f"SM{n}", number(n), "sent elsewhere") for n in range(2)]
    for _ in range(2):
        assert record_due(wired.runtime).requeued == 2
        wired.all_due()
    until("the echoes", came(wired, 3))
    assert wired.process().done == 2
    wired.all_due()
    assert record_due(wired.runtime) == RecordingReport()
    assert {wired.state(record) for record in records} == {MessageState.CONFIRMED}
    assert len(sandbox.messages("recorded")) == 3, "none stands there twice"


def test_two_shapes_of_an_echo_settle_one_of_two_same_texts(wired: Inbox, sandbox: Sandbox) -> None:
    sandbox.behaviour.relay.shape = "both"
    sandbox.behaviour.relay.access_token = True
    first = wired.send(number(0), "hello")
    sandbox.add_fault(endpoint="send", action="drop", when="after", calls=1)
    deliver_due(wired.runtime)
    sandbox.add_fault(endpoint="send", action="drop", when="before", calls=1)
    second = wired.send(number(0), "hello")  # this one never gets there
    deliver_due(wired.runtime)
    until("both shapes", came(wired, 2))
    wired.process()
    assert (wired.state(first), wired.state(second)) == (MessageState.CONFIRMED, MessageState.UNKNOWN)
    assert not any("sandbox-token" in event.payload for event in wired.events())


def test_without_an_echo_a_text_waits_for_a_person(wired: Inbox, sandbox: Sandbox) -> None:
    sandbox.add_fault(endpoint="send", action="drop", when="before")
    send = wired.send(number(0), "hello")
    for _ in range(3):
        deliver_due(wired.runtime)
        wired.all_due()
        wired.process()
    assert wired.state(send) is MessageState.UNKNOWN
    assert f"vtsync resolve {send}" in wired.row(send).reason
    assert (len(sandbox.requests("send")), sandbox.messages("sent_by_platform")) == (1, [])


def test_a_reply_over_the_wire(wired: Inbox, sandbox: Sandbox) -> None:
    sandbox.behaviour.relay.shape = "both"
    deliver_due(wired.runtime)
    sandbox.inbound(number(0), "STOP", to="+12025550100")
    until("both shapes", came(wired, 2))
    wired.process()
    (reply,) = wired.replies()
    assert (reply.from_number, reply.keyword) == (number(0), "stop")
    refused = wired.send(number(0), "after the STOP")
    deliver_due(wired.runtime)
    assert wired.state(refused) is MessageState.SUPPRESSED
    assert sandbox.requests("send") == []
