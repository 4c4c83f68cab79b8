"""Triggers on conditions and dates, from the CRM to the outbox."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from config.models import Policy, Settings
from config.triggers import CreatedTrigger, Trigger
from config.types import parse_duration
from tests.contacts.conftest import OURS, World
from tests.fakes import ListSource, LogSource
from worker.core.findings import Finding
from worker.doctor.status import overview
from worker.messages import date_plans
from worker.messages.date_plans import fire_due_dates
from worker.messages.decisions import approve
from worker.messages.delivery import deliver_due
from worker.messages.explain import explain
from worker.messages.unread_records import UnreadRecord, unread_records
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import date_plan, message
from worker.triggers.evaluate import TextIntent
from worker.triggers.kinds import RecordEvent
from worker.triggers.rules import TextRule

ANNA, BEN = "+14155550101", "+14155550102"


def trigger(on: str, **more: Any) -> dict[str, Trigger]:
    options = {"connections": "crm", "on": on, "message": "Hi {{ contact.first_name }}"} | more
    return Settings.model_validate({"triggers": {"t": options}}).triggers


def in_days(days: float) -> str:
    return (utcnow() + timedelta(days=days)).isoformat()


def states(world: World) -> list[str]:
    return [row.state for row in world.messages()]


def deliver_now(world: World) -> None:
    """As if everything were due."""
    with writing(world.engine) as db:
        db.execute(update(message).values(due_at=utcnow()))
    deliver_due(world.runtime())


def plans(world: World) -> list[datetime | None]:
    return [row.due_at for row in world.rows(date_plan)]


# --- entered


def test_a_record_that_begins_to_meet_a_condition(world: World) -> None:
    world.triggers = trigger("entered", condition="stage == 'ready' and total > 10")
    world.source.put("1", ANNA, "Anna", stage="open", total="5")
    world.source.put("2", BEN, "Ben", stage="ready", total="50")
    world.sync()
    assert world.messages() == [], "what was so before is the baseline"
    for change in (
        {"stage": "ready", "total": "5"},
        {"stage": "ready", "total": "11"},
        {"stage": "ready", "total": "12"},
    ):
        world.source.put("1", ANNA, "Anna", **change)
        world.sync()
    assert [row.to_number for row in world.messages()] == [ANNA], "once, when it began"
    world.source.put("1", ANNA, "Anna", stage="open", total="12")
    world.sync()
    world.source.put("1", ANNA, "Anna", stage="ready", total="12")
    world.sync()
    assert len(world.messages()) == 2, "and again when it begins again"


@pytest.mark.parametrize(
    ("again", "passes", "texts"), [("always", "1m", 3), ("never", "9h", 1), ("1h", "59m", 1), ("1h", "1h", 3)]
)
def test_entering_again(world: World, again: str, passes: str, texts: int) -> None:
    world.triggers = trigger("entered", condition="stage == 'ready'", again=again)
    world.source.put("1", ANNA, "Anna", stage="open")
    world.sync()
    for _ in range(3):
        for stage in ("ready", "open"):
            world.source.put("1", ANNA, "Anna", stage=stage)
            world.sync()
        with writing(world.engine) as db:
            db.execute(update(message).values(created_at=utcnow() - parse_duration(passes)))
    assert len(world.messages()) == texts


def test_a_new_record_may_meet_the_condition_at_once(world: World) -> None:
    world.triggers = trigger("entered", condition="stage == 'ready'")
    world.source.put("1", ANNA, "Anna", stage="open")
    world.sync()
    world.source.put("2", BEN, "Ben", stage="ready")
    world.sync()
    assert [row.to_number for row in world.messages()] == [BEN]


# --- delay, only_if, urgent, owners


def test_a_delayed_text_waits_and_expires_later(world: World) -> None:
    world.triggers = trigger("created", delay="2h", expires_after="1h")
    world.source.put("1", ANNA, "Anna")
    world.sync()
    world.source.put("2", BEN, "Ben")
    world.sync()
    (row,) = world.messages()
    assert timedelta(minutes=119) < row.due_at - utcnow() < timedelta(minutes=121)
    assert row.expires_at - row.due_at == timedelta(hours=1)
    deliver_due(world.runtime())
    assert world.virtualtext.sent == []


def test_a_stop_condition_is_asked_when_it_fires_and_when_it_goes(world: World) -> None:
    world.triggers = trigger("created", only_if="stage != 'cancelled'")
    world.source.put("1", ANNA, "Anna", stage="open")
    world.sync()
    world.source.put("2", BEN, "Ben", stage="cancelled")
    world.source.put("3", "+14155550103", "Cleo", stage="open")
    world.sync()
    assert [row.to_number for row in world.messages()] == ["+14155550103"]
    world.source.put("3", "+14155550103", "Cleo", stage="cancelled")
    world.sync()
    deliver_due(world.runtime())
    (row,) = world.messages()
    assert (row.state, row.reason.split(":")[0]) == ("suppressed", "stop_condition")


@pytest.mark.parametrize("left", [{}, trigger("created", enabled=False)], ids=["removed", "disabled"])
def test_a_trigger_that_was_switched_off_sends_nothing_more(world: World, left: dict[str, Trigger]) -> None:
    world.triggers = trigger("created", delay="1h")
    world.source.put("1", ANNA, "Anna")
    world.sync()
    world.source.put("2", BEN, "Ben")
    world.sync()
    world.triggers = left
    deliver_now(world)
    (row,) = world.messages()
    assert (row.state, row.reason.split(":")[0]) == ("suppressed", "trigger_off")


def test_the_owner_in_the_crm_decides_the_number(world: World) -> None:
    world.connections = {
        "crm": {"owner_numbers": {"Jane Doe": "+14155550111"}, "fields": {"owner": "owner"}},
    }
    world.triggers = trigger("created")
    world.source.put("1", ANNA, "Anna")
    world.sync()
    world.source.put("2", BEN, "Ben", owner="jane doe ")
    world.source.put("3", "+14155550103", "Cleo", owner="nobody")
    world.sync()
    assert {row.to_number: row.from_number for row in world.messages()} == {
        BEN: "+14155550111",
        "+14155550103": OURS,
    }


def test_the_owner_decides_the_number_of_texts_about_dates_too(world: World) -> None:
    world.connections = {"crm": {"owner_numbers": {"Jane": "+14155550111"}, "fields": {"owner": "owner"}}}
    world.triggers = trigger("date", field="appointment")
    world.source.put("1", ANNA, "Anna", owner="Jane", appointment=in_days(1))
    world.source.put("2", BEN, "Ben", owner="nobody", appointment=in_days(1))
    world.sync()
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=1, minutes=1))
    assert {row.to_number: row.from_number for row in world.messages()} == {ANNA: "+14155550111", BEN: OURS}
    world.triggers = trigger("date", field="appointment", from_number="+14155550122")
    world.source.put("1", ANNA, "Anna", owner="Jane", appointment=in_days(2))
    world.sync()
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=2, minutes=1))
    assert world.messages()[-1].from_number == "+14155550122", "the rule's own number comes first"


def test_an_urgent_trigger_makes_urgent_texts(world: World) -> None:
    world.triggers = trigger("created", urgent=True)
    world.source.put("1", ANNA, "Anna")
    world.sync()
    world.source.put("2", BEN, "Ben")
    world.sync()
    assert [row.urgent for row in world.messages()] == [True]


def test_a_value_that_a_condition_cannot_compare_is_named(world: World) -> None:
    world.triggers = trigger("entered", condition="total > 10")
    world.source.put("1", ANNA, "Anna", total="5")
    world.sync()
    world.source.put("1", ANNA, "Anna", total="1.234,50")
    (note,) = world.sync().notes
    assert note.startswith('1 record has a value in "total" that the trigger\'s `condition` cannot compare: "1.234,50"')
    assert world.messages() == []
    (found,) = unread_values(world)
    assert (found.count, found.command) == (1, "vtsync status --unread")
    assert found.found.endswith("the trigger t cannot read: record 1")
    (listed,) = unread_list(world)
    assert (listed.trigger, listed.external_id, listed.field, listed.value) == ("t", "1", "total", "1.234,50")
    assert explain(world.runtime(), ANNA).unread == (listed,)
    world.source.put("1", ANNA, "Anna", total="9")
    assert world.sync().notes == ()
    assert (unread_values(world), unread_list(world), explain(world.runtime(), ANNA).unread) == ([], [], ())


def test_what_a_disabled_trigger_could_not_read_hides_nothing(world: World) -> None:
    one = trigger("entered", condition="total > 10")["t"]
    world.triggers = {"a": one, "t": one}
    for total in ("5", "soon"):
        world.source.put("1", ANNA, "Anna", total=total)
        world.sync()
    world.triggers = {"a": one.model_copy(update={"enabled": False}), "t": one}
    assert [one.count for one in unread_values(world)] == [1]
    assert [one.trigger for one in unread_list(world, limit=1)] == ["t"]


def test_a_record_that_is_gone_or_a_trigger_that_watches_something_else_is_not_named_any_more(world: World) -> None:
    world.triggers = trigger("entered", condition="total > 10")
    for number, phone in (("1", ANNA), ("2", BEN)):
        world.source.put(number, phone, "Anna", total="5")
    world.sync()
    for number, phone in (("1", ANNA), ("2", BEN)):
        world.source.put(number, phone, "Anna", total="soon")
    world.sync()
    assert [one.external_id for one in unread_list(world)] == ["1", "2"]
    del world.source.records["1"]
    world.sync()
    assert [one.count for one in unread_values(world)] == [1]
    world.triggers = trigger("entered", condition="total == 'soon'")
    world.sync()
    assert (unread_values(world), unread_list(world)) == ([], [])


def test_a_text_whose_only_if_is_not_understood_is_kept_with_the_reason(world: World) -> None:
    world.triggers = trigger("date", field="appointment", only_if="total > 10")
    world.source.put("1", ANNA, "Anna", appointment=in_days(1), total="call us")
    world.sync()
    (named,) = explain(world.runtime(), ANNA).unread
    assert (named.field, named.value) == ("total", "call us")
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=1, minutes=1))
    (row,) = world.messages()
    assert row.state == "suppressed"
    assert '"call us" in total is not understood, so it is not known if its condition holds' in row.reason


# --- dates


def test_an_appointment_is_texted_about_once_the_day_before(world: World) -> None:
    world.triggers = trigger("date", field="appointment", offset="-24h")
    world.source.put("1", ANNA, "Anna", appointment=in_days(3))
    world.source.put("2", BEN, "Ben", appointment=in_days(-3))
    world.sync()
    assert [one is None for one in plans(world)] == [False, True], "past dates do nothing"
    assert fire_due_dates(world.runtime(), utcnow() + timedelta(days=1, hours=23)) == 0
    (shown,) = explain(world.runtime(), ANNA).planned
    assert (shown.trigger, shown.external_id, shown.at) == ("t", "1", plans(world)[0])
    soon = utcnow() + timedelta(days=2, minutes=1)
    assert fire_due_dates(world.runtime(), soon) == 1
    assert fire_due_dates(world.runtime(), soon) == 0
    (row,) = world.messages()
    assert (row.to_number, row.trigger, row.state) == (ANNA, "t", "queued")
    assert plans(world) == [None, None]


def test_a_moved_appointment_moves_its_plan(world: World) -> None:
    world.triggers = trigger("date", field="appointment", offset="-24h")
    world.source.put("1", ANNA, "Anna", appointment=in_days(3))
    world.sync()
    world.source.put("1", ANNA, "Anna", appointment=in_days(10))
    world.sync()
    assert fire_due_dates(world.runtime(), utcnow() + timedelta(days=5)) == 0
    assert fire_due_dates(world.runtime(), utcnow() + timedelta(days=9, minutes=1)) == 1


@pytest.mark.parametrize("change", ["moved", "emptied"])
def test_a_text_that_waits_is_not_sent_when_its_appointment_was_moved(world: World, change: str) -> None:
    world.triggers = trigger("date", field="appointment", offset="-24h")
    world.source.put("1", ANNA, "Anna", appointment=in_days(3))
    world.sync()
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=2, minutes=1))
    world.source.put("1", ANNA, "Anna", appointment=in_days(10) if change == "moved" else "")
    world.sync()
    deliver_now(world)
    (row,) = world.messages()
    assert (row.state, row.reason.split(":")[0], world.virtualtext.sent) == ("suppressed", "moved", [])


SPELLINGS = {
    "GB": ["%d/%m/%Y", "%d.%m.%Y", "%-d %B %Y", "%Y-%m-%d", "%d/%m/%Y %H:%M", "%d-%b-%Y"],
    "US": ["%m/%d/%Y", "%-m/%-d/%Y", "%B %-d, %Y", "%Y-%m-%d", "%m/%d/%Y %I:%M %p", "%d-%b-%Y"],
}


@pytest.mark.parametrize("region", SPELLINGS)
def test_dates_are_read_as_the_region_writes_them(world: World, region: str) -> None:
    world.connections = {"crm": {"default_region": region}}
    world.triggers = trigger("date", field="appointment")
    day = utcnow().replace(month=4, day=3, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=366)
    for number, form in enumerate(SPELLINGS[region]):
        world.source.put(str(number), f"+141555501{number:02}", "Anna", appointment=day.strftime(form))
    assert world.sync().notes == ()
    assert {row.occurrence.removesuffix("T00:00:00") for row in world.rows(date_plan)} == {f"{day:%Y-%m-%d}"}


def test_another_region_plans_again(world: World) -> None:
    world.triggers = trigger("date", field="appointment")
    year = utcnow().year + 1
    world.source.put("1", ANNA, "Anna", appointment=f"03/04/{year}")
    occurrences = []
    for region in ("US", "GB", None):
        world.connections = {"crm": {"default_region": region}}
        world.sync()
        occurrences += [row.occurrence for row in world.rows(date_plan)]
    assert occurrences == [f"{year}-03-04", f"{year}-04-03", date_plans.UNREAD]


def test_a_date_that_cannot_be_read_is_named_and_never_guessed(world: World) -> None:
    world.connections = {"crm": {"default_region": None}}
    world.triggers = trigger("date", field="appointment")
    year = utcnow().year + 1
    for number, value in enumerate([f"03/04/{year}", "soon", "later", "", None, in_days(1)]):
        world.source.put(str(number), f"+141555501{number:02}", "Anna", appointment=value)
    expected = [
        f'1 record has a date in "appointment" that can mean two days: "03/04/{year}" (record 0). '
        "The trigger t does not text this person. Set `default_region` of the connection, which says if 03/04/2027 is "
        "in April or in March; or write the date like 2027-04-03.",
        '2 records have a value in "appointment" that cannot be read as a date: "soon" (record 1), "later" (record 2). '
        "The trigger t does not text them. Write it like 2027-04-03 or 2027-04-03 10:30.",
    ]
    assert [note for note in world.plan().notes if "record" in note] == expected
    assert list(world.sync().notes) == expected, "each record counts once, though all are planned again at the end"
    assert [one is None for one in plans(world)] == [True] * 5 + [False]
    assert fire_due_dates(world.runtime(), utcnow() + timedelta(days=500)) == 1
    (found,) = unread_values(world)
    assert found.count == 3
    assert found.found == (
        "3 records of the connection crm with a value that the trigger t cannot read: records 0, 1, 2"
    )
    assert [(one.external_id, one.value) for one in unread_list(world)] == [
        ("0", f"03/04/{year}"), ("1", "soon"), ("2", "later")
    ]  # fmt: skip
    for number in range(3):
        world.source.put(str(number), f"+141555501{number:02}", "Anna", appointment=f"{year}-04-03")
    assert world.sync().notes == ()
    assert unread_values(world) == []


def unread_list(world: World, limit: int = 50) -> list[UnreadRecord]:
    with reading(world.engine) as db:
        return unread_records(db, world.runtime().settings, limit)


def unread_values(world: World) -> list[Finding]:
    return [finding for finding in overview(world.runtime()).findings if "cannot read" in finding.found]


def test_a_waiting_text_stays_when_its_date_is_written_in_another_way(world: World) -> None:
    world.triggers = trigger("date", field="appointment", offset="-24h")
    day = utcnow() + timedelta(days=3)
    world.source.put("1", ANNA, "Anna", appointment=f"{day:%Y-%m-%d}")
    world.sync()
    (due_at,) = plans(world)
    assert due_at is not None
    assert fire_due_dates(world.runtime(), due_at + timedelta(minutes=1)) == 1
    world.source.put("1", ANNA, "Anna", appointment=f"{day:%m/%d/%Y}")
    world.sync()
    deliver_now(world)
    assert states(world) == ["accepted"]


def test_a_date_of_a_deal(world: World) -> None:
    log = LogSource()
    world.crm["crm"] = log  # type: ignore[assignment]
    world.triggers = trigger("date", record="deal", field="closes", message="{{ contact.first_name }}: {{ title }}")
    log.put("ann", ANNA, "Anna")
    log.put_deal("deal:1", "ann", title="Roof", closes=in_days(2))
    log.put_deal("deal:2", "ann", title="Door", closes=in_days(2))
    world.sync()
    assert [row.external_id for row in world.rows(date_plan)] == ["deal:1", "deal:2"]
    assert fire_due_dates(world.runtime(), utcnow() + timedelta(days=2, minutes=1)) == 2
    assert sorted(row.text for row in world.messages()) == ["Anna: Door", "Anna: Roof"]


def test_a_deleted_record_has_no_plan(world: World) -> None:
    world.triggers = trigger("date", field="appointment")
    world.source.put("1", ANNA, "Anna", appointment=in_days(3))
    world.source.put("2", BEN, "Ben")
    world.sync()
    del world.source.records["1"]
    world.sync(accept_removals=True)
    assert fire_due_dates(world.runtime(), utcnow() + timedelta(days=4)) in (0, 1)
    assert world.messages() == []


def test_a_new_date_trigger_plans_the_records_that_are_there(world: World) -> None:
    world.source.put("1", ANNA, "Anna", appointment=in_days(3))
    world.sync()
    assert plans(world) == []
    world.triggers = trigger("date", field="appointment", offset="-24h")
    world.sync()
    assert len([one for one in plans(world) if one]) == 1


def test_a_new_date_trigger_plans_nothing_for_a_record_that_lost_its_phone(world: World) -> None:
    world.source.put("1", ANNA, "Anna", appointment=in_days(3))
    world.sync()
    world.source.put("1", "", "Anna", appointment=in_days(3))
    world.sync()
    world.triggers = trigger("date", field="appointment", offset="-24h")
    world.sync()
    assert plans(world) == [None]


def test_a_birthday_comes_every_year(world: World) -> None:
    world.triggers = trigger("date", field="born", at="10:00", every_year=True)
    world.source.put("1", ANNA, "Anna", born="1980-07-04")
    world.sync()
    now = utcnow()
    years = []
    for _ in range(3):
        (due,) = plans(world)
        assert due is not None
        years.append(due.year)
        assert fire_due_dates(world.runtime(), due + timedelta(minutes=1)) == 1
    assert years == [years[0], years[0] + 1, years[0] + 2]
    assert years[0] in (now.year, now.year + 1)
    assert len({row.idempotency_key for row in world.messages()}) == 3


@pytest.mark.parametrize(("late", "state"), [("119m", "queued"), ("121m", "expired"), ("9d", "expired")])
def test_a_plan_that_was_missed_is_late_from_its_own_time_on(world: World, late: str, state: str) -> None:
    world.triggers = trigger("date", field="appointment", expires_after="2h")
    world.source.put("1", ANNA, "Anna", appointment=in_days(1))
    world.sync()
    (planned,) = plans(world)
    assert planned is not None
    assert fire_due_dates(world.runtime(), planned + parse_duration(late)) == 1
    (row,) = world.messages()
    assert (row.state, row.expires_at) == (state, planned + timedelta(hours=2))
    assert fire_due_dates(world.runtime(), planned + timedelta(days=10)) == 0


def test_an_occurrence_that_is_planned_again_changes_nothing(world: World) -> None:
    """As after a change of the person's zone; the text may have other words by then."""
    world.triggers = trigger("date", field="appointment")
    at = in_days(1)
    world.source.put("1", ANNA, "Anna", appointment=at)
    world.source.put("2", BEN, "Ben", appointment=in_days(2))
    world.sync()
    (first, second) = world.rows(date_plan)
    assert fire_due_dates(world.runtime(), first.due_at) == 1
    world.source.put("1", ANNA, "Annabel", appointment=at)
    world.sync()
    with writing(world.engine) as db:
        again = update(date_plan).where(date_plan.c.id == first.id)
        db.execute(again.values(occurrence=first.occurrence, due_at=first.due_at))
    assert fire_due_dates(world.runtime(), second.due_at) == 2
    assert [row.text for row in world.messages()] == ["Hi Anna", "Hi Ben"]


@pytest.mark.parametrize("phone", ["", "12", "+14155550199"])
def test_a_record_that_lost_its_phone_is_texted_at_the_old_one_no_more(world: World, phone: str) -> None:
    world.triggers = trigger("date", field="appointment", offset="-24h") | {
        "new": CreatedTrigger(connections=("crm",), on="created", message="Welcome")
    }
    world.source.put("2", BEN, "Ben")
    world.sync()
    world.source.put("1", ANNA, "Anna", appointment=in_days(3))
    world.sync()
    world.source.put("1", phone, "Anna", appointment=in_days(3))
    world.sync()
    deliver_now(world)
    (welcome,) = world.messages()
    assert (welcome.state, welcome.reason.split(":")[0]) == ("suppressed", "phone_changed")
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=2, minutes=1))
    assert [row.to_number for row in world.messages()[1:]] == ([phone] if len(phone) > 2 else [])
    world.source.put("1", ANNA, "Anna", appointment=in_days(4))
    world.sync()
    assert len([one for one in plans(world) if one]) == 1, "with its phone it is planned again"


def test_a_text_about_a_date_waits_at_a_number_that_its_record_has_no_more(world: World) -> None:
    world.triggers = trigger("date", field="appointment", offset="-24h")
    world.source.put("1", ANNA, "Anna", appointment=in_days(1.001))
    world.sync()
    fire_due_dates(world.runtime(), utcnow() + timedelta(minutes=3))
    world.source.put("1", "", "Anna", appointment=in_days(1.001))
    world.sync()
    deliver_now(world)
    (row,) = world.messages()
    assert (row.state, row.reason.split(":")[0]) == ("suppressed", "phone_changed")


def test_a_date_that_everybody_has_texts_nobody_unasked(world: World) -> None:
    """Such as 1 January, which systems put where nobody knows a birthday."""
    world.triggers = trigger("date", field="born", at="10:00", every_year=True)
    world.policy = Policy(quiet_hours="none", blast_limit=5)
    for index in range(6):
        world.source.put(str(index), f"+1415555{index + 1000:04d}", f"P{index}", born="1980-01-01")
    world.sync()
    last = max(one for one in plans(world) if one)
    fire_due_dates(world.runtime(), last)
    assert Counter(states(world)) == {"held": 6}
    assert "policy.blast_limit allows up to 5" in world.messages()[0].reason
    assert approve(world.runtime(), trigger="t", actor="ann") == 6
    assert Counter(states(world)) == {"queued": 6}


def test_two_schedulers_fire_each_plan_once(world: World) -> None:
    world.triggers = trigger("date", field="appointment")
    world.policy = Policy(quiet_hours="none", breaker_floor=1000)
    for index in range(60):
        world.source.put(str(index), f"+1415555{index + 1000:04d}", f"P{index}", appointment=in_days(1))
    world.sync()
    later = utcnow() + timedelta(days=1, minutes=1)
    runtimes = [world.runtime() for _ in range(3)]
    threads = [threading.Thread(target=fire_due_dates, args=(one, later)) for one in runtimes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.messages()) == 60


def test_a_trigger_that_fails_does_not_hold_up_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.triggers = trigger("date", field="appointment")
    world.triggers["broken"] = world.triggers["t"].model_copy(update={"message": "Broken {{ contact.first_name }}"})
    world.source.put("1", ANNA, "Anna", appointment=in_days(1))
    world.sync()
    later = utcnow() + timedelta(days=1, minutes=1)
    right = date_plans.write_text

    def write_text(rule: TextRule, event: RecordEvent, occurrence: str) -> TextIntent | None:
        if rule.name == "broken":
            raise ZeroDivisionError
        return right(rule, event, occurrence)

    with monkeypatch.context() as patch:
        patch.setattr(date_plans, "write_text", write_text)
        fire_due_dates(world.runtime(), later)
    assert [row.trigger for row in world.messages()] == ["t"]
    fire_due_dates(world.runtime(), later)
    assert sorted(row.trigger for row in world.messages()) == ["broken", "t"], "and it is tried again"


def test_a_switched_off_trigger_forgets_its_plans(world: World) -> None:
    world.triggers = trigger("date", field="appointment")
    world.source.put("1", ANNA, "Anna", appointment=in_days(1))
    world.sync()
    world.triggers = {}
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=1, minutes=1))
    assert (plans(world), world.messages()) == ([], [])


def test_a_trigger_that_is_of_another_kind_now_forgets_its_plans(world: World) -> None:
    world.triggers = trigger("date", field="appointment")
    world.source.put("1", ANNA, "Anna", appointment=in_days(1))
    world.sync()
    world.triggers = trigger("created")
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=1, minutes=1))
    assert (plans(world), world.messages()) == ([], [])


def test_a_trigger_that_watches_another_connection_forgets_the_plans_of_this_one(world: World) -> None:
    world.crm["shop"] = ListSource()
    world.triggers = trigger("date", field="appointment")
    world.source.put("1", ANNA, "Anna", appointment=in_days(1))
    world.sync()
    world.triggers = {"t": world.triggers["t"].model_copy(update={"connections": ("shop",)})}
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=1, minutes=1))
    assert (plans(world), world.messages()) == ([], [])
