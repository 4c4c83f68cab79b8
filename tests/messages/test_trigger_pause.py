"""A paused trigger: none of its texts begins, none goes later by surprise, and none vanishes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from config.models import Connection
from config.triggers import CreatedTrigger, DateTrigger
from tests.messages.conftest import Outbox, crm_record_of, number
from tests.messages.test_blast_guard import slice_of
from worker.core.states import MessageState
from worker.messages import dispatch, simulation
from worker.messages.decisions import WrongState, approve, cancel, resolve
from worker.messages.delivery import deliver_due
from worker.messages.expiry import expire_messages
from worker.messages.intents import insert_planned
from worker.messages.transitions import reason_code
from worker.messages.trigger_pause import PausedTrigger, ResumedTrigger, pause_texts, resume_texts
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import message
from worker.triggers.evaluate import TextIntent
from worker.triggers.rules import compile_rules

S = MessageState
LATER = timedelta(hours=5)
RECORDS = 40


@pytest.fixture
def box(box: Outbox) -> Outbox:
    """The triggers whose texts the tests put into the outbox, about records that a sync has read."""
    of = {"connections": ["crm"], "message": "Hi"}
    settings = box.runtime.settings.model_copy(
        update={
            "connections": {"crm": Connection(adapter="csv", account="main", default_region="US")},
            "triggers": {
                "welcome": CreatedTrigger(on="created", **of),
                "other": CreatedTrigger(on="created", **of),
                "visit": DateTrigger(on="date", field="visit", **of),
            },
        }
    )
    box.runtime.settings = settings
    for one in range(RECORDS):
        crm_record_of(box.engine, "crm", str(one), number(one))
    return box


def pause(box: Outbox, trigger: str = "welcome", reason: str = "the link is wrong") -> PausedTrigger:
    with writing(box.engine) as connection:
        return pause_texts(connection, trigger, reason=reason, actor="ana", now=utcnow())


def resume(box: Outbox, trigger: str = "welcome") -> ResumedTrigger:
    with writing(box.engine) as connection:
        return resume_texts(connection, trigger)


def code(box: Outbox, message_id: str) -> str:
    return reason_code(box.row(message_id).reason)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({}, (S.HELD, "paused"), "it is due"),
        ({"due_at": utcnow() + LATER}, (S.HELD, "paused"), "it is due later"),
        ({"approved_at": utcnow()}, (S.HELD, "paused"), "a person had approved it"),
        ({"urgent": True}, (S.HELD, "paused"), "it is urgent"),
        ({"lease_owner": "worker", "lease_until": utcnow() + LATER}, (S.HELD, "paused"), "a worker has claimed it"),
        ({"state": S.HELD, "reason": "approval: x"}, (S.HELD, "approval"), "it waits for an approval anyway"),
        ({"state": S.HELD, "reason": "run: x"}, (S.HELD, "run"), "the end of its run decides"),
        ({"state": S.DISPATCHING}, (S.DISPATCHING, ""), "its request has begun"),
        ({"state": S.UNKNOWN}, (S.UNKNOWN, ""), "it may have been sent"),
        ({"state": S.ACCEPTED}, (S.ACCEPTED, ""), "it was sent"),
        ({"trigger": "other"}, (S.QUEUED, ""), "it is of another trigger"),
        ({"trigger": None, "source": "task"}, (S.QUEUED, ""), "it is of no trigger"),
    ],
)
def test_what_a_pause_does_to_a_text(box: Outbox, before: dict[str, Any], after: tuple[S, str], why: str) -> None:
    text = box.trigger_text("welcome", **before)
    done = pause(box)
    row = box.row(text)
    assert (row.state, reason_code(row.reason)) == after, why
    assert (done.changed, done.held, done.going) == (True, after[1] == "paused", after[0] is S.DISPATCHING)
    if after[1] == "paused":
        assert "by ana (the link is wrong)" in row.reason
        assert "`vtsync resume trigger welcome`" in row.reason
        assert row.lease_owner is None


def test_a_second_pause_keeps_the_first_and_a_second_end_does_nothing(box: Outbox) -> None:
    first, second = pause(box), pause(box, reason="something else")
    assert (first.changed, second.changed) == (True, False)
    assert second.pause == first.pause
    assert resume(box).pause == first.pause
    assert resume(box) == ResumedTrigger(None, 0, 0)


def test_what_is_held_stays_held_after_the_pause_until_somebody_approves(box: Outbox) -> None:
    wanted, unwanted = box.trigger_text("welcome", number(1), "1"), box.trigger_text("welcome", number(2), "2")
    other = box.trigger_text("welcome", number(3), "3", state=S.HELD, reason="approval: x")
    pause(box)
    assert approve(box.runtime, trigger="welcome", actor="test") == 0, "the trigger is paused"
    assert resume(box).held == 2
    assert deliver_due(box.runtime).accepted == 0
    assert cancel(box.runtime, message_ids=[unwanted], actor="test") == 1
    assert approve(box.runtime, trigger="welcome", codes=("paused",), actor="test") == 1
    assert deliver_due(box.runtime).accepted == 1
    assert box.states() == {wanted: S.ACCEPTED, unwanted: S.CANCELLED, other: S.HELD}


def test_an_approved_text_keeps_its_time_and_a_held_one_expires(box: Outbox) -> None:
    later, late = utcnow() + LATER, utcnow() + timedelta(seconds=1)
    planned = box.trigger_text("welcome", number(1), "1", due_at=later)
    expiring = box.trigger_text("welcome", number(2), "2", expires_at=late)
    pause(box)
    with writing(box.engine) as connection:
        assert expire_messages(connection, late) == 1
    resume(box)
    approve(box.runtime, trigger="welcome", actor="test")
    assert box.row(planned).due_at == later
    assert (deliver_due(box.runtime).accepted, box.state(expiring)) == (0, S.EXPIRED)


def test_what_goes_back_into_the_queue_is_held_before_it_is_sent(box: Outbox) -> None:
    """A person may ask for an unknown text again, or a review may end, while the trigger is paused."""
    unknown = box.trigger_text("welcome", number(1), "1", state=S.UNKNOWN)
    pause(box)
    resolve(box.runtime, unknown, "resend", "test")
    released = box.trigger_text("welcome", number(2), "2")
    assert deliver_due(box.runtime).held == 2
    assert box.client.sent == []
    assert {code(box, one) for one in (unknown, released)} == {"paused"}
    with pytest.raises(WrongState):
        resolve(box.runtime, unknown, "resend", "test")


@pytest.mark.parametrize(
    ("limit", "expected", "why"),
    [
        (100, "paused", "nothing else holds it"),
        (0, "approval", "the blast guard holds it: that reason is not lost when the pause ends"),
    ],
)
def test_the_texts_of_a_sync_are_held_at_its_end(box: Outbox, limit: int, expected: str, why: str) -> None:
    pause(box)
    verdict = slice_of(box, [1, 2], limit, "batch")
    assert (verdict.released, verdict.held) == (0, 2), why
    assert {code(box, one) for one in box.states()} == {expected}, why
    done = resume(box)
    assert (done.held, done.held_otherwise) == ((2, 0) if expected == "paused" else (0, 2)), why
    assert slice_of(box, [3], 100, "next").released == 1, "the trigger texts again"


def test_the_texts_of_a_date_are_held_when_they_are_made(box: Outbox) -> None:
    settings = box.runtime.settings
    (rule,) = (one for one in compile_rules(settings)["crm"] if one.name == "visit")
    pause(box, "visit")
    crm_record_of(box.engine, "crm", "99", number(99), properties='{"visit": "2027-01-01"}')
    intent = TextIntent("visit", "crm", "99", None, number(99), "See you", (), None, None, "2027-01-01")
    with writing(box.engine) as connection:
        assert insert_planned(connection, settings, rule, [intent], utcnow()) == 1
    (made,) = box.states()
    assert (box.state(made), code(box, made)) == (S.HELD, "paused")


def test_a_text_that_becomes_due_while_the_pause_commits_finds_it(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is queued after the pause has held what was queued, and its worker decides before the pause commits."""
    decided, committed = threading.Event(), threading.Event()

    def simulate(*args: Any) -> Any:  # called between the decision and the commit
        decided.set()
        committed.wait(10)
        return simulation.simulate(*args)

    monkeypatch.setattr(dispatch, "simulate", simulate)

    def work() -> None:
        box.trigger_text("welcome", number(1), "1")
        deliver_due(box.runtime)

    worker = threading.Thread(target=work)
    with writing(box.engine) as connection:
        pause_texts(connection, "welcome", reason="", actor="ana", now=utcnow())
        worker.start()
        decided.wait(1)
    committed.set()
    worker.join(30)
    (text,) = box.states()
    assert (box.state(text), code(box, text)) == (S.HELD, "paused")
    assert box.client.sent == []


@pytest.mark.parametrize("seed", range(3))
def test_no_text_begins_after_the_pause_has_committed(box: Outbox, seed: int) -> None:
    """Several workers send while a person pauses. What has begun when the pause commits is all that goes."""
    texts = [box.trigger_text("welcome", number(i), record=str(i)) for i in range(RECORDS)]
    others = [box.send(number(100 + i)) for i in range(10)]
    begun = threading.Semaphore(0)
    answer = box.client.answer

    def count(body: Any, attempt: int) -> Any:
        begun.release()
        return answer(body, attempt)

    box.client.answer = count
    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(deliver_due, box.runtime) for _ in range(3)]
        for _ in range(3 + 5 * seed):
            assert begun.acquire(timeout=30)
        with writing(box.engine) as connection:
            done = pause_texts(connection, "welcome", reason="", actor="ana", now=utcnow())
            states = select(message.c.state, func.count()).where(message.c.trigger == "welcome")
            then = {row[0]: row[1] for row in connection.execute(states.group_by(message.c.state))}
        for worker in workers:
            worker.result(60)
    now = box.states()
    sent = [one for one in texts if now[one] is S.ACCEPTED]
    assert len(sent) == then.get(S.ACCEPTED, 0) + then.get(S.DISPATCHING, 0)
    assert done.going >= then.get(S.DISPATCHING, 0), "a text may end between the two statements, and none may begin"
    assert {now[one] for one in texts} <= {S.ACCEPTED, S.HELD}
    assert sum(body.text.startswith("welcome") for body in box.client.sent) == len(sent)
    assert {now[one] for one in others} == {S.ACCEPTED}, "a pause holds nothing else"
    with reading(box.engine) as connection:
        held = connection.scalar(select(func.count()).where(message.c.reason.startswith("paused:")))
    assert held == len(texts) - len(sent)
