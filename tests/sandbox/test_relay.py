"""The Relay's shapes, as a receiver sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Event, Thread
from typing import Any

import pytest

from tests.sandbox.conftest import CUSTOMER, NUMBER, ask, create, send
from worker.sandbox import Sandbox

PICTURE = "https://example.com/a.png"


class Receiver:
    """A webhook. ``status`` is what it answers, ``open`` whether it answers at all yet."""

    def __init__(self) -> None:
        self.events: Queue[dict[str, Any]] = Queue()
        self.status = 200
        self.open = Event()
        self.open.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.open.wait(10)
                receiver.events.put({"path": self.path, "type": self.headers["Content-Type"], **json.loads(body)})
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/relay?secret=1"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def next(self) -> dict[str, Any]:
        event = self.events.get(timeout=10)
        assert event.pop("path") == "/relay?secret=1"
        assert event.pop("type") == "application/json"
        return event


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.open.set()
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def relaying(receiver: Receiver) -> Iterator[Sandbox]:
    with Sandbox(relay_url=receiver.url) as running:
        running.behaviour.relay.gap_seconds = 0
        yield running


def test_flat_as_documented(relaying: Sandbox, receiver: Receiver) -> None:
    contact = create(relaying, fullName="Maria", email="m@example.com").json
    send(relaying, media=[PICTURE])

    assert receiver.next() == {
        "MessageID": relaying.messages()[0].id,
        "ConversationID": contact["id"],
        "ToNumber": CUSTOMER,
        "FromNumber": NUMBER,
        "MessageBody": "Your order is ready.",
        "MessageDirection": "out",
        "TextableUserID": "sandbox",
        "ContactName": "Maria",
        "ContactEmail": "m@example.com",
        "Media": [PICTURE],
    }


def test_a_customers_text(relaying: Sandbox, receiver: Receiver) -> None:
    relaying.inbound(CUSTOMER, "Thanks!")

    event = receiver.next()

    assert (event["MessageDirection"], event["FromNumber"], event["ToNumber"]) == ("in", CUSTOMER, NUMBER)
    assert (event["MessageBody"], event["ConversationID"], event["ContactName"]) == ("Thanks!", "", CUSTOMER)


def test_a_picture_without_caption_has_a_null_body(relaying: Sandbox, receiver: Receiver) -> None:
    send(relaying, message="", media=[PICTURE])

    assert receiver.next()["MessageBody"] is None


def test_wrapped(relaying: Sandbox, receiver: Receiver) -> None:
    relaying.behaviour.relay.shape = "wrapped"
    send(relaying)
    relaying.inbound(CUSTOMER, "Thanks!")

    received = [receiver.next(), receiver.next()]
    sent, answered = sorted(received, key=lambda event: str(event["eventType"]), reverse=True)

    assert sent.keys() == {"eventType", "timestamp", "data"}
    assert (sent["eventType"], answered["eventType"]) == ("message.sent", "message.received")
    assert sent["timestamp"] == round(relaying.messages()[0].at * 1000)
    assert (sent["data"]["MessageDirection"], sent["data"]["ToNumber"]) == ("out", CUSTOMER)


def test_both_shapes_of_one_text_the_second_without_id(relaying: Sandbox, receiver: Receiver) -> None:
    relaying.behaviour.relay.shape = "both"
    send(relaying)

    wrapped, flat = receiver.next(), receiver.next()

    assert wrapped["data"]["MessageID"] == relaying.messages()[0].id
    assert "MessageID" not in flat
    assert flat == {name: value for name, value in wrapped["data"].items() if name != "MessageID"}


@pytest.mark.parametrize("became", ["delivered", "failed"])
def test_a_receipt_is_a_status_and_nothing_else(relaying: Sandbox, receiver: Receiver, became: str) -> None:
    relaying.behaviour.switch({"relay": {"receipts": became}})
    send(relaying)
    send(relaying, sendStatus="sent")
    relaying.wait_for_relay()

    events = [receiver.next() for _ in range(3)]

    sent, recorded = relaying.messages()
    assert [event for event in events if "MessageBody" not in event] == [
        {"MessageID": sent.id, "MessageStatus": became}
    ]
    assert {event["MessageID"] for event in events} == {sent.id, recorded.id}
    assert receiver.events.empty()


@pytest.mark.parametrize(
    ("media_key", "value"), [("Media", [PICTURE]), ("MediaUrls", [PICTURE]), ("MediaURL", PICTURE)]
)
def test_the_media_key_varies(relaying: Sandbox, receiver: Receiver, media_key: str, value: object) -> None:
    relaying.behaviour.switch({"relay": {"media_key": media_key}})
    send(relaying, media=[PICTURE])

    event = receiver.next()

    assert event[media_key] == value
    assert len({"Media", "MediaUrls", "MediaURL"} & event.keys()) == 1


def test_the_token_may_be_announced(relaying: Sandbox, receiver: Receiver) -> None:
    relaying.behaviour.relay.access_token = True
    send(relaying)

    assert receiver.next()["AccessToken"] == "sandbox-token"


def test_recorded_texts_are_announced_unless_switched_off(relaying: Sandbox, receiver: Receiver) -> None:
    send(relaying, sendStatus="sent", message="one")
    assert receiver.next()["MessageBody"] == "one"

    relaying.behaviour.relay.recorded = False
    send(relaying, sendStatus="sent", message="two")
    send(relaying, message="three")
    assert receiver.next()["MessageBody"] == "three"


def test_a_registered_webhook(sandbox: Sandbox, receiver: Receiver) -> None:
    send(sandbox, message="before")
    ask(sandbox.api_url, "POST", "/api/users/sandbox/webhook", {"url": receiver.url})
    send(sandbox, message="after")

    assert receiver.next()["MessageBody"] == "after"
    assert sandbox.summary()["accounts"][0]["webhook"] == receiver.url.partition("/relay")[0]


def test_a_lost_answer_is_announced_all_the_same(relaying: Sandbox, receiver: Receiver) -> None:
    relaying.add_fault(action="drop", when="after")
    with pytest.raises(ConnectionError):
        send(relaying)

    assert receiver.next()["MessageID"] == relaying.injections()[0].message_id


def test_a_slow_receiver_holds_up_no_answer(relaying: Sandbox, receiver: Receiver) -> None:
    receiver.open.clear()
    assert [send(relaying).status for _ in range(20)] == [200] * 20
    assert relaying.summary()["relay"]["delivered"] == 0

    receiver.open.set()
    relaying.wait_for_relay()
    assert relaying.summary()["relay"] == {"delivered": 20, "failed": 0, "waiting": 0, "last_error": ""}


def test_a_failed_event_is_not_repeated(relaying: Sandbox, receiver: Receiver) -> None:
    receiver.status = 500
    send(relaying)
    relaying.wait_for_relay()

    assert receiver.events.qsize() == 1
    told = relaying.summary()["relay"]
    assert (told["delivered"], told["failed"], told["last_error"]) == (0, 1, "the webhook answered 500")


def test_a_webhook_that_is_not_there(sandbox: Sandbox) -> None:
    ask(sandbox.api_url, "POST", "/api/users/sandbox/webhook", {"url": "http://127.0.0.1:1/"})
    assert send(sandbox).status == 200
    sandbox.wait_for_relay()

    assert sandbox.summary()["relay"]["failed"] == 1
