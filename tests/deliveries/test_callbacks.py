"""Events of a single text go to the URL that its caller named: signed, tried again, and never into our own network."""

from __future__ import annotations

import signal
import socket
import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from config.callbacks import Callbacks
from config.models import Settings
from tests.deliveries.conftest import SECRET, Outward, Receiver, on_sqlite
from tests.deliveries.test_crash import worker
from tests.inbox.conftest import THEM, echo
from tests.messages.conftest import number
from worker.deliveries.claims import DeliveryCounts
from worker.deliveries.fan_out import fan_out
from worker.deliveries.listing import find_deliveries, retry_deliveries
from worker.deliveries.outcome import SCHEDULE
from worker.messages.delivery import deliver_due
from worker.messages.opt_outs import add_opt_out
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import delivery, message


@pytest.fixture
def asked(outward: Outward, receiver: Receiver) -> Outward:
    """No subscriber: only callers hear."""
    allow(outward, receiver.url.removesuffix("/hook"))
    return outward


def allow(outward: Outward, *origins: str) -> None:
    outward.runtime.settings = outward.runtime.settings.model_copy(
        update={"subscribers": {}, "connections": {}, "callbacks": Callbacks(secret=SECRET, allow_private=origins)}
    )


def types(receiver: Receiver) -> list[str]:
    return [event["type"] for event in receiver.heard]


def test_a_caller_hears_what_becomes_of_its_text_with_its_metadata(asked: Outward, receiver: Receiver) -> None:
    url = f"{receiver.url}?order=17"
    sent = asked.send(THEM, "hello", callback_url=url, metadata={"order": 17, "paid": True})
    asked.send(number(1), "not asked for")
    deliver_due(asked.runtime)
    asked.goes()
    asked.comes(echo("hello"), {"MessageID": "out1", "status": "delivered"})
    asked.goes()
    assert types(receiver) == ["message.sent", "message.delivered"]
    assert {event["data"]["id"] for event in receiver.heard} == {sent}
    assert [event["data"]["metadata"] for event in receiver.heard] == [{"order": 17, "paid": True}] * 2
    assert {row.target for row in asked.forwards()} == {f"callback:{url.partition('/hook')[0]}"}


@on_sqlite
def test_a_caller_hears_that_its_text_was_not_sent(asked: Outward, receiver: Receiver) -> None:
    with writing(asked.engine) as connection:
        add_opt_out(connection, THEM, source="cli", detail="", now=utcnow())
    asked.send(THEM, callback_url=receiver.url)
    asked.goes()
    assert types(receiver) == ["message.suppressed"]


@on_sqlite
def test_a_receiver_that_is_away_is_tried_again_with_the_same_id_and_body_and_then_given_up(
    asked: Outward, receiver: Receiver
) -> None:
    receiver.answer = lambda _: (500, {})
    asked.send(THEM, callback_url=receiver.url)
    deliver_due(asked.runtime)
    for _ in range(len(SCHEDULE) + 1):
        asked.goes()
        asked.later_still()
    target = f"callback:{receiver.url.removesuffix('/hook')}"
    (given_up,) = find_deliveries(asked.runtime, state="failed", target="callback:*")
    assert (given_up.target, given_up.attempts) == (target, len(SCHEDULE) + 1)
    assert (len(set(receiver.ids)), [len(one) for one in receiver.bodies.values()]) == (1, [1])
    receiver.answer = lambda _: (204, {})
    assert retry_deliveries(asked.runtime, target=target) == 1
    assert asked.goes() == DeliveryCounts(done=1)


@on_sqlite
def test_a_url_that_is_no_longer_allowed_is_not_called(asked: Outward, receiver: Receiver) -> None:
    asked.send(THEM, callback_url=receiver.url)
    deliver_due(asked.runtime)
    allow(asked)
    assert asked.goes() == DeliveryCounts(failed=1)
    (row,) = asked.forwards()
    assert "is an address of this machine or of a private network" in row.last_error
    assert receiver.heard == []


@on_sqlite
@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"])
def test_a_public_name_that_leads_into_our_network_gets_nothing(
    asked: Outward, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    connected: list[Any] = []

    class Socket:
        def getpeername(self) -> tuple[str, int]:
            return address, 443

        def close(self) -> None:
            connected.append("closed")

        def sendall(self, _data: bytes) -> None:
            raise AssertionError("nothing may be sent")

    def connect(where: tuple[str, int], *_: Any, **__: Any) -> Socket:
        connected.append(where)
        return Socket()

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    asked.send(THEM, callback_url="https://rebound.example.com/texts")
    deliver_due(asked.runtime)
    assert asked.goes() == DeliveryCounts(retried=1)
    (row,) = asked.forwards()
    assert row.last_error == "its host name leads to an address of this machine or of a private network"
    assert connected == [("rebound.example.com", 443), "closed"]
    assert receiver.heard == []


@on_sqlite
def test_one_receiver_that_never_answers_keeps_no_other_from_hearing(asked: Outward, receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        away = f"http://127.0.0.1:{closed.getsockname()[1]}"
    allow(asked, away, receiver.url.removesuffix("/hook"))
    for index in range(5):
        asked.send(number(index), callback_url=f"{away}/{index}")
    asked.send(number(6), callback_url=receiver.url)
    deliver_due(asked.runtime)
    assert asked.goes().done == 1
    assert types(receiver) == ["message.sent"]


@on_sqlite
def test_any_number_of_receivers_is_served(asked: Outward, receiver: Receiver) -> None:
    port = receiver.url.removeprefix("http://127.0.0.1:").removesuffix("/hook")
    origins = [f"http://127.0.0.{host}:{port}" for host in range(1, 13)]
    allow(asked, *origins)
    with writing(asked.engine) as connection:
        for index, origin in enumerate(origins):
            row = {"event_id": f"e{index}", "target": f"callback:{origin}", "url": f"{receiver.url}/{index}"}
            row |= {
                "type": "message.sent",
                "payload": '{"type":"message.sent","data":{"id":"m"}}',
                "created_at": utcnow(),
            }
            connection.execute(delivery.insert(), row | {"due_at": utcnow() - timedelta(seconds=1)})
    assert asked.goes() == DeliveryCounts(done=len(origins))


@on_sqlite
def test_a_killed_worker_loses_no_callback(asked: Outward, receiver: Receiver) -> None:
    for index in range(20):
        asked.send(number(index), callback_url=receiver.url)
    deliver_due(asked.runtime)
    while fan_out(asked.runtime):
        pass
    middle, go_on = threading.Event(), threading.Event()

    def answer(_event: dict[str, Any]) -> tuple[int, dict[str, str]]:
        if len(receiver.heard) >= 5:
            middle.set()
            go_on.wait(30)  # heard, and not answered: the worker cannot know
        return 200, {}

    receiver.answer = answer
    with worker(str(asked.engine.url), str(asked.crm.url), receiver.url) as process:
        assert middle.wait(30)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    go_on.set()
    assert "sending" in {row.state for row in asked.forwards()}, "it was killed with deliveries in its hands"
    with writing(asked.engine) as connection:  # as if their lease had run out
        past = utcnow() - timedelta(seconds=1)
        connection.execute(update(delivery).where(delivery.c.state == "sending").values(lease_until=past))
    asked.goes()
    assert {row.state for row in asked.forwards()} == {"done"}
    assert len(set(receiver.ids)) == 20, "each is heard at least once, and known by its id"


@on_sqlite
def test_a_text_without_a_url_calls_nobody(asked: Outward, receiver: Receiver) -> None:
    asked.send(THEM)
    deliver_due(asked.runtime)
    asked.goes()
    assert (asked.forwards(), receiver.heard) == ([], [])
    assert asked.rows(message)[0].callback_url is None


def test_the_settings_of_a_callback(receiver: Receiver) -> None:
    callbacks = Settings().callbacks
    assert (
        callbacks.problem_of("https://shop.example.com/")
        == "cannot be used, because callbacks.secret is not configured"
    )
    allowed = Callbacks(secret=SECRET, allow_private=("http://shop:8000", "https://[::1]:443"))  # type: ignore[arg-type]
    assert allowed.allow_private == ("http://shop:8000", "https://[::1]")
    for url, fine in {
        "http://shop:8000/texts?a=b": True,
        "http://SHOP:8000/texts": True,
        "http://shop/texts": False,
        "https://shop:8000/texts": False,
        "https://[::1]/texts": True,
        "https://shop.example.com": True,
    }.items():
        assert (allowed.problem_of(url) is None) is fine, url
