"""A text that another system sent is recorded once, in its conversation, and never loops."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select, update

from tests.carriers.conftest import CarrierInbox, CarrierServer
from tests.carriers.samples.bandwidth import EVENT as BANDWIDTH
from tests.carriers.samples.bandwidth import MESSAGE as BANDWIDTH_MESSAGE
from tests.carriers.samples.plivo import EVENT as PLIVO
from tests.carriers.samples.sinch import EVENT as SINCH
from tests.carriers.samples.telnyx import EVENT as TELNYX
from tests.carriers.samples.telnyx import PAYLOAD as TELNYX_PAYLOAD
from tests.carriers.samples.twilio import EVENT as TWILIO
from tests.carriers.samples.vonage import EVENT as VONAGE
from tests.inbox.conftest import echo
from worker.core.states import MessageState
from worker.inbox.carrier_lists import poll_due
from worker.inbox.listing import retry_failed
from worker.inbox.process import InboxReport
from worker.messages.delivery import deliver_due
from worker.messages.outbox import enqueue_record
from worker.messages.recording import record_due
from worker.messages.requests import LONGEST_RECORD, RecordRequest
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import carrier_state, inbox_event, message
from worker.virtualtext.outcomes import Cause, Outcome, Status

TO, FROM = "+12125550123", "+14155550100"
BANDWIDTH_GROUP = BANDWIDTH | {"message": BANDWIDTH_MESSAGE | {"to": [TO, "+13125550199"]}}


def resource(sid: str = "SM1", **more: Any) -> dict[str, Any]:
    """A Twilio message, as its API gives it."""
    row = {
        "sid": sid,
        "body": "Hi from elsewhere",
        "to": TO,
        "from": FROM,
        "status": "delivered",
        "direction": "outbound-api",
        "num_media": "0",
        "date_sent": "Sun, 01 Mar 2026 10:00:00 +0000",
    }
    return row | more


def telnyx(**more: Any) -> dict[str, Any]:
    return {"data": {**TELNYX["data"], "payload": {**TELNYX_PAYLOAD, "media": [], **more}}}


def details(inbox: CarrierInbox) -> list[str]:
    return [event.detail for event in inbox.events()]


def test_an_event_with_the_text_is_recorded_once(inbox: CarrierInbox) -> None:
    assert inbox.tells("tx", TELNYX) == InboxReport(done=1)
    delivered = {"data": TELNYX["data"] | {"event_type": "message.finalized"}}
    assert inbox.tells("tx", TELNYX, delivered) == InboxReport(ignored=2)
    record_due(inbox.runtime)
    deliver_due(inbox.runtime)
    (body,) = inbox.client.recorded
    assert (body.to, body.from_number, body.text, body.media) == (TO, FROM, "Hi", ("https://a.example/1.png",))
    assert inbox.client.sent == []
    (row,) = inbox.rows(message)
    assert (row.kind, row.source, row.carrier, row.carrier_message_id) == ("record", "carrier", "telnyx", "t1")
    assert row.sent_at.isoformat() == "2026-03-01T10:00:00+00:00"


def test_a_text_that_the_event_does_not_carry_is_looked_up(inbox: CarrierInbox, carrier: CarrierServer) -> None:
    carrier.answer = lambda _: (200, resource())
    assert inbox.tells("tw", TWILIO) == InboxReport(done=1)
    assert carrier.asked == ["/2010-04-01/Accounts/AC1/Messages/SM1.json"]
    (row,) = inbox.rows(message)
    assert (row.text, row.sent_at.isoformat()) == ("Hi from elsewhere", "2026-03-01T10:00:00+00:00")


def test_pictures_are_looked_up_too(
    inbox: CarrierInbox, carrier: CarrierServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The carrier of this test is on this machine, so its pictures are at no public address.
    monkeypatch.setattr("worker.messages.requests.public_url_problem", lambda _: None)
    media = "/2010-04-01/Accounts/AC1/Messages/SM1/Media"
    pages = {
        f"{media}.json": {"media_list": [{"uri": f"{media}/ME1.json"}]},
        "/2010-04-01/Accounts/AC1/Messages/SM1.json": resource(
            num_media="1", body="", subresource_uris={"media": f"{media}.json"}
        ),
    }
    carrier.answer = lambda path: (200, pages[path])
    assert inbox.tells("tw", TWILIO) == InboxReport(done=1)
    assert inbox.rows(message)[0].media == f'["{carrier.url}{media}/ME1"]'


def test_sinch_keeps_the_words_with_the_batch(inbox: CarrierInbox, carrier: CarrierServer) -> None:
    batch = {
        "id": "s1",
        "to": ["12125550123", "13125550199"],
        "from": "14155550100",
        "body": "Hi ${name}",
        "parameters": {"name": {"12125550123": "Ada", "default": "you"}},
    }
    carrier.answer = lambda _: (200, batch)
    assert inbox.tells("si", SINCH) == InboxReport(done=1)
    assert inbox.rows(message)[0].text == "Hi Ada"
    assert carrier.credentials == {"Bearer hush"}


@pytest.mark.parametrize("status", [500, 401, 429])
def test_a_carrier_that_cannot_be_asked_is_asked_again(
    inbox: CarrierInbox, carrier: CarrierServer, status: int
) -> None:
    carrier.answer = lambda _: (status, {})
    assert inbox.tells("tw", TWILIO) == InboxReport(waiting=1)
    assert "hush" not in details(inbox)[0]
    carrier.answer = lambda _: (200, resource())
    assert inbox.later() == InboxReport(done=1)


def test_a_text_whose_words_cannot_be_had_is_never_stored_empty(inbox: CarrierInbox) -> None:
    assert inbox.tells("bw", BANDWIDTH) == InboxReport(failed=1)
    assert inbox.tells("tw", TWILIO) == InboxReport(failed=1)  # the carrier answers 404
    assert all("POST /v1/records" in detail for detail in details(inbox))
    assert inbox.rows(message) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"MessageStatus": "queued"}, "pending"),
        ({"MessageStatus": "failed"}, "failed"),
        ({"MessageStatus": "received"}, "received"),
    ],
)
def test_what_was_not_sent_from_here_is_not_recorded(inbox: CarrierInbox, change: dict[str, str], word: str) -> None:
    assert inbox.tells("tw", TWILIO | change) == InboxReport(ignored=1)
    assert word in details(inbox)[0]


def test_our_own_texts_never_loop(inbox: CarrierInbox) -> None:
    send = inbox.send(TO, "Hi", media=("https://b.example/2.png",))
    deliver_due(inbox.runtime)
    now = {"data": {**TELNYX["data"], "payload": {**TELNYX_PAYLOAD, "sent_at": utcnow().isoformat()}}}
    assert inbox.tells("tx", now) == InboxReport(ignored=1)
    assert inbox.events()[0].message_id == send


def test_the_same_words_of_a_send_that_was_refused_are_recorded(inbox: CarrierInbox) -> None:
    inbox.client.answer = lambda *_: Outcome(Status.NOT_DONE, cause=Cause.REJECTED)
    send = inbox.send(TO, "Hi", media=("https://b.example/2.png",))
    deliver_due(inbox.runtime)
    assert inbox.state(send) is MessageState.REJECTED
    now = {"data": {**TELNYX["data"], "payload": {**TELNYX_PAYLOAD, "sent_at": utcnow().isoformat()}}}
    assert inbox.tells("tx", now) == InboxReport(done=1)


def test_what_was_typed_in_the_app_long_ago_hides_no_text_of_today(inbox: CarrierInbox) -> None:
    told = echo("Hi", "typed-in-the-app", TO, Media=["https://a.example/1.png"])
    inbox.comes(told, at=utcnow() - timedelta(hours=1))
    assert inbox.tells("tx", TELNYX) == InboxReport(done=1)


def test_what_virtualtext_sent_itself_is_not_recorded(inbox: CarrierInbox) -> None:
    told = echo("Hi", "typed-in-the-app", TO, Media=["https://a.example/1.png"])
    inbox.comes(told)
    assert inbox.tells("tx", TELNYX) == InboxReport(ignored=1)
    assert "typed in the app" in details(inbox)[1]


@pytest.mark.parametrize("echo_id", ["out1", None])
def test_the_echo_of_a_record_does_not_hide_the_next_text_with_the_same_words(
    inbox: CarrierInbox, echo_id: str | None
) -> None:
    inbox.tells("tx", TELNYX)
    record_due(inbox.runtime)
    inbox.comes(echo("Hi", echo_id, TO, Media=["https://a.example/1.png"]))
    again = {"data": {**TELNYX["data"], "payload": {**TELNYX_PAYLOAD, "id": "t2"}}}
    assert inbox.tells("tx", again) == InboxReport(done=1)


def test_a_conversation_keeps_its_order_while_the_carrier_cannot_be_asked(
    inbox: CarrierInbox, carrier: CarrierServer
) -> None:
    carrier.answer = lambda _: (503, {})
    assert inbox.tells("tw", TWILIO) == InboxReport(waiting=1)
    other = {"to": "+12125550199"}
    carrier.answer = lambda path: (200, resource(path[-8:-5], **(other if "SM3" in path else {})))
    second, elsewhere = TWILIO | {"MessageSid": "SM2"}, TWILIO | {"MessageSid": "SM3", "To": other["to"]}
    assert inbox.tells("tw", second, elsewhere) == InboxReport(done=1, waiting=1)
    assert any("waits for an earlier text" in detail for detail in details(inbox))
    assert inbox.later() == InboxReport(done=2)
    rows = sorted(inbox.rows(message), key=lambda row: row.id)
    assert [row.carrier_message_id for row in rows] == ["SM3", "SM1", "SM2"]


def test_an_earlier_text_waits_for_no_later_one(inbox: CarrierInbox, carrier: CarrierServer) -> None:
    carrier.answer = lambda _: (503, {})
    assert inbox.tells("tw", TWILIO, TWILIO | {"MessageSid": "SM2"}) == InboxReport(waiting=2)
    carrier.answer = lambda path: (200, resource(path[-8:-5]))
    first = min(event.id for event in inbox.events())
    with writing(inbox.engine) as connection:
        soon = utcnow() - timedelta(seconds=1)
        connection.execute(update(inbox_event).where(inbox_event.c.id == first).values(due_at=soon))
    assert inbox.process() == InboxReport(done=1)
    assert [row.carrier_message_id for row in inbox.rows(message)] == ["SM1"]


def test_with_a_relay_its_echo_is_waited_for(inbox: CarrierInbox) -> None:
    account = inbox.runtime.settings.accounts["main"].model_copy(update={"relay_secret": object()})
    inbox.runtime.settings = inbox.runtime.settings.model_copy(update={"accounts": {"main": account}})
    assert inbox.tells("tx", TELNYX) == InboxReport(waiting=1)
    with writing(inbox.engine) as connection:
        long_ago = utcnow() - timedelta(seconds=30)
        connection.execute(update(inbox_event).values(received_at=long_ago, due_at=long_ago))
    assert inbox.process() == InboxReport(done=1)


def test_a_carrier_that_was_removed_is_named(inbox: CarrierInbox) -> None:
    assert inbox.tells("gone", TELNYX) == InboxReport(failed=1)
    assert 'no longer has the carrier "gone"' in details(inbox)[0]


@pytest.mark.parametrize("number", ["", "+199999999", "1234567890123456789"])
def test_numbers_that_are_none_are_named(inbox: CarrierInbox, number: str) -> None:
    odd = {"data": {**TELNYX["data"], "payload": {**TELNYX_PAYLOAD, "from": {"phone_number": number}}}}
    assert inbox.tells("tx", odd) == InboxReport(failed=1)
    assert "is not a phone number" in details(inbox)[0]


# the name of the carrier, what is different in its event, what the reason says
NOT_SMS: list[tuple[str, dict[str, Any], str]] = [
    ("tw", {"To": f"whatsapp:{TO}", "From": f"whatsapp:{FROM}"}, "by WhatsApp"),
    ("tw", {"From": "rcs:brand_agent"}, "by RCS"),
    ("tw", {"From": "messenger:1234567"}, "by Messenger"),
    ("tw", {"From": "some_channel:7"}, "by somechannel"),
    ("tw", {"From": "12345"}, "from the short code 12345"),
    ("tw", {"From": "Alerts"}, 'from the name "Alerts"'),
    ("tw", {"From": "Café 24"}, 'from the name "Café 24"'),
    ("tw", {"To": "729725"}, "to the short code 729725"),
    ("tw", {"MessageStatus": "received", "From": f"whatsapp:{TO}"}, "by WhatsApp"),
    ("pl", {"Type": "whatsapp"}, "by WhatsApp"),
    ("vo", {"channel": "messenger"}, "by Messenger"),
]


@pytest.mark.parametrize(("name", "change", "reason"), NOT_SMS)
def test_what_is_no_text_between_numbers_is_ignored_by_name(
    inbox: CarrierInbox, name: str, change: dict[str, Any], reason: str
) -> None:
    event = {"tw": TWILIO, "pl": PLIVO, "vo": VONAGE}[name]
    assert inbox.tells(name, event | change) == InboxReport(ignored=1)
    assert reason in details(inbox)[0]
    assert "VirtualText holds" in details(inbox)[0]


def test_a_sender_that_only_the_look_up_names_is_ignored_too(inbox: CarrierInbox, carrier: CarrierServer) -> None:
    carrier.answer = lambda _: (200, {"id": "s1", "to": ["12125550123"], "from": "Alerts", "body": "Hi"})
    assert inbox.tells("si", SINCH) == InboxReport(ignored=1)
    assert 'from the name "Alerts"' in details(inbox)[0]


@pytest.mark.parametrize("length", [1601, 5000, LONGEST_RECORD])
def test_a_long_text_is_recorded_whole(inbox: CarrierInbox, length: int) -> None:
    text = "é" * length
    assert inbox.tells("tx", telnyx(text=text)) == InboxReport(done=1)
    record_due(inbox.runtime)
    (body,) = inbox.client.recorded
    assert body.text == text


def test_a_text_that_is_too_long_to_record_is_named(inbox: CarrierInbox) -> None:
    assert inbox.tells("tx", telnyx(text="x" * (LONGEST_RECORD + 1))) == InboxReport(failed=1)
    assert "t1: message has 10001 characters" in details(inbox)[0]


def test_a_group_is_one_record_for_each_receiver(inbox: CarrierInbox) -> None:
    others = [TO, "+13125550199", "+13125550198"]
    group = telnyx(to=[{"phone_number": number, "status": "sent"} for number in others])
    assert inbox.tells("tx", group, group) == InboxReport(done=1, ignored=1)
    assert sorted(row.to_number for row in inbox.rows(message)) == sorted(others)


# --- The sending system reports the words

# the name of the carrier, the carrier, its event, the id that is reported
REPORTED: list[tuple[str, str, dict[str, Any], str]] = [
    ("bw", "bandwidth", BANDWIDTH, "b1"),
    ("pl", "plivo", PLIVO, "p1"),
    ("vo", "vonage", VONAGE, "v1"),
    ("bw", "bandwidth", BANDWIDTH_GROUP, f"b1/{TO}"),
    ("bw", "bandwidth", BANDWIDTH_GROUP, "b1"),
]


def report(inbox: CarrierInbox, kind: str, text_id: str) -> str:
    request = RecordRequest.parse(
        {"account": "main", "to": TO, "message": "Hi", "carrier": kind, "carrier_message_id": text_id}
    )
    return enqueue_record(inbox.runtime, request, source="http", actor="shop").message_id


@pytest.mark.parametrize(("name", "kind", "event", "reported_id"), REPORTED)
@pytest.mark.parametrize("order", ["report first", "event first"])
def test_an_event_without_the_words_ends_when_they_are_reported(
    inbox: CarrierInbox, name: str, kind: str, event: dict[str, Any], reported_id: str, order: str
) -> None:
    if order == "report first":
        recorded = report(inbox, kind, reported_id)
        assert inbox.tells(name, event) == InboxReport(done=1)
    else:
        assert inbox.tells(name, event) == InboxReport(failed=1)
        recorded = report(inbox, kind, reported_id)
        assert inbox.process() == InboxReport(done=1), "nobody has to run `vtsync relay retry`"
    (one,) = inbox.events()
    assert (one.state, one.detail, one.message_id) == ("done", "recorded before", recorded)
    assert len(inbox.rows(message)) == 1


def test_relay_retry_ends_it_as_well(inbox: CarrierInbox) -> None:
    """As after an upgrade: the report came while the event had failed in the version before."""
    recorded = report(inbox, "plivo", "p1")
    inbox.tells("pl", PLIVO)
    with writing(inbox.engine) as connection:
        connection.execute(update(inbox_event).values(state="failed", detail="", message_id=None))
    assert retry_failed(inbox.runtime) == 1
    assert inbox.process() == InboxReport(done=1)
    assert (inbox.events()[0].detail, inbox.events()[0].message_id) == ("recorded before", recorded)


def test_a_report_ends_only_its_own_event(inbox: CarrierInbox) -> None:
    inbox.tells("pl", PLIVO, PLIVO | {"MessageUUID": "p2"})
    report(inbox, "plivo", "p2")
    inbox.process()
    assert sorted(one.state for one in inbox.events()) == ["done", "failed"]


# --- lists


def test_the_list_brings_what_events_did_not(inbox: CarrierInbox, carrier: CarrierServer) -> None:
    carrier.answer = lambda _: (200, resource())
    inbox.tells("tw", TWILIO)
    first = {"messages": [resource(), resource("SM2"), resource("SM3", direction="inbound")]}
    pages = [first | {"next_page_uri": "/next"}, {"messages": [resource("SM4", status="failed"), resource("SM5")]}]

    def answer(path: str) -> tuple[int, Any]:
        if path.startswith("/xms"):
            return 200, {"batches": []}
        return 200, pages[1 if path == "/next" else 0]

    carrier.answer = answer
    now = utcnow()
    assert poll_due(inbox.runtime, now) is True
    assert inbox.process() == InboxReport(done=2)
    assert sorted(row.carrier_message_id for row in inbox.rows(message)) == ["SM1", "SM2", "SM5"]
    assert poll_due(inbox.runtime, now + timedelta(minutes=9)) is False, "not due yet"
    assert poll_due(inbox.runtime, now + timedelta(minutes=11)) is False, "everything is known"
    asked = [parse_qs(urlsplit(path).query)["DateSent>"][0] for path in carrier.asked if "DateSent" in path]
    a_day_before = (now - timedelta(hours=24)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert asked == [a_day_before, a_day_before], "Twilio's list lags behind: the last day is read again"


def test_a_text_of_ours_in_the_list_is_looked_at_once(inbox: CarrierInbox, carrier: CarrierServer) -> None:
    send = inbox.send(TO, "Hi from elsewhere")
    deliver_due(inbox.runtime)
    now = utcnow()
    row = resource(date_sent=format_datetime(now))
    carrier.answer = lambda path: (200, {"batches": []} if path.startswith("/xms") else {"messages": [row]})
    assert poll_due(inbox.runtime, now) is True
    assert inbox.process() == InboxReport(ignored=1)
    assert inbox.events()[0].message_id == send
    assert poll_due(inbox.runtime, now + timedelta(minutes=11)) is False


def test_a_list_that_cannot_be_read_is_read_from_the_same_place_again(
    inbox: CarrierInbox, carrier: CarrierServer
) -> None:
    carrier.answer = lambda _: (500, {})
    now = utcnow()
    assert poll_due(inbox.runtime, now) is False
    with reading(inbox.engine) as connection:
        states = connection.execute(select(carrier_state)).all()
    assert {(one.polled_until, one.last_error) for one in states} == {(None, "the carrier answered HTTP 500")}


def test_two_pollers_read_a_list_once(inbox: CarrierInbox, carrier: CarrierServer) -> None:
    now = utcnow()

    def answer(_: str) -> tuple[int, Any]:
        poll_due(inbox.runtime, now)  # another worker, while this one reads
        return 200, {"messages": [], "batches": []}

    carrier.answer = answer
    poll_due(inbox.runtime, now)
    assert len([path for path in carrier.asked if "Messages" in path]) == 1
