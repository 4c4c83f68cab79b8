"""Receivers that are slow, away or hostile cost only themselves; records keep their order; old news does not win."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from config.integrations import Subscriber
from tests.deliveries.conftest import SECRET, Outward, Receiver, on_sqlite
from tests.inbox.conftest import THEM, inbound
from worker.deliveries import fan_out, run, webhooks
from worker.deliveries.claims import DeliveryCounts, claim_deliveries, finish_deliveries
from worker.deliveries.listing import find_deliveries, retry_deliveries
from worker.deliveries.outcome import Delivered, RetryLater
from worker.deliveries.targets import Receiver as To
from worker.messages.opt_outs import add_opt_out, remove_opt_out
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import delivery


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request and then does as told with the socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.recv(65536)
                    answer(connection)
                except OSError:
                    pass

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        server.shutdown(socket.SHUT_RDWR)
        serving.join()


def subscribe(outward: Outward, **urls: str) -> None:
    """These subscribers, and nobody else, hear of everything."""
    subscribers = {name: Subscriber(url=url, secret=SECRET, events=("*",)) for name, url in urls.items()}
    changed: dict[str, Any] = {"subscribers": subscribers, "connections": {}}
    outward.runtime.settings = outward.runtime.settings.model_copy(update=changed)


@on_sqlite
def test_while_one_is_waited_for_the_others_hear_what_happens(
    outward: Outward, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.02)
    asked, release = threading.Event(), threading.Event()

    def slow(connection: socket.socket) -> None:
        asked.set()
        release.wait(20)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with raw_server(slow) as url:
        subscribe(outward, slow=url, shop=receiver.url)
        outward.comes(inbound("first", "in1"))
        reports: list[DeliveryCounts] = []
        working = threading.Thread(target=lambda: reports.append(outward.goes()))
        working.start()
        assert asked.wait(20)
        heard = threading.Event()

        def answer(event: dict[str, Any]) -> tuple[int, dict[str, str]]:
            if event["data"]["text"] == "second":
                heard.set()
            return 200, {}

        receiver.answer = answer
        outward.comes(inbound("second", "in2"))
        assert heard.wait(20), "the other subscriber hears of it although the first has not answered"
        assert not reports
        release.set()
        working.join(30)
    assert reports == [DeliveryCounts(done=4)]


@on_sqlite
def test_one_that_is_away_is_asked_a_few_times_only(outward: Outward, receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    subscribe(outward, away=nowhere, shop=receiver.url)
    outward.comes(*(inbound(f"text {number}", f"in{number}") for number in range(30)))
    report = outward.goes()
    assert (report.done, report.failed) == (30, 0)
    assert report.retried == run.THREADS_PER_RECEIVER, "one by each thread tells enough"
    waiting = find_deliveries(outward.runtime, target="subscriber:away")
    assert sorted(one.attempts for one in waiting) == [0] * 26 + [1] * 4, "what was not tried costs no try"
    assert len(receiver.ids) == 30


def _drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(100):
        connection.sendall(b"x: y\r\n")
        threading.Event().wait(0.05)


def _endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(100_000):
        connection.sendall(b"x" * 65536)


@on_sqlite
@pytest.mark.parametrize(
    ("answer", "report"),
    [
        (_drip, DeliveryCounts(retried=1)),
        (_endless, DeliveryCounts(done=1)),
        (lambda connection: connection.sendall(b"\xff\x00 what?\r\n\r\n"), DeliveryCounts(retried=1)),
        (lambda connection: None, DeliveryCounts(retried=1)),
    ],
    ids=["drips its head", "never ends its body", "speaks no HTTP", "closes"],
)
def test_a_hostile_answer_is_bounded(
    outward: Outward, monkeypatch: pytest.MonkeyPatch, answer: Any, report: DeliveryCounts
) -> None:
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", 0.3)
    with raw_server(answer) as url:
        subscribe(outward, shop=url)
        outward.comes(inbound())
        assert outward.goes() == report


def test_records_keep_their_order_in_small_portions(outward: Outward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "PORTION", 3)
    monkeypatch.setattr(run, "SHARE", 4)
    outward.comes(*(inbound(f"text {number:02}", f"in{number}") for number in range(20)))
    workers = [threading.Thread(target=outward.goes) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    outward.goes()
    assert [row.text for row in outward.logged()] == [f"text {number:02}" for number in range(20)]


@pytest.mark.parametrize("engine", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_a_claim_passes_nothing_by_that_another_is_taking(outward: Outward) -> None:
    outward.comes(*(inbound(f"text {number}", f"in{number}") for number in range(4)))
    while fan_out.fan_out(outward.runtime):
        pass
    second: list[Any] = []

    def claim_too() -> None:
        with writing(outward.engine) as connection:
            second.extend(claim_deliveries(connection, {To("crm", "people"): 4}, utcnow()))

    other = threading.Thread(target=claim_too)
    with writing(outward.engine) as connection:
        first = claim_deliveries(connection, {To("crm", "people"): 2}, utcnow())
        other.start()
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while other.is_alive() and not connection.execute(waits).scalar():
            other.join(0.01)
    other.join(20)
    assert len(first) == 2
    assert second == [], "the record's next text waits until those before it are written"


@on_sqlite
def test_a_record_waits_for_what_could_not_be_written(outward: Outward, monkeypatch: pytest.MonkeyPatch) -> None:
    from crm_adapters.base import CrmMessage
    from crm_adapters.sql.adapter import SqlAdapter

    real = SqlAdapter.log_message

    def refuses_one(self: SqlAdapter, external_id: str, message: CrmMessage) -> None:
        if message.text == "text 1":
            raise RuntimeError("a bug of an adapter")
        real(self, external_id, message)

    with monkeypatch.context() as patch:
        patch.setattr(SqlAdapter, "log_message", refuses_one)
        outward.comes(*(inbound(f"text {number}", f"in{number}") for number in range(4)))
        assert outward.goes() == DeliveryCounts(done=1 + 4, retried=1)
        assert [row.text for row in outward.logged()] == ["text 0"]
        assert outward.goes() == DeliveryCounts()
    outward.later_still()
    assert outward.goes() == DeliveryCounts(done=3)
    assert [row.text for row in outward.logged()] == [f"text {number}" for number in range(4)]


@on_sqlite
def test_an_old_opt_out_does_not_come_back(outward: Outward) -> None:
    with writing(outward.engine) as connection:
        add_opt_out(connection, THEM, source="cli", detail="", now=utcnow())
    outward.goes()
    with writing(outward.engine) as connection:
        remove_opt_out(connection, THEM, source="cli", detail="", now=utcnow())
        connection.execute(update(delivery).values(state="failed"))
    outward.goes()
    assert outward.flag() == "no"
    assert retry_deliveries(outward.runtime, target="crm:*") == 1
    outward.goes()
    assert outward.flag() == "no", "the record says how it is now, not how it was when the event happened"


@on_sqlite
def test_who_is_not_configured_any_more_is_said(outward: Outward, receiver: Receiver) -> None:
    outward.comes(inbound())
    while fan_out.fan_out(outward.runtime):
        pass
    before = outward.runtime.settings
    outward.runtime.settings = before.model_copy(update={"connections": {}, "subscribers": {}})
    assert outward.goes() == DeliveryCounts(failed=2)
    assert {"restore it" in one.last_error for one in find_deliveries(outward.runtime)} == {True}
    outward.runtime.settings = before
    retry_deliveries(outward.runtime)
    assert outward.goes() == DeliveryCounts(done=2)


def test_a_lost_lease_writes_nothing_down(outward: Outward) -> None:
    outward.comes(inbound())
    while fan_out.fan_out(outward.runtime):
        pass
    now = utcnow()
    with writing(outward.engine) as connection:
        (mine,) = claim_deliveries(connection, {To("subscriber", "shop"): 5}, now)
        connection.execute(update(delivery).where(delivery.c.id == mine.id).values(lease_owner="another"))
    for outcome in (Delivered(), RetryLater("away")):
        with writing(outward.engine) as connection:
            finish_deliveries(connection, [(mine, outcome)], now, 0.0)
        (row,) = [row for row in outward.forwards() if row.id == mine.id]
        assert (row.state, row.lease_owner, row.attempts) == ("sending", "another", 1)


def test_a_worker_that_stops_gives_back_what_it_has(outward: Outward, receiver: Receiver) -> None:
    def stop(_event: dict[str, Any]) -> tuple[int, dict[str, str]]:
        outward.runtime.stop.set()
        return 200, {}

    receiver.answer = stop
    outward.runtime.settings = outward.runtime.settings.model_copy(update={"connections": {}})
    outward.comes(*(inbound(f"text {number}", f"in{number}") for number in range(30)))
    report = outward.goes()
    assert 1 <= report.done <= run.THREADS_PER_RECEIVER
    left = [row for row in outward.forwards() if row.state != "done"]
    assert len(left) == 30 - report.done
    assert {(row.state, row.attempts, row.lease_owner) for row in left} == {("due", 0, None)}


@on_sqlite
def test_a_broker_that_is_away_is_tried_again(outward: Outward, monkeypatch: pytest.MonkeyPatch) -> None:
    from kombu.exceptions import OperationalError

    from worker.app import app

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("nobody listens")

    monkeypatch.setattr(app, "send_task", away)
    changed: dict[str, Any] = {"subscribers": {"desk": Subscriber(task="desk.on_text")}, "connections": {}}
    outward.runtime.settings = outward.runtime.settings.model_copy(update=changed)
    outward.comes(inbound())
    assert outward.goes() == DeliveryCounts(retried=1)
    outward.later_still()
    monkeypatch.setattr(app, "send_task", lambda *_, **__: None)
    assert outward.goes() == DeliveryCounts(done=1)


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome"),
    [
        (200, "", Delivered()),
        (299, "", Delivered()),
        (302, "", RetryLater("the receiver answered HTTP 302")),
        (500, "60", RetryLater("the receiver answered HTTP 500", timedelta(seconds=60))),
        (429, "7", RetryLater("the receiver answered HTTP 429", timedelta(seconds=7), is_down=True)),
        (503, "999999", RetryLater("the receiver answered HTTP 503", timedelta(days=1), is_down=True)),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", RetryLater("the receiver answered HTTP 429", is_down=True)),
        (429, "-5", RetryLater("the receiver answered HTTP 429", is_down=True)),
        (429, "٣", RetryLater("the receiver answered HTTP 429", is_down=True)),
    ],
)
def test_what_an_answer_means(status: int, retry_after: str, outcome: Any) -> None:
    assert webhooks.outcome_of_status(status, retry_after) == outcome
