"""What happened reaches those who want it: once in a CRM, at least once at a service, never blocked by another."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import select, text, update

from config.integrations import Subscriber
from tests.deliveries.conftest import SECRET, Outward, Receiver, on_sqlite
from tests.inbox.conftest import THEM, echo, inbound
from worker.deliveries.claims import DeliveryCounts
from worker.deliveries.fan_out import fan_out
from worker.deliveries.listing import find_deliveries, retry_deliveries
from worker.deliveries.outcome import SCHEDULE
from worker.messages.delivery import deliver_due
from worker.messages.opt_outs import add_opt_out
from worker.messages.recording import record_due
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import contact_mapping, delivery, public_event


def test_a_reply_reaches_service_and_crm_once(outward: Outward, receiver: Receiver) -> None:
    outward.comes(inbound("Hello 👋", "in1"), inbound("Hello 👋", None))
    assert outward.goes() == DeliveryCounts(done=2)
    assert outward.goes() == DeliveryCounts()
    (event,) = receiver.heard
    assert (event["type"], event["data"]["text"], event["data"]["from"]) == ("message.received", "Hello 👋", THEM)
    assert outward.logged() == [(1, "in", "Hello 👋")]
    assert outward.rows(public_event) == []


@on_sqlite
def test_a_record_that_the_crm_has_deleted_is_written_to_no_more(outward: Outward) -> None:
    with writing(outward.engine) as connection:
        connection.execute(update(contact_mapping).values(deleted_at=utcnow()))
    outward.comes(inbound("STOP", "in1"))
    outward.goes()
    assert [one.target for one in outward.forwards()] == ["subscriber:shop"] * 2
    assert (outward.logged(), outward.flag()) == ([], "no")


@on_sqlite
def test_what_waits_for_a_merged_record_goes_to_the_survivor(outward: Outward) -> None:
    outward.comes(inbound("Hello", "in1"))
    while fan_out(outward.runtime):
        pass
    with writing(outward.engine) as connection:
        connection.execute(update(contact_mapping).values(deleted_at=utcnow(), merged_into="2"))
    outward.goes()
    assert outward.logged() == [(2, "in", "Hello")]


def test_a_damaged_delivery_is_given_up_alone(outward: Outward, receiver: Receiver) -> None:
    for number in (1, 2):
        outward.comes(inbound(f"Hello {number}", f"in{number}"))
    while fan_out(outward.runtime):
        pass
    first = min(one.id for one in outward.forwards() if one.target == "subscriber:shop")
    with outward.engine.begin() as connection:  # as it is stored
        connection.exec_driver_sql(f"UPDATE forward SET payload = 'vts1.deadbeef.{'A' * 60}' WHERE id = {first}")
    outward.goes()
    assert [event["data"]["text"] for event in receiver.heard] == ["Hello 2"]
    with outward.engine.connect() as connection:
        assert connection.execute(select(delivery.c.state).where(delivery.c.id == first)).scalar() == "failed"


def test_a_text_is_told_of_once_however_it_goes_on(outward: Outward, receiver: Receiver) -> None:
    outward.send(THEM, "hello")
    deliver_due(outward.runtime)
    outward.goes()
    outward.comes(echo("hello"), {"MessageID": "out1", "status": "delivered"})
    outward.goes()
    assert [event["type"] for event in receiver.heard] == ["message.sent", "message.delivered"]
    assert outward.logged() == [(1, "out", "hello")]


@on_sqlite
def test_a_record_is_told_of_as_such(outward: Outward, receiver: Receiver) -> None:
    outward.record("SM1", THEM, "code 1")
    record_due(outward.runtime)
    outward.goes()
    assert [event["type"] for event in receiver.heard] == ["message.recorded"]
    assert outward.logged() == [(1, "out", "code 1")]


@on_sqlite
def test_an_opt_out_is_written_to_the_crm_and_back(outward: Outward, receiver: Receiver) -> None:
    outward.comes(inbound("STOP", "in1"))
    outward.goes()
    assert outward.flag() == "yes"
    outward.comes(inbound("START", "in2"))
    outward.goes()
    assert outward.flag() == "no"
    assert sorted(event["type"] for event in receiver.heard) == [
        "contact.opted_in",
        "contact.opted_out",
        "message.received",
        "message.received",
    ]


@on_sqlite
def test_what_the_policy_stops_is_told(outward: Outward, receiver: Receiver) -> None:
    with writing(outward.engine) as connection:
        add_opt_out(connection, THEM, source="cli", detail="", now=utcnow())
    outward.send(THEM)
    outward.goes()
    (event,) = [event for event in receiver.heard if event["type"] == "message.suppressed"]
    assert event["data"]["reason"].startswith("opted_out")


@on_sqlite
def test_a_service_that_is_away_hears_it_later_with_the_same_id_and_body(outward: Outward, receiver: Receiver) -> None:
    receiver.answer = lambda _: (500, {})
    outward.comes(inbound())
    assert outward.goes() == DeliveryCounts(done=1, retried=1), "the CRM is not kept waiting"
    assert outward.goes() == DeliveryCounts(), "not before its time"
    receiver.answer = lambda _: (204, {})
    outward.later_still()
    assert outward.goes() == DeliveryCounts(done=1)
    assert len(set(receiver.ids)) == 1
    assert [len(bodies) for bodies in receiver.bodies.values()] == [1]


@on_sqlite
def test_in_the_end_it_is_given_up_until_a_person_retries(outward: Outward, receiver: Receiver) -> None:
    receiver.answer = lambda _: (503, {})
    outward.comes(inbound())
    reports = []
    for _ in range(len(SCHEDULE) + 1):
        outward.later_still()
        reports.append(outward.goes())
    assert reports[-1] == DeliveryCounts(failed=1)
    (failed,) = find_deliveries(outward.runtime, state="failed")
    assert (failed.target, failed.last_error) == ("subscriber:shop", "the receiver answered HTTP 503")
    receiver.answer = lambda _: (200, {})
    assert retry_deliveries(outward.runtime, target="subscriber:*") == 1
    assert outward.goes() == DeliveryCounts(done=1)


@on_sqlite
@pytest.mark.parametrize(
    ("status", "headers", "report"),
    [
        (410, {}, DeliveryCounts(done=1, failed=1)),
        (302, {"Location": "http://elsewhere.example"}, DeliveryCounts(done=1, retried=1)),
        (429, {"Retry-After": "3600"}, DeliveryCounts(done=1, retried=1)),
    ],
)
def test_answers(
    outward: Outward, receiver: Receiver, status: int, headers: dict[str, str], report: DeliveryCounts
) -> None:
    receiver.answer = lambda _: (status, headers)
    outward.comes(inbound())
    assert outward.goes() == report
    if "Retry-After" in headers:
        (due,) = [row.due_at for row in outward.forwards() if row.state == "due"]
        assert due > utcnow() + timedelta(minutes=59)


def test_one_that_fails_keeps_nobody_waiting(outward: Outward, receiver: Receiver) -> None:
    receiver.answer = lambda _: (500, {})
    for index in range(30):
        outward.comes(inbound(f"text {index}", f"in{index}"))
    report = outward.goes()
    assert (report.done, report.retried) == (30, 30)
    assert [row.text for row in outward.logged()] == [f"text {index}" for index in range(30)], "in their order"


def test_a_worker_that_vanished_leaves_nothing_untold(outward: Outward, receiver: Receiver) -> None:
    outward.comes(inbound())
    while fan_out(outward.runtime):
        pass
    with writing(outward.engine) as connection:  # as a killed worker leaves it: told already, and not written down
        past = utcnow() - timedelta(seconds=1)
        connection.execute(update(delivery).values(state="sending", lease_owner="gone", lease_until=past, attempts=1))
    assert outward.goes() == DeliveryCounts(done=2)
    with writing(outward.engine) as connection:
        connection.execute(update(delivery).values(state="sending", lease_owner="gone", lease_until=past))
    assert outward.goes() == DeliveryCounts(done=2)
    assert len(outward.logged()) == 1, "a CRM has it once"
    assert len(set(receiver.ids)) == 1, "a service tells by the id that it knows it"


def test_many_workers_deliver_each_once(outward: Outward, receiver: Receiver) -> None:
    for index in range(40):
        outward.comes(inbound(f"text {index}", f"in{index}"))
    threads = [threading.Thread(target=outward.goes) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outward.goes()
    assert len(receiver.ids) == len(set(receiver.ids)) == 40
    assert [row.text for row in outward.logged()] == [f"text {index}" for index in range(40)]


@on_sqlite
def test_a_record_that_is_gone_is_said_and_given_up(outward: Outward) -> None:
    with outward.crm.begin() as connection:
        connection.execute(text("DELETE FROM people WHERE id = 1"))
    outward.comes(inbound())
    assert outward.goes() == DeliveryCounts(done=1, failed=1)
    (failed,) = find_deliveries(outward.runtime, target="crm:people:*")
    assert "no record 1" in failed.last_error


@on_sqlite
def test_a_crm_that_is_away_is_tried_again(outward: Outward, monkeypatch: pytest.MonkeyPatch) -> None:
    from crm_adapters.base import SourceUnavailable
    from crm_adapters.sql.adapter import SqlAdapter

    def away(*_: object) -> None:
        raise SourceUnavailable("the CRM is away", retry_after=60)

    with monkeypatch.context() as patch:
        patch.setattr(SqlAdapter, "log_message", away)
        outward.comes(inbound())
        assert outward.goes() == DeliveryCounts(done=1, retried=1)
    outward.later_still()
    assert outward.goes() == DeliveryCounts(done=1)


@on_sqlite
def test_another_services_task_is_called(outward: Outward, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.app import app

    called: list[tuple[Any, ...]] = []
    monkeypatch.setattr(app, "send_task", lambda name, **given: called.append((name, given)))
    subscribers = {"shop": Subscriber(task="shop.on_text", queue="shop")}
    outward.runtime.settings = outward.runtime.settings.model_copy(update={"subscribers": subscribers})
    outward.comes(inbound())
    assert outward.goes() == DeliveryCounts(done=2)
    ((name, given),) = called
    assert (name, given["queue"], given["kwargs"]["event"]["type"]) == ("shop.on_text", "shop", "message.received")
    assert given["task_id"] == given["kwargs"]["event"]["id"]


def test_without_anybody_who_wants_them_announcements_are_forgotten(outward: Outward) -> None:
    nobody: dict[str, Any] = {"subscribers": {}, "connections": {}}
    outward.runtime.settings = outward.runtime.settings.model_copy(update=nobody)
    outward.comes(inbound())
    assert outward.goes() == DeliveryCounts()
    with reading(outward.engine) as connection:
        assert connection.execute(select(public_event)).all() == connection.execute(select(delivery)).all() == []


@on_sqlite
def test_the_secret_is_never_shown(outward: Outward, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.answer = lambda _: (410, {})
    outward.comes(inbound())
    outward.goes()
    shown = caplog.text + orjson.dumps([row.last_error for row in outward.forwards()]).decode()
    assert SECRET.removeprefix("whsec_") not in shown
    assert SECRET not in repr(outward.runtime.settings)
