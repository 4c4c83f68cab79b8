"""A backtest says of the stored history what the trigger itself has done, or would have done."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from config.models import Policy, Settings
from config.triggers import Trigger
from tests.contacts.conftest import World
from worker.messages.date_plans import fire_due_dates
from worker.messages.opt_outs import add_opt_out
from worker.rehearsal.backtest import Backtest, backtest
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, contact_mapping, record_change

ANNA, BEN, CY = "+14155550101", "+14155550102", "+14155550103"


def trigger(on: str, **more: Any) -> dict[str, Trigger]:
    options = {"connections": "crm", "on": on, "message": "{{ contact.first_name }} {{ stage }}"} | more
    return Settings.model_validate({"triggers": {"t": options}}).triggers


def run(world: World, days: int = 30) -> Backtest:
    return backtest(world.runtime(), "t", days)


def live_through(world: World) -> None:
    """A baseline, new people, changes back and forth."""
    world.source.put("1", ANNA, "Anna", stage="open")
    world.sync()
    world.source.put("2", BEN, "Ben", stage="open")
    world.sync()
    world.source.put("1", ANNA, "Anna", stage="ready")
    world.sync()
    world.source.put("1", ANNA, "Anna", stage="open")
    world.source.put("2", BEN, "Ben", stage="ready")
    world.source.put("3", CY, "Cy", stage="ready")
    world.sync()
    world.source.put("1", ANNA, "Anna", stage="ready")
    world.sync()


RULES = [
    trigger("created"),
    trigger("changed", field="stage"),
    trigger("changed", field="stage", to="ready"),
    trigger("changed", field="stage", **{"from": "ready"}),
    trigger("entered", condition="stage == 'ready'"),
    trigger("entered", condition="stage == 'ready'", only_if="contact.first_name == 'Anna'"),
    trigger("changed", field="stage", to="ready", again="never"),
    trigger("changed", field="stage", to="ready", message="{{ old.stage | upcase }}{{ nothing | divided_by: 0 }}"),
]


@pytest.mark.parametrize("rule", RULES, ids=[str(number) for number in range(len(RULES))])
def test_it_says_what_the_trigger_has_done(world: World, rule: dict[str, Trigger]) -> None:
    world.triggers = rule
    world.policy = Policy(quiet_hours="none", duplicate_window=timedelta(0))
    live_through(world)
    done = sorted((row.to_number, row.text, row.state) for row in world.messages())
    found = run(world)
    said = {"sent": "queued", "template": "suppressed"}
    assert sorted((one.to_number, one.text, said[one.outcome]) for one in found.examples) == done
    assert found.made == len(done)
    assert done, "every rule of the table makes a text"


def test_each_new_record_of_a_person_counts(world: World) -> None:
    """As the rows of an export of orders, and as a sync does it."""
    world.triggers = trigger("created", message="{{ stage }}")
    world.policy = Policy(quiet_hours="none", duplicate_window=timedelta(0))
    world.source.put("0", CY, "Cy", stage="old")
    world.sync()
    world.source.put("1", ANNA, "Anna", stage="roof")
    world.source.put("2", ANNA, "Anna", stage="door")
    world.sync()
    world.source.put("3", ANNA, "Anna", stage="gate")
    world.sync()
    done = sorted(row.text for row in world.messages())
    assert (sorted(one.text for one in run(world).examples), done) == (["door", "gate", "roof"],) * 2


def test_a_rule_that_is_only_planned_needs_no_past(world: World) -> None:
    """What the operator wants to know: before the trigger is switched on."""
    world.triggers = trigger("changed", field="stage", to="ready", enabled=False)
    live_through(world)
    assert run(world).made == 3
    assert world.messages() == []


def test_a_field_that_nothing_used_is_not_stored_and_that_is_said(world: World) -> None:
    live_through(world)
    world.triggers = trigger("changed", field="stage", to="ready", enabled=False)
    found = run(world)
    assert found.made == 0
    assert any('no record of crm has "stage"' in note for note in found.notes)


def days_ago(world: World, days: float) -> datetime:
    """Move everything that is stored into the past."""
    at = utcnow() - timedelta(days=days)
    with writing(world.engine) as db:
        db.execute(update(contact_mapping).values(first_seen_at=at, changed_at=at))
        db.execute(update(record_change).values(at=at))
        db.execute(update(connection_state).values(baseline_at=at - timedelta(days=1)))
    return at


def test_dates_in_the_past_count_and_dates_to_come_do_not(world: World) -> None:
    world.triggers = trigger("date", field="visit", offset="-1h", message="Visit")
    now = utcnow()
    for number, (phone, days) in enumerate(((ANNA, -5), (BEN, -40), (CY, 5))):
        world.source.put(str(number), phone, "X", visit=(now + timedelta(days=days)).isoformat())
    world.sync()
    found = run(world)
    assert [(one.to_number, one.at) for one in found.examples] == [(ANNA, now - timedelta(days=5, hours=1))]
    assert fire_due_dates(world.runtime(), now) == 0


def test_a_date_of_every_year(world: World) -> None:
    world.triggers = trigger("date", field="born", every_year=True, message="Happy birthday")
    for number, (phone, days) in enumerate(((ANNA, -5), (BEN, -40), (CY, 5))):
        day = (utcnow() + timedelta(days=days)).date().isoformat()
        world.source.put(str(number), phone, "X", born=f"1988{day[4:]}")
    world.sync()
    assert sorted(one.to_number for one in run(world, days=400).examples) == [ANNA, ANNA, BEN, CY]


def test_guards_opt_outs_and_hours(world: World) -> None:
    world.triggers = trigger("created", message="Hi")
    world.policy = Policy(blast_limit=2, quiet_hours="none", duplicate_window=timedelta(0))
    world.sync()
    for number in range(4):
        world.source.put(str(number), f"+1415555010{number}", "X")
    world.sync()
    found = run(world)
    assert dict(found.outcomes) == {"approval": 4}
    assert "policy.blast_limit" in found.reasons["approval"]
    with writing(world.engine) as db:
        add_opt_out(db, ANNA, source="relay", detail="STOP", now=utcnow() - timedelta(days=3))
    world.policy = Policy(blast_limit=20, quiet_hours="us", release_jitter=timedelta(0), sunday_from="09:00")  # type: ignore[arg-type]
    at = days_ago(world, 2)
    night = at.replace(hour=10, minute=0, second=0, microsecond=0)  # two or three o'clock in California
    with writing(world.engine) as db:
        db.execute(update(contact_mapping).values(first_seen_at=night, changed_at=night))
    found = run(world)
    assert dict(found.outcomes) == {"sent": 3, "opted_out": 1}
    assert dict(found.held) == {"quiet_hours": 3}
    assert dict(found.hours) == {9: 3}
    assert [(one.made, dict(one.outcomes)) for one in found.days] == [(4, {"sent": 3, "opted_out": 1})]


def test_what_the_history_cannot_show_is_said(world: World) -> None:
    world.triggers = trigger("changed", field="stage")
    assert "was never read completely" in run(world).notes[0]
    live_through(world)
    with writing(world.engine) as db:  # as if the version before had stored nothing
        db.execute(record_change.delete())
    found = run(world)
    assert found.made == 0
    assert any("2 records of crm changed in this time" in note for note in found.notes)
    assert any("no change is stored yet" in note for note in found.notes)


def test_it_changes_nothing(world: World) -> None:
    world.triggers = trigger("entered", condition="stage == 'ready'")
    live_through(world)
    before = [world.rows(table) for table in (contact_mapping, record_change, connection_state)], world.messages()
    run(world)
    assert before == (
        [world.rows(table) for table in (contact_mapping, record_change, connection_state)],
        world.messages(),
    )


def test_an_unchanged_sync_stores_no_change(world: World) -> None:
    world.triggers = trigger("changed", field="stage")
    live_through(world)
    stored = len(world.rows(record_change))
    world.sync()
    world.sync(full=True)
    assert len(world.rows(record_change)) == stored == 4


def test_when_the_time_is_up_it_says_what_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.rehearsal.history.PORTION", 1)
    world.triggers = trigger("changed", field="stage", to="ready")
    live_through(world)
    all_of_it = backtest(world.runtime(), "t", 30)
    read: list[int] = []
    found = backtest(world.runtime(), "t", 30, lambda done, _: read.append(done), lambda: len(read) >= 2)
    assert (all_of_it.records, found.records) == (3, 2)
    assert not any("time was up" in note for note in all_of_it.notes)
    (note,) = (note for note in found.notes if "time was up" in note)
    assert note.startswith("the time was up after 2 records: the others are left out")
