"""A text about a record has the name of its own person, and the hour of that person's clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from config.models import Settings
from config.triggers import Trigger
from tests.contacts.conftest import World
from tests.fakes import LogSource
from worker.messages.date_plans import fire_due_dates
from worker.messages.delivery import deliver_due
from worker.store.models import utcnow
from worker.store.tables import date_plan

SHARED = "+14155550101"


def trigger(on: str, **more: Any) -> dict[str, Trigger]:
    options = {"connections": "crm", "on": on, "message": "Hello {{ contact.first_name }}"} | more
    return Settings.model_validate({"triggers": {"t": options}}).triggers


def texts(world: World) -> list[str]:
    return [row.text or row.reason for row in world.messages()]


def test_of_two_people_with_one_number_each_is_greeted_by_their_own_name(world: World) -> None:
    world.triggers = trigger("changed", field="order", to="ready")
    world.source.put("1", SHARED, "Cindy Low", order="open")
    world.source.put("2", SHARED, "Dan Moss", order="open")
    world.sync()
    world.source.put("2", SHARED, "Dan Moss", order="ready")
    assert [one.text for one in world.plan().texts] == ["Hello Dan"]
    world.sync()
    assert texts(world) == ["Hello Dan"]


@pytest.mark.parametrize("first", ["1", "2"])
def test_a_record_without_a_name_does_not_borrow_that_of_another_one(world: World, first: str) -> None:
    names = {"1": "Cindy Low", "2": ""}
    world.triggers = trigger("changed", field="order", to="ready")
    for record in sorted(names, key=lambda one: one != first):
        world.source.put(record, SHARED, names[record], order="open")
    world.sync()
    world.source.put("2", SHARED, "", order="ready")
    world.sync()
    (said,) = texts(world)
    assert "contact.first_name is empty or missing in this record" in said
    assert [row.state for row in world.messages()] == ["suppressed"]


def test_a_deal_has_the_name_of_its_own_person(world: World) -> None:
    log = LogSource()
    world.crm["crm"] = log  # type: ignore[assignment]
    soon = (utcnow() + timedelta(days=2)).date().isoformat()
    world.triggers = trigger("created", record="deal") | {
        "later": trigger("date", record="deal", field="closes", message="Bye {{ contact.full_name }}")["t"]
    }
    log.put("cindy", SHARED, "Cindy Low")
    log.put("dan", SHARED, "Dan Moss")
    log.put_deal("deal:0", "cindy", title="Roof")
    world.sync()
    log.put_deal("deal:1", "dan", title="Door", closes=soon)
    world.sync()
    assert texts(world) == ["Hello Dan"]
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=4))
    assert texts(world) == ["Hello Dan", "Bye Dan Moss"]


def test_a_text_about_a_date_has_the_name_of_its_own_record(world: World) -> None:
    soon = (utcnow() + timedelta(days=2)).isoformat()
    world.triggers = trigger("date", field="visit", only_if="contact.full_name == 'Dan Moss'")
    world.source.put("1", SHARED, "Cindy Low", visit="")
    world.source.put("2", SHARED, "Dan Moss", visit=soon)
    world.sync()
    fire_due_dates(world.runtime(), utcnow() + timedelta(days=3))
    assert texts(world) == ["Hello Dan"]
    deliver_due(world.runtime())
    assert [row.state for row in world.messages()] != ["suppressed"], "the condition is asked again with that name"


CLOCKS = {
    "+14155550101": ("", "9:00 AM"),  # California
    "+12125550101": ("", "12:00 PM"),  # New York
    "+12125550102": ("America/Chicago", "11:00 AM"),
    "+442079460018": ("", "5:00 PM"),
    "+12085550101": ("", "or 9:00 AM (America/Los_Angeles); name the field with the time zone"),  # 208 has two zones
    "+12085550102": ("America/Boise", "10:00 AM"),
}


def test_a_time_is_written_by_the_clock_of_the_person(world: World) -> None:
    world.connections = {"crm": {"fields": {"phone": "phone", "full_name": "name", "time_zone": "tz"}}}
    world.triggers = trigger("changed", field="visit", message="See you at {{ visit | local_time }}")
    for visit in ("", "2030-12-01T17:00:00Z"):
        for phone, (zone, _) in CLOCKS.items():
            world.source.put(phone, phone, "Ana", visit=visit, tz=zone)
        world.sync()
    said = {row.to_number: row.text or row.reason for row in world.messages()}
    assert {phone for phone, (_, wanted) in CLOCKS.items() if wanted not in said[phone]} == set(), said
    assert [row.to_number for row in world.messages() if not row.text] == ["+12085550101"]


def test_a_text_and_its_trigger_go_by_the_same_clock(world: World) -> None:
    visit = (utcnow() + timedelta(days=3)).replace(hour=17, minute=0, second=0, microsecond=0)
    local = visit.astimezone(ZoneInfo("America/Los_Angeles"))
    world.triggers = trigger("date", field="visit", offset="-1h", message="At {{ visit | date: '%-d, %H:%M' }}")
    world.source.put("1", SHARED, "Ana", visit=visit.isoformat())
    world.source.put("2", "+14155550103", "Ben", visit=f"{local:%Y-%m-%d %H:%M}")
    world.sync()
    assert {row.due_at for row in world.rows(date_plan)} == {visit - timedelta(hours=1)}
    fire_due_dates(world.runtime(), visit)
    assert texts(world) == [f"At {local:%-d, %H:%M}"] * 2
