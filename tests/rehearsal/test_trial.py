"""A trial says what a trigger would do for one record, and why."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.models import Policy
from tests.contacts.conftest import World
from tests.rehearsal.test_backtest import ANNA, BEN, trigger
from worker.messages.opt_outs import add_opt_out
from worker.rehearsal.history import newest_records, records_named
from worker.rehearsal.trial import NothingToTry, Trial, try_trigger
from worker.store.db import reading, writing
from worker.store.models import utcnow


def tried(world: World, record: str = "1") -> Trial:
    return try_trigger(world.runtime(), "t", record)


def steps(trial: Trial) -> list[str]:
    return [step.decision.partition(":")[0] for step in trial.steps]


def test_a_record_that_no_sync_has_read_yet(world: World) -> None:
    world.triggers = trigger("created", message="Hi {{ contact.first_name }} {{ stage }}")
    world.sync()
    for number in range(9):
        world.source.put(str(number), f"+1415555010{number}", "Anna", stage="open")
    trial = tried(world, "7")
    assert (trial.fires, trial.stored, trial.text, trial.to_number) == (True, False, "Hi Anna open", "+14155550107")
    assert steps(trial) == ["goes"]
    assert world.messages() == []
    with pytest.raises(NothingToTry, match="no sync of crm has stored a record 7; `vtsync triggers test t"):
        try_trigger(world.runtime(), "t", "7", stored_only=True)
    with pytest.raises(NothingToTry, match="neither the store nor the CRM"):
        tried(world, "77")
    world.source.put("8", "555", "Anna")
    with pytest.raises(NothingToTry, match="cannot be used"):
        tried(world, "8")


def test_the_change_that_sets_it_off_and_the_text_that_was_made(world: World) -> None:
    world.triggers = trigger("changed", field="stage", to="ready", message="Ready")
    world.source.put("1", ANNA, "Anna", stage="open")
    world.sync()
    waiting = tried(world)
    assert not waiting.fires
    assert any("does not set the trigger off" in why for why in waiting.why)
    world.source.put("1", ANNA, "Anna", stage="ready")
    world.sync()
    made = tried(world)
    assert any("that change sets the trigger off" in why for why in made.why)
    assert any("it made this text already" in why for why in made.why)
    assert (made.fires, made.text) == (False, "Ready")


def test_why_it_does_not_fire(world: World) -> None:
    world.triggers = trigger("entered", condition="stage == 'ready'", only_if="total > 5", enabled=False)
    world.source.put("1", ANNA, "Anna", stage="ready", total="3")
    world.sync()
    trial = tried(world)
    assert not trial.fires
    said = " / ".join(trial.why)
    assert "its condition holds" in said
    assert "its only_if does not hold: total > 5" in said
    assert "switched off" in said


def test_the_policy_is_asked_again_until_the_text_would_go(world: World) -> None:
    world.triggers = trigger("date", field="visit", message="Visit", delay="1h")
    at = (utcnow() + timedelta(days=3)).replace(hour=9, minute=0, second=0, microsecond=0)
    world.source.put("1", ANNA, "Anna", visit=at.isoformat())
    world.policy = Policy(release_jitter=timedelta(0))
    world.sync()
    trial = tried(world)
    assert (trial.fires, trial.due_at) == (True, at + timedelta(hours=1))
    assert steps(trial) == ["waits (quiet_hours)", "goes"]
    with writing(world.engine) as db:
        add_opt_out(db, ANNA, source="relay", detail="STOP", now=utcnow())
    assert steps(tried(world)) == ["not sent (opted_out)"]


def test_in_test_mode_it_says_that_the_text_would_be_simulated(world: World) -> None:
    world.triggers = trigger("created", message="Hi")
    world.account = {"mode": "test", "test_numbers": (BEN,)}
    world.sync()
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", BEN, "Ben")
    assert ["would go" in step.decision for step in tried(world, "1").steps] == [True]
    assert steps(tried(world, "2")) == ["goes"]


def test_a_text_that_cannot_be_written(world: World) -> None:
    world.triggers = trigger("created", message="{{ visit | date: '%A' }}")
    world.source.put("1", ANNA, "Anna", visit="soon")
    world.sync()
    trial = tried(world)
    assert "soon" in trial.problem
    assert trial.steps == ()


def test_records_are_found_by_id_and_number_and_the_newest_are_examples(world: World) -> None:
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", ANNA, "Anna")
    world.source.put("3", BEN, "Ben")
    world.sync()
    with reading(world.engine) as db:

        def ids(**words: str) -> list[str]:
            return [one.external_id for one in records_named(db, {"crm": "contact"}, **words)]

        assert (ids(external_id="3"), ids(external_id="9")) == (["3"], [])
        assert (ids(phone=ANNA), ids(phone="+14155550199")) == (["2", "1"], [])
        assert [one.external_id for one in newest_records(db, "crm", "contact", 2)] == ["3", "2"]
        assert newest_records(db, "crm", "deal", 2) == []
