"""What Relay events do to our texts, to replies and to opt-outs."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from tests.inbox.conftest import THEM, Inbox, echo, inbound
from worker.core.states import MessageState, PushState
from worker.inbox.process import InboxReport
from worker.messages.decisions import resolve
from worker.messages.delivery import deliver_due
from worker.messages.opt_outs import add_opt_out, open_reviews, opted_out
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import contact
from worker.virtualtext.outcomes import Cause, Outcome, Receipt, Status

LOST: Outcome[Receipt] = Outcome(Status.UNKNOWN, cause=Cause.TIMEOUT)


def sent(inbox: Inbox, text: str = "hello", *, lost: bool = False) -> str:
    inbox.client.answer = lambda body, call: LOST if lost else Outcome(Status.DONE, Receipt())
    send = inbox.send(THEM, text)
    deliver_due(inbox.runtime)
    return send


def out(inbox: Inbox) -> bool:
    with reading(inbox.engine) as connection:
        return THEM in opted_out(connection, [THEM])


# --- echoes


def test_an_echo_attaches_its_id(inbox: Inbox) -> None:
    send = sent(inbox)
    assert inbox.comes(echo()).done == 1
    assert (inbox.state(send), inbox.row(send).virtualtext_message_id) == (MessageState.CONFIRMED, "out1")


def test_an_echo_settles_an_unknown_text(inbox: Inbox) -> None:
    send = sent(inbox, lost=True)
    assert inbox.state(send) is MessageState.UNKNOWN
    inbox.comes(echo())
    assert inbox.state(send) is MessageState.CONFIRMED
    assert [step for step in inbox.steps(send) if step[0] == "unknown"] == [("unknown", "confirmed")]


def test_an_echo_overtakes_the_answer(inbox: Inbox) -> None:
    def answer(body: object, call: int) -> Outcome[Receipt]:
        inbox.comes(echo())
        return Outcome(Status.DONE, Receipt())

    inbox.client.answer = answer
    send = inbox.send(THEM)
    deliver_due(inbox.runtime)
    assert (inbox.state(send), len(inbox.client.sent)) == (MessageState.CONFIRMED, 1)


def test_one_event_settles_one_text_the_oldest_first(inbox: Inbox) -> None:
    first, second = sent(inbox, lost=True), sent(inbox, lost=True)
    inbox.comes(echo(message_id="out1"))
    assert (inbox.state(first), inbox.state(second)) == (MessageState.CONFIRMED, MessageState.UNKNOWN)
    inbox.comes(echo(message_id="out1"))
    assert inbox.state(second) is MessageState.UNKNOWN, "the same event again settles nothing more"
    inbox.comes(echo(message_id="out2"))
    assert inbox.state(second) is MessageState.CONFIRMED


@pytest.mark.parametrize("ids", [("out1", None), (None, "out1")])
def test_two_shapes_of_one_event_settle_one_text(inbox: Inbox, ids: tuple[str | None, str | None]) -> None:
    first, second = sent(inbox, lost=True), sent(inbox, lost=True)
    inbox.comes(echo(message_id=ids[0]))
    inbox.comes({"eventType": "message.sent", "timestamp": 1, "data": echo(message_id=ids[1])})
    assert (inbox.state(first), inbox.row(first).virtualtext_message_id) == (MessageState.CONFIRMED, "out1")
    assert inbox.state(second) is MessageState.UNKNOWN


def test_an_echo_without_id_belongs_to_the_text_whose_answer_was_heard(inbox: Inbox) -> None:
    lost = sent(inbox, lost=True)
    inbox.client.answer = lambda body, call: Outcome(Status.DONE, Receipt("out2"))
    heard = inbox.send(THEM)
    deliver_due(inbox.runtime)
    inbox.comes(echo(message_id=None))
    assert (inbox.state(heard), inbox.state(lost)) == (MessageState.CONFIRMED, MessageState.UNKNOWN)


def test_of_twins_the_accepted_one_has_the_echo(inbox: Inbox) -> None:
    lost, heard = sent(inbox, lost=True), sent(inbox)
    inbox.comes(echo(), {"eventType": "message.sent", "timestamp": 1, "data": echo(message_id=None)})
    assert (inbox.state(lost), inbox.state(heard)) == (MessageState.UNKNOWN, MessageState.CONFIRMED)
    inbox.comes(echo(message_id="out2"))
    assert inbox.state(lost) is MessageState.CONFIRMED, "a surplus echo settles the unknown one"


def test_an_echo_waits_for_the_response_of_a_twin_in_flight(inbox: Inbox) -> None:
    lost = sent(inbox, lost=True)

    def answer(body: object, call: int) -> Outcome[Receipt]:
        assert inbox.comes(echo()) == InboxReport(waiting=1)
        return Outcome(Status.DONE, Receipt())

    inbox.client.answer = answer
    heard = inbox.send(THEM)
    deliver_due(inbox.runtime)
    assert inbox.later() == InboxReport(done=1)
    assert (inbox.state(lost), inbox.state(heard)) == (MessageState.UNKNOWN, MessageState.CONFIRMED)


def test_the_second_format_of_a_late_echo_is_no_surplus(inbox: Inbox) -> None:
    lost, heard = sent(inbox, lost=True), sent(inbox)
    inbox.change(attempted_at=utcnow() - timedelta(minutes=20))
    inbox.comes(echo(), echo(message_id=None))
    assert (inbox.state(lost), inbox.state(heard)) == (MessageState.UNKNOWN, MessageState.CONFIRMED)


def test_a_text_that_was_provably_not_sent_is_not_confirmed(inbox: Inbox) -> None:
    inbox.client.answer = lambda body, call: Outcome(Status.NOT_DONE, cause=Cause.UNREACHABLE)
    send = inbox.send(THEM)
    deliver_due(inbox.runtime)
    assert inbox.comes(echo()) == InboxReport(ignored=1), "a person typed the same text"
    assert inbox.state(send) is MessageState.QUEUED


def test_the_echo_stops_a_text_that_a_person_wants_to_send_again(inbox: Inbox) -> None:
    send = sent(inbox, lost=True)
    resolve(inbox.runtime, send, "resend", "ann")
    inbox.comes(echo())
    assert inbox.state(send) is MessageState.CONFIRMED


@pytest.mark.parametrize(
    "other",
    [
        echo("hello you"),
        echo(to="+14155552099"),
        echo(FromNumber="+14155550199"),
        echo(Media=["https://a.example/1.png"]),
    ],
)
def test_another_text_settles_nothing(inbox: Inbox, other: dict[str, object]) -> None:
    send = sent(inbox, lost=True)
    assert inbox.comes(other) == InboxReport(ignored=1)
    assert inbox.state(send) is MessageState.UNKNOWN


def test_an_old_text_is_not_settled_by_a_new_one(inbox: Inbox) -> None:
    send = sent(inbox, lost=True)
    assert inbox.comes(echo(), at=utcnow() + timedelta(hours=7)) == InboxReport()  # not due yet: it is of the future
    inbox.later()
    assert inbox.state(send) is MessageState.UNKNOWN


def test_spaces_and_characters_may_differ(inbox: Inbox) -> None:
    send = sent(inbox, "caf\u00e9  at 5\n")
    inbox.comes(echo("cafe\u0301 at 5"))
    assert inbox.state(send) is MessageState.CONFIRMED


def test_a_record_has_its_echo_too(inbox: Inbox) -> None:
    from worker.messages.recording import record_due

    record = inbox.record("SM1", THEM, "sent elsewhere")
    record_due(inbox.runtime)
    inbox.comes(echo("sent elsewhere"))
    assert inbox.state(record) is MessageState.CONFIRMED


# --- receipts


@pytest.mark.parametrize(("status", "state"), [("delivered", "delivered"), ("failed", "failed"), ("sent", "confirmed")])
def test_receipts(inbox: Inbox, status: str, state: str) -> None:
    send = sent(inbox)
    inbox.comes(echo(), {"MessageID": "out1", "status": status})
    assert inbox.state(send) == state
    inbox.comes({"MessageID": "out1", "status": status})
    assert inbox.state(send) == state


@pytest.mark.parametrize(("first", "late"), [("delivered", "failed"), ("failed", "delivered"), ("delivered", "sent")])
def test_the_first_word_about_what_became_of_a_text_counts(inbox: Inbox, first: str, late: str) -> None:
    send = sent(inbox)
    inbox.comes(echo(), {"MessageID": "out1", "status": first})
    assert inbox.comes({"MessageID": "out1", "status": late}) == InboxReport(done=1)
    assert inbox.state(send) == first


def test_a_receipt_of_a_record_changes_nothing(inbox: Inbox) -> None:
    from worker.messages.recording import record_due

    record = inbox.record("SM1", THEM, "sent elsewhere")
    record_due(inbox.runtime)
    inbox.comes(echo("sent elsewhere"))
    assert inbox.comes({"MessageID": "out1", "status": "failed"}) == InboxReport(done=1)
    assert inbox.state(record) is MessageState.CONFIRMED


def test_a_receipt_that_overtakes_its_echo_waits(inbox: Inbox) -> None:
    send = sent(inbox)
    assert inbox.comes({"MessageID": "out1", "status": "delivered"}) == InboxReport(waiting=1)
    inbox.comes(echo())
    assert inbox.later().done == 1
    assert inbox.state(send) is MessageState.DELIVERED


def test_a_receipt_of_somebody_elses_text_is_let_go(inbox: Inbox) -> None:
    inbox.comes({"MessageID": "typed-in-the-app", "status": "delivered"})
    reports = [inbox.later() for _ in range(4)]
    assert [report.waiting for report in reports] == [1, 1, 1, 0]
    assert reports[-1].ignored == 1


# --- replies


def test_a_reply_is_kept_and_announced(inbox: Inbox) -> None:
    inbox.comes(inbound(Media=["https://a.example/1.png"]))
    (reply,) = inbox.replies()
    assert (reply.from_number, reply.text, reply.media) == (THEM, "Hello", '["https://a.example/1.png"]')
    assert inbox.announced() == ["message.received"]


TWINS = [
    inbound(),
    inbound(message_id=None),
    {"eventType": "message.received", "timestamp": 1, "data": inbound()},
    {"eventType": "message.received", "timestamp": 1, "data": inbound(message_id=None)},
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_every_shape_of_one_reply_is_one_reply(inbox: Inbox, order: tuple[int, ...]) -> None:
    for index in order:
        inbox.comes(TWINS[index])
    (reply,) = inbox.replies()
    assert reply.virtualtext_message_id == "in1"
    assert inbox.announced() == ["message.received"]


@pytest.mark.parametrize(
    ("first", "second", "seconds", "replies"),
    [
        (inbound("Ok!", "in1"), inbound("Ok!", "in2"), 1, 1),
        (inbound("Ok!", "in1"), inbound(" Ok!\n", "in2"), 9, 1),
        (inbound("Ok!", "in1"), inbound("Ok!", "in2"), 11, 2),
        (inbound("Ok!", "in1"), inbound("Ok", "in2"), 1, 2),
        (inbound("Ok!", "in1"), inbound("Ok!", "in2", ToNumber="+14155550199"), 1, 2),
        (inbound("Ok!", "in1"), inbound("Ok!", "in2", FromNumber="+14155550177"), 1, 2),
        (inbound("", "in1", Media=["https://a.b/1"]), inbound("", "in2", Media=["https://a.b/2"]), 1, 2),
        (inbound("STOP", "in1"), inbound("STOP", "in2"), 1, 2),
    ],
)
def test_one_sms_that_a_carrier_delivers_twice_under_two_ids_is_one_reply(
    inbox: Inbox, first: dict[str, Any], second: dict[str, Any], seconds: int, replies: int
) -> None:
    now = utcnow()
    inbox.comes(first, at=now - timedelta(seconds=seconds))
    inbox.comes(second, at=now)
    assert len(inbox.replies()) == inbox.announced().count("message.received") == replies
    assert len(inbox.events()) == 2, "the second event is kept, too"
    assert inbox.announced().count("contact.opted_out") == ("STOP" in first.values())


def test_the_same_words_later_are_another_reply(inbox: Inbox) -> None:
    inbox.comes(inbound("ok", None), at=utcnow() - timedelta(minutes=10))
    inbox.comes(inbound("ok", None))
    assert len(inbox.replies()) == 2


def test_what_is_not_understood_is_kept_with_the_reason(inbox: Inbox) -> None:
    assert inbox.comes({"hello": "world"}, inbound()) == InboxReport(done=1, failed=1)
    (failed,) = [event for event in inbox.events() if event.state == "failed"]
    assert "neither text nor media" in failed.detail


def test_an_id_that_is_too_long_for_an_index_is_no_trouble(inbox: Inbox) -> None:
    long = "".join(f"{n:x}" for n in range(20_000))
    inbox.comes(inbound(message_id=long), inbound(message_id=long), inbound("Bye", message_id=long + "x"))
    assert len(inbox.replies()) == 2


# --- opt-outs


def test_stop_and_start(inbox: Inbox) -> None:
    waiting = inbox.send(THEM, "later")
    inbox.comes(inbound("STOP", "in1"))
    assert out(inbox)
    deliver_due(inbox.runtime)
    assert inbox.state(waiting) is MessageState.SUPPRESSED
    inbox.comes(inbound("Start", "in2"))
    assert not out(inbox)
    assert inbox.announced().count("contact.opted_out") == inbox.announced().count("contact.opted_in") == 1


def test_the_newest_word_counts_in_whichever_order_they_are_read(inbox: Inbox) -> None:
    now = utcnow()
    inbox.comes(inbound("START", "in2"), at=now - timedelta(seconds=5))
    inbox.comes(inbound("STOP", "in1"), at=now - timedelta(seconds=10))
    assert not out(inbox)
    inbox.comes(inbound("STOP", "in4"), at=now - timedelta(seconds=1))
    inbox.comes(inbound("START", "in3"), at=now - timedelta(seconds=3))
    assert out(inbox)


def test_a_clear_sentence_opts_out_with_its_words_as_the_proof(inbox: Inbox) -> None:
    inbox.comes(inbound("pls stop msging me - Ana", "in1"))
    with reading(inbox.engine) as connection:
        assert opted_out(connection, [THEM])[THEM].detail == 'wrote "pls stop msging me - Ana"'
    assert inbox.announced() == ["message.received", "contact.opted_out"]


def test_yes_resumes_only_who_had_opted_out(inbox: Inbox) -> None:
    inbox.comes(inbound("YES", "in1"))
    with writing(inbox.engine) as connection:
        add_opt_out(connection, THEM, source="relay", detail="STOP", now=utcnow())
    inbox.comes(inbound("Yes", "in2"))
    assert not out(inbox)


def test_words_that_may_mean_stop_hold_texts_until_a_person_has_read_them(inbox: Inbox) -> None:
    send = inbox.send(THEM)
    inbox.comes(inbound("please leave me alone", "in1"))
    assert not out(inbox)
    deliver_due(inbox.runtime)
    assert inbox.state(send) is MessageState.HELD
    with reading(inbox.engine) as connection:
        (review,) = open_reviews(connection)
    assert (review.phone, review.excerpt) == (THEM, "please leave me alone")
    inbox.comes(inbound("STOP", "in2"))
    deliver_due(inbox.runtime)
    assert (out(inbox), inbox.state(send)) == (True, MessageState.SUPPRESSED)


def test_yes_is_no_answer_to_whether_stop_was_meant(inbox: Inbox) -> None:
    inbox.comes(inbound("please leave me alone", "in1"), inbound("Yes", "in2"))
    with reading(inbox.engine) as connection:
        assert [review.phone for review in open_reviews(connection)] == [THEM]


def test_help_is_kept_as_such(inbox: Inbox) -> None:
    inbox.comes(inbound("HELP"))
    assert [reply.keyword for reply in inbox.replies()] == ["help"]
    assert not out(inbox)


def test_a_short_code_opts_nobody_out(inbox: Inbox) -> None:
    inbox.comes(inbound("STOP", FromNumber="262966"))
    assert [reply.from_number for reply in inbox.replies()] == ["262966"]
    assert "contact.opted_out" not in inbox.announced()


# --- the id of the conversation


@pytest.mark.parametrize("event", [echo, inbound])
def test_a_text_gives_a_contact_its_old_id_back(inbox: Inbox, event: Any) -> None:
    """VirtualText seemed not to know the id, the contact was created again, and the conversation still has the id."""
    row = {"account": "main", "phone": THEM, "wanted_hash": b"h", "pushed_hash": b"h", "created_at": utcnow()}
    with writing(inbox.engine) as connection:
        connection.execute(
            contact.insert(), row | {"virtualtext_id": "new", "former_id": "old", "push_state": PushState.SYNCED}
        )
    inbox.comes(event(ConversationID="another"))
    assert [one.virtualtext_id for one in inbox.rows(contact)] == ["new"]
    inbox.comes(event(message_id="m2", ConversationID="old"))
    (after,) = inbox.rows(contact)
    assert (after.virtualtext_id, after.former_id, after.push_state) == ("old", None, PushState.DUE)
