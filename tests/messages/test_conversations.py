"""Conversations as the store knows them, and ``stop_on_reply``: no text goes after a reply that was stored first."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, insert

from config.models import Connection
from config.triggers import ChangedTrigger, DateTrigger
from tests.inbox.conftest import Inbox, inbound
from tests.messages.conftest import FakeClient, FakeRuntime, crm_record_of, number
from worker.inbox.events import ClaimedEvent
from worker.inbox.relay import RelayEffects, prepare_relay
from worker.messages.conversations import conversation_about, load_conversations
from worker.messages.delivery import deliver_due
from worker.messages.policy_facts import recipient_lock
from worker.store.db import reading, writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.sql import lock_account
from worker.store.tables import inbound_message

ANN, BOB = number(0), number(1)


def trigger(**more: Any) -> ChangedTrigger:
    given = {"connections": "crm", "on": "changed", "field": "stage", "message": "Hi", "stop_on_reply": True}
    return ChangedTrigger(**(given | more))


@pytest.fixture
def talk(engine: Engine) -> Inbox:
    client = FakeClient()
    runtime = FakeRuntime(engine, client)
    runtime.settings = runtime.settings.model_copy(
        update={
            "connections": {"crm": Connection(adapter="csv", account="main")},
            "triggers": {name: trigger() for name in ("one", "two", "three")} | {"free": trigger(stop_on_reply=False)},
        }
    )
    crm_record_of(engine, "crm", "1", ANN)
    return Inbox(runtime, client)


def code_of(talk: Inbox, text: str) -> str:
    return f"{talk.row(text).state} {talk.row(text).reason.partition(':')[0]}".strip()


def test_what_is_known_of_a_conversation(talk: Inbox) -> None:
    now = utcnow()
    other = talk.trigger_text("one", to=ANN, state="accepted", attempted_at=now - timedelta(days=3))
    talk.trigger_text("one", key="r3", to=ANN, state="rejected", attempted_at=now - timedelta(days=1))
    talk.record("SM1", ANN, sent_at=now - timedelta(days=2))
    talk.replied(ANN, now - timedelta(days=5), "first")
    talk.replied(ANN, now - timedelta(hours=1), "second", to="+14155550199")
    with reading(talk.engine) as connection:
        found = load_conversations(connection, [ANN, BOB], now)
    assert found[ANN].last_text_at == now - timedelta(days=2), "a refused text reached nobody, a recorded one did"
    assert (found[ANN].last_reply_at, found[ANN].last_reply) == (now - timedelta(hours=1), "second")
    assert found[BOB].values().keys() == {"replied_since", "texted_since"}
    assert talk.row(other).state == "accepted"


# what they wrote, when (minutes after the text was made), what becomes of it
REPLIES: list[tuple[str, int, str]] = [
    ("Yes", 5, "suppressed replied"),
    ("👍", 5, "suppressed replied"),
    ("Loved “one”", 5, "suppressed replied"),
    ("HELP", 5, "suppressed replied"),
    ("START", 5, "suppressed replied"),
    ("", 5, "suppressed replied"),
    ("Yes", -5, "accepted"),
]


@pytest.mark.parametrize(("words", "minutes", "outcome"), REPLIES)
def test_any_reply_after_the_trigger_fired_stops_its_text(talk: Inbox, words: str, minutes: int, outcome: str) -> None:
    made_at = utcnow() - timedelta(hours=2)
    text, free = talk.trigger_text("one", created_at=made_at), talk.trigger_text("free", created_at=made_at)
    talk.replied(ANN, made_at + timedelta(minutes=minutes), words)
    deliver_due(talk.runtime)
    assert code_of(talk, text) == outcome
    assert code_of(talk, free) == "accepted"
    if "replied" in outcome:
        reason = talk.row(text).reason
        assert f"{made_at + timedelta(minutes=minutes):%Y-%m-%d %H:%M} UTC" in reason
        assert not words or words not in reason, "what people write is shown nowhere"


def test_a_reply_of_somebody_else_stops_nothing(talk: Inbox) -> None:
    text = talk.trigger_text("one", created_at=utcnow() - timedelta(hours=2))
    talk.replied(BOB)
    deliver_due(talk.runtime)
    assert code_of(talk, text) == "accepted"


def test_a_reply_through_the_relay_stops_the_rest_of_a_sequence(talk: Inbox) -> None:
    made_at = utcnow() - timedelta(hours=2)
    first = talk.trigger_text("one", created_at=made_at)
    later = talk.trigger_text("two", created_at=made_at, due_at=utcnow() + timedelta(days=2))
    deliver_due(talk.runtime)
    talk.comes(inbound("Sounds good", FromNumber=ANN))
    talk.change(later, due_at=utcnow())
    deliver_due(talk.runtime)
    assert [code_of(talk, one) for one in (first, later)] == ["accepted", "suppressed replied"]


def test_texts_about_one_date_are_a_sequence_from_the_first_that_went(talk: Inbox) -> None:
    """The second of them is made only when it is due, long after the reply to the first one."""
    now, date = utcnow(), "2027-05-01T10:00:00+00:00"
    options = {"connections": "crm", "on": "date", "field": "visit", "message": "Hi"}
    dates: dict[str, Any] = {name: DateTrigger(**(options | {"stop_on_reply": True})) for name in ("week", "day")}
    talk.runtime.settings = talk.runtime.settings.model_copy(update={"triggers": dates})
    crm_record_of(talk.engine, "crm", "2", BOB, properties=orjson.dumps({"visit": date}).decode())
    about: dict[str, Any] = {"to": BOB, "record": "2"}

    def key(name: str, when: str) -> str:
        return f"trigger:{name}:crm:2:{when}"

    talk.trigger_text("week", idempotency_key=key("week", date), state="accepted", attempted_at=now - timedelta(days=6),
              created_at=now - timedelta(days=6), **about)  # fmt: skip
    talk.replied(BOB, now - timedelta(days=5))
    text = talk.trigger_text("day", idempotency_key=key("day", date), **about)
    deliver_due(talk.runtime)
    assert code_of(talk, text) == "suppressed replied"
    next_year = date.replace("2027", "2028")
    with writing(talk.engine) as connection:
        connection.exec_driver_sql(
            f"UPDATE contact_mapping SET properties = '{orjson.dumps({'visit': next_year}).decode()}'"
            " WHERE external_id = '2'"
        )
    again = talk.trigger_text("week", idempotency_key=key("week", next_year), **about)
    deliver_due(talk.runtime)
    assert code_of(talk, again) == "accepted", "another date is another sequence"


def test_a_first_text_that_never_went_begins_no_sequence(talk: Inbox) -> None:
    now = utcnow()
    talk.trigger_text("one", state="suppressed", created_at=now - timedelta(days=6))
    text = talk.trigger_text("two", created_at=now - timedelta(minutes=1))
    talk.replied(ANN, now - timedelta(days=5))
    deliver_due(talk.runtime)
    assert code_of(talk, text) == "accepted"


CONDITIONS: list[tuple[str, str]] = [
    ("conversation.replied_since.trigger == false", "suppressed stop_condition"),
    ("conversation.replied_since['1h'] == false", "suppressed stop_condition"),
    ("conversation.last_reply contains 'No'", "suppressed stop_condition"),
    ("conversation.last_reply contains 'Yes'", "accepted"),
    ("conversation.texted_since['1h'] == false", "accepted"),
    ("stage == 'x' or conversation.replied_since.trigger", "accepted"),
]


@pytest.mark.parametrize(("condition", "outcome"), CONDITIONS)
def test_a_condition_is_asked_again_right_before_the_text_goes(talk: Inbox, condition: str, outcome: str) -> None:
    triggers = {"one": trigger(stop_on_reply=False, only_if=condition)}
    talk.runtime.settings = talk.runtime.settings.model_copy(update={"triggers": triggers})
    text = talk.trigger_text("one", created_at=utcnow() - timedelta(hours=2))
    talk.replied(ANN, utcnow() - timedelta(minutes=1))
    deliver_due(talk.runtime)
    assert code_of(talk, text) == outcome


def test_conversations_are_read_only_where_a_trigger_asks(talk: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.messages.record_facts.conversation_about", lambda *_: pytest.fail("it was read"))
    triggers = {"one": trigger(stop_on_reply=False, only_if="stage == nil")}
    talk.runtime.settings = talk.runtime.settings.model_copy(update={"triggers": triggers})
    text = talk.trigger_text("one")
    deliver_due(talk.runtime)
    assert code_of(talk, text) == "accepted"


def test_a_reply_that_is_being_stored_is_waited_for(talk: Inbox) -> None:
    """The reply commits while a worker is about to send: the worker decides afterwards, whatever the store is."""
    text = talk.trigger_text("one", created_at=utcnow() - timedelta(hours=1))
    began = threading.Event()

    def send() -> None:
        began.set()
        deliver_due(talk.runtime)

    worker = threading.Thread(target=send)
    with writing(talk.engine) as connection:
        lock_account(connection, recipient_lock(ANN))
        worker.start()
        began.wait()
        worker.join(0.3)  # it cannot have sent anything by now, however long this takes
        connection.execute(
            insert(inbound_message).values(
                id=new_message_id(), account="main", from_number=ANN, to_number="+14155550100", text="Yes", media="[]",
                keyword="", received_at=utcnow(),
            )
        )  # fmt: skip
    worker.join()
    assert (code_of(talk, text), talk.client.sent) == ("suppressed replied", [])


def test_the_inbox_stores_a_reply_under_the_lock_of_its_sender(talk: Inbox) -> None:
    event = ClaimedEvent(
        1, "me", "relay", "main", orjson.dumps(inbound(FromNumber=ANN)).decode(), utcnow(), 1, utcnow()
    )
    effects = prepare_relay(talk.runtime, event)
    assert isinstance(effects, RelayEffects)
    assert recipient_lock(ANN) in effects.locks


def test_a_conversation_about_a_text_counts_from_its_trigger(talk: Inbox) -> None:
    made_at = utcnow() - timedelta(hours=3)
    text = talk.trigger_text("free", created_at=made_at)
    with reading(talk.engine) as connection:
        found = conversation_about(connection, talk.row(text)._asdict(), talk.runtime.settings, utcnow())
    assert found.since == made_at
