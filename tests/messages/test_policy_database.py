"""The policy with a store: caps and duplicates while two workers send, the breaker, reviews, the order of texts."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from config.models import Connection, Policy
from config.triggers import CreatedTrigger
from tests.messages.conftest import Outbox, crm_record_of, number
from worker.core.states import MessageState
from worker.messages import holds
from worker.messages.batches import release_or_hold_batch
from worker.messages.decisions import (
    WrongState,
    approve,
    cancel,
    decide_review,
    opt_out_number,
    resolve,
    retry,
)
from worker.messages.delivery import deliver_due
from worker.messages.holds import reconsider
from worker.messages.intents import insert_intents
from worker.messages.opt_outs import end_review, open_review, opted_out
from worker.messages.policy_facts import load_facts
from worker.store.db import reading, writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.tables import message, message_event, rejected_record
from worker.triggers.evaluate import TextIntent

# Where nothing in it is told apart by PostgreSQL that another test here does not ask of it.
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

OFF: dict[str, Any] = {"quiet_hours": "none", "duplicate_window": timedelta(0), "max_per_contact": None}


def configure(box: Outbox, **policy: Any) -> None:
    connections = {"crm": Connection(adapter="csv", account="main")}
    triggers = {"welcome": CreatedTrigger(connections=("crm",), on="created", message="Hi")}
    update = {"policy": Policy(**(OFF | policy)), "connections": connections, "triggers": triggers}
    box.runtime.settings = box.runtime.settings.model_copy(update=update)


def deliver_at_once(box: Outbox, ids: list[str], workers: int = 2) -> None:
    """Several workers, each with its share of the messages, from the same moment on."""
    start = threading.Barrier(workers)

    def work(share: list[str]) -> None:
        start.wait()
        deliver_due(box.runtime, message_ids=share)

    threads = [threading.Thread(target=work, args=(ids[index::workers],)) for index in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_workers_keep_one_persons_cap(box: Outbox) -> None:
    configure(box, max_per_contact=3)
    ids = [box.send(text=f"text {index}") for index in range(10)]
    deliver_at_once(box, ids)
    assert len(box.client.sent) == 3
    waiting = [box.row(one) for one in ids if box.state(one) is MessageState.QUEUED]
    assert len(waiting) == 7
    first = min(row.attempted_at for row in (box.row(one) for one in ids) if row.attempted_at is not None)
    assert {row.due_at for row in waiting} == {first + timedelta(hours=24)}
    assert all(row.reason.startswith("cap:") for row in waiting)


def test_two_workers_keep_an_accounts_cap(box: Outbox) -> None:
    configure(box, max_per_account=5)
    ids = [box.send(number(index), "hello") for index in range(14)]
    deliver_at_once(box, ids)
    assert len(box.client.sent) == 5


def test_two_workers_send_the_same_text_to_the_same_number_once(box: Outbox) -> None:
    configure(box, duplicate_window=timedelta(hours=1))
    ids = [box.send() for _ in range(6)]
    deliver_at_once(box, ids)
    assert len(box.client.sent) == 1
    assert Counter(box.state(one) for one in ids) == {MessageState.ACCEPTED: 1, MessageState.SUPPRESSED: 5}
    (sent,) = [one for one in ids if box.state(one) is MessageState.ACCEPTED]
    reasons = {box.row(one).reason for one in ids if one != sent}
    assert all(reason.startswith(f"duplicate: message {sent} sent the same text") for reason in reasons)


@ON_SQLITE
@pytest.mark.parametrize("state", MessageState)
def test_what_somebody_may_have_got_counts_as_said_and_against_the_cap(box: Outbox, state: MessageState) -> None:
    configure(box, duplicate_window=timedelta(hours=1), max_per_contact=1)
    first, same, other = box.send(), box.send(), box.send(text="other")
    picture = box.send(media=("https://a.example/b.png",))
    box.change(first, state=state, attempted_at=utcnow())
    with reading(box.engine) as connection:
        views = [
            load_facts(connection, box.row(one)._asdict(), box.runtime.settings, utcnow())
            for one in (same, other, picture)
        ]
    got = state in ("dispatching", "accepted", "confirmed", "delivered", "unknown", "failed")
    assert [view.duplicate_of for view in views] == [first if got else "", "", ""]
    assert [len(view.full_caps) for view in views] == [got, got, got]


@ON_SQLITE
def test_a_text_is_no_duplicate_of_itself(box: Outbox) -> None:
    configure(box, duplicate_window=timedelta(hours=1))
    first = box.send()
    deliver_due(box.runtime)
    box.change(first, state=MessageState.FAILED)
    assert retry(box.runtime, [first], "ann") == 1
    deliver_due(box.runtime)
    assert len(box.client.sent) == 2


@ON_SQLITE
def test_neither_a_persons_word_nor_another_account_says_the_same_twice(box: Outbox) -> None:
    configure(box, duplicate_window=timedelta(hours=1), blast_limit=1)
    first = box.send(text="Hi")
    deliver_due(box.runtime)
    box.change(first, account="another")
    assert fire(box, range(2), "b1") == (0, 2)
    assert approve(box.runtime, batch_id="b1", actor="ann") == 2
    deliver_due(box.runtime)
    assert sorted(body.to for body in box.client.sent) == [number(0), number(1)]
    assert Counter(box.states().values()) == {MessageState.ACCEPTED: 2, MessageState.SUPPRESSED: 1}


# The breaker.


def fired_before(box: Outbox, days: int, a_day: int) -> None:
    """The trigger's past: so many texts on each of the last days."""
    template = box.row(box.send(number(90)))._mapping
    rows = [
        dict(template)
        | {
            "id": new_message_id(),
            "idempotency_key": f"past:{day}:{index}",
            "trigger": "welcome",
            "state": MessageState.DELIVERED,
            "created_at": utcnow() - timedelta(days=day + 1, hours=12),
        }
        for day in range(days)
        for index in range(a_day)
    ]
    with writing(box.engine) as connection:
        connection.execute(insert(message), rows)


def fire(box: Outbox, people: range, batch: str) -> tuple[int, int]:
    """A sync run that texts these people: how many of its texts go, and how many wait."""
    for index in people:
        crm_record_of(box.engine, "crm", str(index), number(index))
    policy, now = box.runtime.settings.policy, utcnow()
    intents = [
        TextIntent("welcome", "crm", str(index), None, number(index), "Hi", (), None, None, "created")
        for index in people
    ]
    with writing(box.engine) as connection:
        insert_intents(connection, "main", "+14155550100", batch, intents, box.runtime.settings, now)
        verdict = release_or_hold_batch(connection, batch, policy.blast_limit, now, policy)
    return verdict.released, verdict.held


def test_a_trigger_that_runs_wild_is_held_until_a_person_approves(box: Outbox) -> None:
    configure(box, breaker_floor=2, breaker_factor=1.5, blast_limit=100)
    fired_before(box, days=3, a_day=2)
    assert fire(box, range(3), "b1") == (3, 0)
    assert fire(box, range(10, 13), "b2") == (0, 3)
    deliver_due(box.runtime)
    assert len(box.client.sent) == 4  # three, and the one that the past was made of
    with reading(box.engine) as connection:
        reasons = set(connection.scalars(select(message.c.reason).where(message.c.state == MessageState.HELD)))
    (reason,) = reasons
    assert reason.startswith("breaker: its trigger made 6 texts in 24 hours, and 2 on its busiest earlier day")
    assert "vtsync approve --trigger welcome" in reason
    assert approve(box.runtime, trigger="welcome", actor="ann") == 3
    assert deliver_due(box.runtime).accepted == 3
    assert fire(box, range(20, 22), "b3") == (2, 0)  # the count begins anew
    assert fire(box, range(30, 34), "b4") == (0, 4)


def test_sending_one_text_again_does_not_reset_the_breaker(box: Outbox) -> None:
    configure(box, breaker_floor=2, breaker_factor=1.0, blast_limit=100)
    fired_before(box, days=3, a_day=2)
    assert fire(box, range(2), "b1") == (2, 0)
    deliver_due(box.runtime)
    with reading(box.engine) as connection:
        one = connection.scalar(select(message.c.id).where(message.c.batch_id == "b1").limit(1))
    assert one is not None
    box.change(one, state=MessageState.FAILED)
    retry(box.runtime, [one], "ann")
    assert fire(box, range(10, 12), "b2") == (0, 2)


@ON_SQLITE
def test_a_trigger_without_a_past_has_only_the_blast_limit(box: Outbox) -> None:
    configure(box, breaker_floor=1, breaker_factor=1.0, blast_limit=100)
    fired_before(box, days=2, a_day=1)
    assert fire(box, range(6), "b1") == (6, 0)


@ON_SQLITE
def test_an_approved_text_is_not_held_again(box: Outbox) -> None:
    configure(box, blast_limit=1, breaker_floor=1, breaker_factor=1.0)
    fired_before(box, days=3, a_day=1)
    assert fire(box, range(4), "b1") == (0, 4)
    assert approve(box.runtime, batch_id="b1", actor="ann") == 4
    assert deliver_due(box.runtime).accepted == 5
    assert not [state for state in box.states().values() if state is MessageState.HELD]


# Two people.


@pytest.mark.parametrize(
    ("state", "reason", "choices"),
    [
        (MessageState.UNKNOWN, "timeout: lost", {"ann": MessageState.CONFIRMED, "bob": MessageState.QUEUED}),
        (MessageState.HELD, "approval: many", {"ann": MessageState.QUEUED, "bob": MessageState.CANCELLED}),
    ],
)
def test_of_two_people_who_decide_at_once_one_does(
    box: Outbox, state: MessageState, reason: str, choices: dict[str, MessageState]
) -> None:
    ids = [box.send(number(index)) for index in range(12)]
    box.change(state=state, reason=reason)
    start, refusals = threading.Barrier(2), []

    def decide(actor: str) -> None:
        start.wait()
        for one in ids if actor == "ann" else reversed(ids):
            if state is MessageState.HELD:
                (approve if actor == "ann" else cancel)(box.runtime, message_ids=[one], actor=actor)
                continue
            try:
                resolve(box.runtime, one, "sent" if actor == "ann" else "resend", actor)
            except WrongState as error:
                refusals.append(str(error))

    threads = [threading.Thread(target=decide, args=(actor,)) for actor in choices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in ids:
        decided = [actor for actor, _ in actors(box, one)[1:]]
        # What Ann approved waits in the queue, where Bob may still cancel it.
        assert decided in (["ann"], ["bob"], *([["ann", "bob"]] if state is MessageState.HELD else []))
        assert box.state(one) is choices[decided[-1]]
    if state is MessageState.UNKNOWN:
        assert len(refusals) == len(ids)
        assert not any(f"is {MessageState.UNKNOWN};" in words for words in refusals), "it says what it is by now"


# A person who may have asked to be left alone.


def reviewed(box: Outbox) -> str:
    with writing(box.engine) as connection:
        open_review(connection, number(0), excerpt="please no more", inbound_id="i1", since=utcnow())
    held = box.send()
    deliver_due(box.runtime)
    assert box.state(held) is MessageState.HELD
    assert box.row(held).reason.startswith("review:")
    return held


def test_texts_wait_while_a_person_reads_and_go_on_when_it_was_nothing(box: Outbox) -> None:
    held, other = reviewed(box), box.send(number(1))
    read = box.last_reply(number(0))
    assert decide_review(box.runtime, number(0), "continue", "ann", last_at=read) == 1
    deliver_due(box.runtime)
    assert (box.state(held), box.state(other)) == (MessageState.ACCEPTED, MessageState.ACCEPTED)
    assert actors(box, held)[1] == ("ann", "reviewed: ann read the reply: continue texting")
    with pytest.raises(LookupError, match="not under review"):
        decide_review(box.runtime, number(0), "continue", "ann", last_at=read)


@ON_SQLITE
def test_texts_that_waited_for_a_reader_end_when_it_was_a_no(box: Outbox) -> None:
    held = reviewed(box)
    assert decide_review(box.runtime, number(0), "opt_out", "ann") == 1
    deliver_due(box.runtime)
    assert box.state(held) is MessageState.SUPPRESSED
    assert box.client.sent == []
    with reading(box.engine) as connection:
        assert 'read as an opt-out: "please no more"' in opted_out(connection, [number(0)])[number(0)].detail


def test_opting_a_number_out_by_hand_settles_its_review(box: Outbox) -> None:
    held = reviewed(box)
    assert opt_out_number(box.runtime, number(0), source="cli", detail="she called", actor="ann")
    assert not opt_out_number(box.runtime, number(0), source="cli", detail="again", actor="ann")
    deliver_due(box.runtime)
    assert box.state(held) is MessageState.SUPPRESSED
    with writing(box.engine) as connection:
        assert end_review(connection, number(0), why="", actor="ann", now=utcnow()) is None


# A time zone that nobody knows.


def test_texts_without_a_known_hour_are_asked_about_again(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "_reconsidered", {})
    configure(box, quiet_hours="us", text_from="20:00", text_until="09:00")  # never
    held = box.send()
    assert box.state(held) is MessageState.HELD
    assert box.row(held).reason.startswith("time_zone:")
    assert reconsider(box.runtime) == 1
    deliver_due(box.runtime)
    assert box.state(held) is MessageState.HELD
    assert reconsider(box.runtime) == 0  # not at every tick
    configure(box)
    monkeypatch.setattr(holds, "_reconsidered", {})  # a new process
    assert reconsider(box.runtime) == 1
    assert deliver_due(box.runtime).accepted == 1


# A record that cannot be used any more.


@ON_SQLITE
@pytest.mark.parametrize(("code", "goes"), [("too_short", False), ("no_phone", False), ("unreadable", True)])
def test_a_record_without_a_usable_phone_is_not_texted_and_one_that_cannot_be_read_now_is_as_it_was(
    box: Outbox, code: str, goes: bool
) -> None:
    configure(box)
    assert fire(box, range(1), "b1") == (1, 0)
    now = utcnow()
    row = {"connection": "crm", "key": "0", "code": code, "reason": "", "where": "", "since": now, "seen_at": now}
    with writing(box.engine) as connection:
        connection.execute(insert(rejected_record).values(row))
    deliver_due(box.runtime)
    assert len(box.client.sent) == goes


# The order of texts to one number.


def test_a_text_waits_behind_an_earlier_one_of_its_conversation(box: Outbox) -> None:
    first, other, second = box.send(text="one"), box.send(number(1), "other"), box.send(text="two")
    until = utcnow() + timedelta(minutes=10)
    box.change(first, due_at=until, reason="quiet_hours: it waits")
    assert behind(box, second) == until
    assert behind(box, first) is None
    assert behind(box, other) is None
    box.change(first, reason="scheduled: by its sender")
    assert behind(box, second) is None
    box.change(first, reason="quiet_hours: it waits", state=MessageState.CANCELLED)
    assert behind(box, second) is None


def behind(box: Outbox, message_id: str) -> Any:
    with reading(box.engine) as connection:
        row = box.row(message_id)._asdict()
        return load_facts(connection, row, box.runtime.settings, utcnow()).behind


def actors(box: Outbox, message_id: str) -> list[tuple[str, str]]:
    events = select(message_event.c.actor, message_event.c.reason).where(message_event.c.message_id == message_id)
    with reading(box.engine) as connection:
        return [(row.actor, row.reason) for row in connection.execute(events.order_by(message_event.c.id))]
