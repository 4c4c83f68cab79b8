"""A store that is restored to yesterday sends nothing of today again, and makes no contact twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlmodel import SQLModel

from config.models import Policy
from config.triggers import ChangedTrigger, CreatedTrigger, DateTrigger
from tests.contacts.conftest import World
from worker.messages.date_plans import fire_due_dates
from worker.messages.decisions import approve
from worker.messages.delivery import deliver_due
from worker.messages.outbox import enqueue_send
from worker.messages.requests import SendRequest
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import date_plan, heartbeat, message
from worker.upkeep.restore import FleetRuns, RestoredAccount, after_restore, rehearse_restore

ANNA, BEN, CARL, DORA = "+14155550101", "+14155550102", "+14155550103", "+14155550104"


def backup(world: World) -> Callable[[], None]:
    """All rows as they are now; the result puts them back."""
    tables = SQLModel.metadata.sorted_tables
    with reading(world.engine) as db:
        saved = {table.name: [dict(row._mapping) for row in db.execute(select(table))] for table in tables}

    def restore() -> None:
        with writing(world.engine) as db:
            for table in reversed(tables):
                db.execute(delete(table))
            for table in tables:
                if saved[table.name]:
                    db.execute(insert(table), saved[table.name])

    return restore


def send(world: World, to: str, **more: Any) -> None:
    enqueue_send(
        world.runtime(),
        SendRequest.parse({"account": "main", "to": to, "message": "hello"} | more),
        source="task",
        actor="test",
    )


def deliver(world: World) -> None:
    with writing(world.engine) as db:
        db.execute(update(message).where(message.c.state == "queued").values(due_at=utcnow()))
    deliver_due(world.runtime(), account="main")


def visit_is_due(world: World) -> None:
    with writing(world.engine) as db:
        db.execute(update(date_plan).where(date_plan.c.due_at.is_not(None)).values(due_at=utcnow()))


def go_on(world: World) -> None:
    """What a fleet does by itself."""
    for _ in range(2):
        world.sync()
        fire_due_dates(world.runtime(), utcnow())
        world.everything_is_due()
        world.push()
        deliver(world)


@pytest.fixture
def yesterday(world: World) -> Callable[[], None]:
    """A backup in the middle of things; then a day on which all of it went on."""
    world.policy = Policy(quiet_hours="none", duplicate_window=timedelta(seconds=1), max_per_contact=None)
    world.triggers = {
        "welcome": CreatedTrigger(connections=("crm",), on="created", message="Welcome"),
        "ready": ChangedTrigger(connections=("crm",), on="changed", field="status", message="Now {{ status }}"),
        "visit": DateTrigger(connections=("crm",), on="date", field="visit", message="See you"),
    }
    soon = (utcnow() + timedelta(hours=1)).isoformat()
    world.source.put("1", ANNA, "Anna", status="new", visit=soon)
    world.sync_and_push()
    world.source.put("2", BEN, "Ben", status="new", visit="")
    world.sync()  # Ben is not pushed, and his welcome waits
    send(world, CARL)
    send(world, DORA, send_at=utcnow() + timedelta(hours=1))
    restore = backup(world)

    visit_is_due(world)
    fire_due_dates(world.runtime(), utcnow())
    world.source.put("1", ANNA, "Anna", status="ready", visit=soon)
    world.source.put("4", DORA, "Dora", status="new", visit="")
    go_on(world)
    texts = sorted((body.to, body.text) for body in world.virtualtext.sent)
    assert texts == [
        (ANNA, "Now ready"),
        (ANNA, "See you"),
        (BEN, "Welcome"),
        (CARL, "hello"),
        (DORA, "Welcome"),
        (DORA, "hello"),
    ]
    restore()
    visit_is_due(world)
    return restore


def test_without_it_all_would_come_again(world: World, yesterday: object) -> None:
    go_on(world)
    assert len(world.virtualtext.sent) > 6


def test_nothing_is_sent_or_created_again(world: World, yesterday: object) -> None:
    done = after_restore(world.runtime(), "me", utcnow())
    assert (done.texts_held, done.dates, done.contacts_looked_up) == (3, 1, 1)
    assert done.triggers == 3
    go_on(world)
    assert len(world.virtualtext.sent) == 6
    assert world.virtualtext.phones() == {ANNA: 1, BEN: 1, DORA: 1}
    assert {row.state for row in world.messages()} == {"held"}
    assert all("restored from a backup" in row.reason for row in world.messages())


def test_a_rehearsal_says_what_will_be_done_and_changes_nothing(world: World, yesterday: object) -> None:
    tables = SQLModel.metadata.sorted_tables

    def everything() -> list[object]:
        with reading(world.engine) as db:
            return [sorted(map(str, db.execute(select(table)).all())) for table in tables]

    before, now = everything(), utcnow()
    foreseen = rehearse_restore(world.runtime(), "me", now)
    assert everything() == before
    assert foreseen == after_restore(world.runtime(), "me", now)
    assert foreseen.accounts == (RestoredAccount("main", 3, 1),)
    assert foreseen.connections == ("crm",)
    again = rehearse_restore(world.runtime(), "me", now + timedelta(minutes=5))
    assert (again.texts_held, again.texts_held_before) == (0, 3)


def test_what_comes_later_is_sent(world: World, yesterday: object) -> None:
    after_restore(world.runtime(), "me", utcnow())
    go_on(world)
    world.source.put("1", ANNA, "Anna", status="shipped", visit="")
    world.source.put("5", "+14155550105", "Emil", status="new", visit="")
    go_on(world)
    texts = [(body.to, body.text) for body in world.virtualtext.sent[6:]]
    assert sorted(texts) == [(ANNA, "Now shipped"), ("+14155550105", "Welcome")]


def test_a_person_lets_go_what_was_not_sent(world: World, yesterday: object) -> None:
    after_restore(world.runtime(), "me", utcnow())
    (mine,) = [row for row in world.messages() if row.to_number == CARL]
    assert mine.batch_id.startswith("restored-")
    assert approve(world.runtime(), batch_id=mine.batch_id, actor="me") == 2
    deliver(world)
    assert sorted(body.to for body in world.virtualtext.sent[6:]) == [CARL, DORA]


def test_doing_it_again_changes_nothing_more(world: World, yesterday: object) -> None:
    after_restore(world.runtime(), "me", utcnow())
    before = world.messages()
    again = after_restore(world.runtime(), "me", utcnow())
    assert (again.triggers, again.dates, again.contacts_looked_up) == (0, 0, 0)
    assert [row.batch_id for row in world.messages()] == [row.batch_id for row in before]


def test_it_is_refused_while_something_runs(world: World) -> None:
    send(world, CARL)
    now = utcnow()
    row = {"role": "worker", "version": "1", "started_at": now, "seen_at": now}
    with writing(world.engine) as db:
        db.execute(insert(heartbeat), row | {"id": "worker:there:7"})
    with pytest.raises(FleetRuns, match="worker:there:7"):
        after_restore(world.runtime(), "me", now)
    assert [row.state for row in world.messages()] == ["queued"]
    assert after_restore(world.runtime(), "me", now + timedelta(minutes=2)).texts_held == 1
