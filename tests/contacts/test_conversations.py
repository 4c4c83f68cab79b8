"""Triggers that ask about the conversation when they fire: in a sync, in a plan, and at a planned time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert

from config.triggers import CreatedTrigger, DateTrigger, EnteredTrigger
from tests.contacts.conftest import OURS, World
from tests.fakes import numbers
from worker.contacts import trigger_watch
from worker.messages.date_plans import fire_due_dates
from worker.store.db import writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.tables import inbound_message, message

ANNA, BORIS, CLARA = "+14155550101", "+14155550102", "+14155550103"
NEVER_TEXTED = "conversation.last_text_at == nil"
QUIET = "conversation.replied_since['2d'] == false"


def texted(world: World, phone: str, at: datetime) -> None:
    with writing(world.engine) as db:
        db.execute(
            insert(message).values(
                id=new_message_id(), account="main", kind="send", state="accepted", reason="", to_number=phone,
                from_number=OURS, text="Hi", media="[]", segments=1, source="http", idempotency_key=f"k{phone}{at}",
                payload_hash="", created_at=at, due_at=at, attempted_at=at, attempts=1,
            )
        )  # fmt: skip


def replied(world: World, phone: str, at: datetime) -> None:
    with writing(world.engine) as db:
        db.execute(
            insert(inbound_message).values(
                id=new_message_id(), account="main", from_number=phone, to_number=OURS, text="Yes", media="[]",
                keyword="", received_at=at,
            )
        )  # fmt: skip


def welcome(condition: str, **more: Any) -> dict[str, Any]:
    given = {"connections": "crm", "on": "created", "message": "Hi {{ name }}", "only_if": condition}
    return {"welcome": CreatedTrigger(**(given | more))}


def baseline(world: World) -> None:
    world.source.put("0", numbers(1, start=900)[0], "Zoe")
    world.sync()


@pytest.mark.parametrize(
    ("condition", "texts"),
    [
        (NEVER_TEXTED, ["Hi Boris", "Hi Clara"]),
        (QUIET, ["Hi Anna", "Hi Clara"]),
        (f"{NEVER_TEXTED} and {QUIET}", ["Hi Clara"]),
        ("name == 'Clara' or conversation.last_text_at", ["Hi Anna", "Hi Clara"]),
    ],
)
def test_a_sync_and_a_plan_ask_about_the_conversation(world: World, condition: str, texts: list[str]) -> None:
    world.triggers = welcome(condition)
    baseline(world)
    texted(world, ANNA, utcnow() - timedelta(days=3))
    replied(world, BORIS, utcnow() - timedelta(days=1))
    for key, (phone, name) in enumerate([(ANNA, "Anna"), (BORIS, "Boris"), (CLARA, "Clara")], start=1):
        world.source.put(str(key), phone, name)
    planned = sorted(text.text for text in world.plan().texts)
    world.sync()
    made = sorted(row.text for row in world.messages() if row.source == "trigger")
    assert planned == made == texts


def test_a_date_trigger_asks_when_it_is_due(world: World) -> None:
    soon = utcnow() + timedelta(days=1)
    world.triggers = {
        "visit": DateTrigger(connections="crm", on="date", field="visit", message="Hi {{ name }}", only_if=QUIET)
    }
    for key, (phone, name) in enumerate([(ANNA, "Anna"), (BORIS, "Boris")]):
        world.source.put(str(key), phone, name, visit=soon.isoformat())
    world.sync()
    replied(world, BORIS, utcnow())
    fire_due_dates(world.runtime(), soon + timedelta(minutes=1))
    assert [row.text for row in world.messages()] == ["Hi Anna"]


def test_a_page_takes_three_queries_whatever_its_size_and_none_if_no_trigger_asks(world: World) -> None:
    asked: list[str] = []

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "inbound_message" in statement or "max(message." in statement:
            asked.append(statement)

    event.listen(world.engine, "before_cursor_execute", count)
    world.source.page_size = 100
    entered = EnteredTrigger(connections="crm", on="entered", condition="name == 'N'", message="Hi")
    for triggers, queries in (({"plain": entered}, 0), (welcome(QUIET) | {"plain": entered}, 3)):
        world.triggers = triggers
        baseline(world)
        asked.clear()
        for index, phone in enumerate(numbers(40, start=queries * 100)):
            world.source.put(f"{queries}-{index}", phone, "N")
        world.sync()
        assert len(asked) == queries
    event.remove(world.engine, "before_cursor_execute", count)


def test_an_unchanged_sync_reads_no_conversation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.triggers = welcome(QUIET)
    baseline(world)
    monkeypatch.setattr(trigger_watch, "load_conversations", lambda *_: pytest.fail("it was read"))
    assert world.sync().unchanged == 1
