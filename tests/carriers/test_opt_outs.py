"""A STOP that only a carrier knows is an opt-out: once, with its proof and announcement, and no text goes after it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.carriers.conftest import CarrierInbox, CarrierServer
from tests.carriers.samples.bandwidth import EVENT as BANDWIDTH
from tests.carriers.samples.plivo import EVENT as PLIVO
from tests.carriers.samples.sinch import EVENT as SINCH
from tests.carriers.samples.telnyx import STOPPED
from tests.carriers.samples.twilio import EVENT as TWILIO
from tests.carriers.samples.vonage import ERRORS
from tests.carriers.samples.vonage import EVENT as VONAGE
from worker.core.states import MessageState
from worker.inbox.carrier_lists import poll_due
from worker.inbox.process import InboxReport
from worker.messages.delivery import deliver_due
from worker.messages.opt_outs import add_opt_out, open_review, remove_opt_out
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import number_review, opt_out, opt_out_event, public_event

TO = "+12125550123"

# carrier, its event, its code
STOPS: list[tuple[str, dict[str, Any], str]] = [
    ("tw", TWILIO | {"MessageStatus": "failed", "ErrorCode": "21610"}, "21610"),
    ("tw", TWILIO | {"MessageStatus": "undelivered", "ErrorCode": "21610"}, "21610"),
    ("tw", TWILIO | {"MessageStatus": "failed", "ErrorCode": "21610", "From": "12345"}, "21610"),
    ("tx", {"data": {"event_type": "message.finalized", "payload": STOPPED}}, "40300"),
    ("bw", BANDWIDTH | {"type": "message-failed", "errorCode": 4775}, "4775"),
    ("bw", BANDWIDTH | {"type": "message-failed", "errorCode": 4475}, "4475"),
    ("pl", PLIVO | {"Status": "failed", "ErrorCode": "200"}, "200"),
    ("vo", VONAGE | {"status": "rejected", "error": {"type": f"{ERRORS}#1240", "title": 1240}}, "1240"),
    ("vo", {"messageId": "v1", "msisdn": TO[1:], "to": "14155550100", "status": "failed", "err-code": "9"}, "9"),
]
# Codes that say nothing about an opt-out.
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("tw", TWILIO | {"MessageStatus": "undelivered", "ErrorCode": "30003"}),
    ("tw", TWILIO | {"MessageStatus": "delivered", "ErrorCode": "21610", "To": "12345"}),
    ("bw", BANDWIDTH | {"type": "message-failed", "errorCode": 4482}),
    ("pl", PLIVO | {"Status": "failed", "ErrorCode": "50"}),
    ("vo", VONAGE | {"status": "rejected", "error": {"type": f"{ERRORS}#1020"}}),
    ("si", SINCH | {"status": "Failed", "code": 402}),
]


def rows(inbox: CarrierInbox, table: Any) -> list[Any]:
    with reading(inbox.engine) as connection:
        return list(connection.execute(select(table)))


@pytest.mark.parametrize(("name", "event", "code"), STOPS)
def test_the_code_of_a_stop_is_an_opt_out_once(
    inbox: CarrierInbox, name: str, event: dict[str, Any], code: str
) -> None:
    waiting = inbox.send(TO, "Your order is ready.")
    assert inbox.tells(name, event) == InboxReport(done=1)
    assert inbox.tells(name, event, event) == InboxReport(ignored=2)
    (out,) = rows(inbox, opt_out)
    assert (out.phone, out.source, out.account) == (TO, "carrier", "main")
    assert code in out.detail
    (proof,) = rows(inbox, opt_out_event)
    assert (proof.opted_out, proof.source, proof.actor) == (True, "carrier", f"carrier {name}")
    (announced,) = [one for one in rows(inbox, public_event) if one.type == "contact.opted_out"]
    assert announced.phone == TO
    deliver_due(inbox.runtime)
    assert inbox.state(waiting) is MessageState.SUPPRESSED
    assert "a carrier reported it" in inbox.row(waiting).reason
    assert inbox.client.sent == []


@pytest.mark.parametrize(("name", "event"), OTHERS)
def test_other_codes_are_no_opt_out(inbox: CarrierInbox, name: str, event: dict[str, Any]) -> None:
    inbox.tells(name, event)
    assert (rows(inbox, opt_out), rows(inbox, number_review)) == ([], [])


def test_a_code_with_two_meanings_is_reviewed_by_a_person(inbox: CarrierInbox) -> None:
    waiting = inbox.send(TO, "Your order is ready.")
    assert inbox.tells("si", SINCH | {"status": "Deleted"}) == InboxReport(done=1)
    (review,) = rows(inbox, number_review)
    assert (review.phone, rows(inbox, opt_out)) == (TO, [])
    assert "the number is invalid, or its owner has opted out" in review.excerpt
    deliver_due(inbox.runtime)
    assert inbox.state(waiting) is MessageState.HELD


def test_the_same_person_may_have_said_stop_here_before(inbox: CarrierInbox) -> None:
    with writing(inbox.engine) as connection:
        add_opt_out(connection, TO, source="relay", detail="STOP", now=utcnow(), account="main")
    assert inbox.tells("tw", STOPS[0][1]) == InboxReport(ignored=1)
    assert [one.source for one in rows(inbox, opt_out)] == ["relay"]
    assert len(rows(inbox, opt_out_event)) == 1


def test_an_event_from_before_a_start_changes_nothing(inbox: CarrierInbox) -> None:
    inbox.tells("tw", STOPS[0][1])
    with writing(inbox.engine) as connection:
        later = utcnow() + timedelta(seconds=1)
        remove_opt_out(connection, TO, source="relay", detail="START", now=later)
    assert inbox.tells("tw", STOPS[0][1]) == InboxReport(ignored=1)
    assert rows(inbox, opt_out) == []


def test_an_open_review_ends_with_the_opt_out(inbox: CarrierInbox) -> None:
    with writing(inbox.engine) as connection:
        open_review(connection, TO, excerpt="hmm", inbound_id=None, since=utcnow())
    inbox.tells("tw", STOPS[0][1])
    assert rows(inbox, number_review) == []


def test_the_list_brings_opt_outs_that_events_did_not(inbox: CarrierInbox, carrier: CarrierServer) -> None:
    row = {
        "sid": "SM9",
        "body": "Hi",
        "to": TO,
        "from": "+14155550100",
        "status": "failed",
        "error_code": 21610,
        "direction": "outbound-api",
        "date_sent": None,
    }
    carrier.answer = lambda path: (200, {"batches": []} if path.startswith("/xms") else {"messages": [row]})
    now = utcnow()
    assert poll_due(inbox.runtime, now) is True
    assert inbox.process() == InboxReport(done=1)
    assert [(one.phone, one.source) for one in rows(inbox, opt_out)] == [(TO, "carrier")]
    assert poll_due(inbox.runtime, now + timedelta(minutes=11)) is False, "it is looked at once"


def test_a_receiver_that_is_no_number_is_named(inbox: CarrierInbox) -> None:
    assert inbox.tells("tw", STOPS[0][1] | {"To": "?"}) == InboxReport(failed=1)
    assert "the receiver is not a phone number" in inbox.events()[0].detail
