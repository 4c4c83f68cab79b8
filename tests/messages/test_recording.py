"""Texts sent elsewhere are recorded in their order, once per carrier message, and nothing is ever sent for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.messages.conftest import Outbox, number
from worker.core.states import MessageState
from worker.messages.claims import expire_leases
from worker.messages.decisions import retry
from worker.messages.opt_outs import opted_out
from worker.messages.recording import RecordingReport, record_due
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.virtualtext.outcomes import Cause, MessageBody, Outcome, Receipt, Status

DONE: Outcome[Receipt] = Outcome(Status.DONE, Receipt())
LOST: Outcome[Receipt] = Outcome(Status.UNKNOWN, cause=Cause.GATEWAY, detail="502")


def not_done(cause: Cause, **more: Any) -> Outcome[Receipt]:
    return Outcome(Status.NOT_DONE, cause=cause, detail="no", **more)


def conversation(box: Outbox, person: int, texts: int) -> list[str]:
    """Records of one conversation, reported newest first."""
    start = utcnow() - timedelta(hours=1)
    made = [
        box.record(f"SM{person}-{i}", number(person), f"{person}:{i}", sent_at=start + timedelta(minutes=i))
        for i in reversed(range(texts))
    ]
    return made[::-1]


def recorded(box: Outbox, person: int) -> list[int]:
    return [int(body.text.split(":")[1]) for body in box.client.recorded if body.to == number(person)]


def test_each_conversation_is_recorded_in_the_order_of_sending(box: Outbox) -> None:
    for person in range(5):
        conversation(box, person, 4)
    assert record_due(box.runtime) == RecordingReport(recorded=20)
    assert record_due(box.runtime) == RecordingReport()
    assert [recorded(box, person) for person in range(5)] == [[0, 1, 2, 3]] * 5
    assert box.client.sent == []


def test_equal_times_keep_the_order_of_reporting(box: Outbox) -> None:
    at = utcnow()
    for i in range(5):
        box.record(f"SM{i}", text=f"0:{i}", sent_at=at)
    record_due(box.runtime)
    assert recorded(box, 0) == [0, 1, 2, 3, 4]


def test_conversations_go_in_parallel_but_never_one_with_itself(box: Outbox) -> None:
    busy: set[str] = set()
    overlaps = []

    def answer(body: MessageBody, call: int) -> Outcome[Receipt]:
        if body.to in busy:
            overlaps.append(body)
        busy.add(body.to)
        record_due(box.runtime)  # another worker comes by
        busy.discard(body.to)
        return DONE

    box.client.answer = answer
    for person in range(3):
        conversation(box, person, 2)
    record_due(box.runtime)
    assert overlaps == []
    assert [recorded(box, person) for person in range(3)] == [[0, 1]] * 3


def test_what_follows_waits_while_one_backs_off(box: Outbox) -> None:
    first, second = conversation(box, 0, 2)
    conversation(box, 1, 2)
    lost: Outcome[Receipt] = Outcome(Status.UNKNOWN, cause=Cause.CONNECTION_LOST)
    box.client.answer = lambda body, call: lost if body.text == "0:0" else DONE
    assert record_due(box.runtime) == RecordingReport(recorded=2, requeued=1)
    assert recorded(box, 0) == [0]
    assert recorded(box, 1) == [0, 1]
    assert box.state(second) is MessageState.QUEUED
    box.client.answer = lambda body, call: DONE
    assert record_due(box.runtime) == RecordingReport()  # still waiting
    box.all_due()
    assert record_due(box.runtime).recorded == 2
    assert recorded(box, 0) == [0, 0, 1]
    assert box.state(first) is MessageState.ACCEPTED


def test_an_account_that_cannot_be_reached_pauses(box: Outbox) -> None:
    conversation(box, 0, 2)
    conversation(box, 1, 2)
    box.client.answer = lambda body, call: not_done(Cause.UNREACHABLE)
    report = record_due(box.runtime)
    assert report.requeued <= 2  # those that were under way at the same time
    assert "could not be reached" in report.waiting[0][1]
    box.client.answer = lambda body, call: DONE
    assert record_due(box.runtime).recorded == 0
    box.all_due()
    assert record_due(box.runtime).recorded == 4


def test_what_follows_a_refused_record_goes_on(box: Outbox) -> None:
    first, second = conversation(box, 0, 2)
    box.client.answer = lambda body, call: not_done(Cause.REJECTED) if body.text == "0:0" else DONE
    assert record_due(box.runtime) == RecordingReport(recorded=1, rejected=1)
    assert (box.state(first), box.state(second)) == (MessageState.REJECTED, MessageState.ACCEPTED)
    box.client.answer = lambda body, call: DONE
    assert retry(box.runtime, [first], "ann") == 1
    assert record_due(box.runtime).recorded == 1


def test_a_lost_answer_is_tried_again_a_few_times(box: Outbox) -> None:
    first, second = conversation(box, 0, 2)
    box.client.answer = lambda body, call: LOST if body.text == "0:0" else DONE
    for _ in range(4):
        assert record_due(box.runtime).requeued == 1
        box.all_due()
    assert record_due(box.runtime).unknown == 1
    box.all_due()  # five failures in a row opened the breaker
    assert record_due(box.runtime) == RecordingReport(recorded=1)
    assert (box.state(first), box.state(second)) == (MessageState.UNKNOWN, MessageState.ACCEPTED)
    assert "look at the conversation" in box.row(first).reason


def test_a_vanished_worker_costs_a_record_nothing(box: Outbox) -> None:
    record = box.record("SM1")

    def answer(body: MessageBody, call: int) -> Outcome[Receipt]:
        if call == 1:
            box.leases_run_out()
            with writing(box.engine) as connection:
                expire_leases(connection, utcnow())
            assert box.state(record) is MessageState.QUEUED
        return DONE

    box.client.answer = answer
    record_due(box.runtime)
    assert box.state(record) is MessageState.ACCEPTED
    assert len(box.client.recorded) == 1  # its answer came after all, so it was not repeated


def test_an_opt_out_is_kept_but_the_record_is_no_suppressed_text(box: Outbox) -> None:
    record = box.record("SM1")
    box.client.answer = lambda body, call: not_done(Cause.OPTED_OUT)
    assert record_due(box.runtime).rejected == 1
    assert box.state(record) is MessageState.REJECTED
    with reading(box.engine) as connection:
        assert number(0) in opted_out(connection, [number(0)])


def test_opt_outs_do_not_keep_a_text_that_was_sent_from_being_recorded(box: Outbox) -> None:
    box.client.answer = lambda body, call: not_done(Cause.OPTED_OUT) if call == 1 else DONE
    box.record("SM1")
    box.record("SM2")
    assert record_due(box.runtime) == RecordingReport(recorded=1, rejected=1)


def test_a_wrong_credential_stops_recording_too(box: Outbox) -> None:
    for person in range(30):
        conversation(box, person, 1)
    box.client.answer = lambda body, call: not_done(Cause.CREDENTIALS)
    assert record_due(box.runtime).waiting[0][0] == "main"
    assert box.client._calls <= 4
    assert set(box.states().values()) == {MessageState.QUEUED}


def test_named_records_still_keep_their_conversations_order(box: Outbox) -> None:
    first, second = conversation(box, 0, 2)
    assert record_due(box.runtime, message_ids=[second]) == RecordingReport()
    assert record_due(box.runtime, message_ids=[first]) == RecordingReport(recorded=1)
    assert record_due(box.runtime, message_ids=[second]) == RecordingReport(recorded=1)
