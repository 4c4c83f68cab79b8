"""What `vtsync check` finds when it compares the values that triggers ask for with those of the source."""

from __future__ import annotations

from typing import Any

import pytest

from config.models import Settings
from crm_adapters.base import CrmField
from worker.core.findings import Level
from worker.doctor.field_values import judge_values

FIELDS = [
    CrmField("mobile", type="phone", values=("+14155550101",)),
    CrmField("Status", type="choice", values=("Open", "Ready", "10", "1,500")),
    CrmField("note", values=("hello",)),
    CrmField("total", values=("$1,250.00", "99", "")),
    CrmField("odd", values=("call us", "1.234,50", "7")),
    CrmField("visit", values=("12/1/2026 9:00 AM", "2026-12-01")),
    CrmField("serial", values=("46357", "n/a")),
    CrmField("vip", type="boolean", values=("true", "false")),
    CrmField("agent", type="choice", values=("Ann", "Ben")),
    CrmField("stage", type="choice", values=("won", "lost"), kind="deal"),
]
ON_CHANGE = {"on": "changed", "field": "status", "message": "Hi"}
ENTERED = {"on": "entered", "message": "Hi"}


def found(trigger: dict[str, Any], region: str | None = "US", **connection: Any) -> list[str]:
    account = {"uid": "u", "token": "t", "from_number": "+14155550100"}
    settings = Settings.model_validate(
        {
            "accounts": {"main": account},
            "connections": {"crm": {"adapter": "csv", "account": "main", "default_region": region} | connection},
            "triggers": {"t": {"connections": "crm"} | trigger} if trigger else {},
        }
    )
    findings = list(judge_values(settings, "crm", FIELDS))
    assert all(one.why and one.do and one.level is Level.WARNING for one in findings)
    return [f"{one.found} | {one.why} | {one.do}" for one in findings]


WELL = [
    ON_CHANGE | {"to": "Ready"},
    ON_CHANGE | {"to": "ready", "from": "OPEN"},
    ON_CHANGE | {"to": "1500"},
    ON_CHANGE | {"to": ""},
    ON_CHANGE | {"field": "note", "to": "anything"},
    ENTERED | {"condition": "status == 'Ready' and total > 100 and vip"},
    ENTERED | {"condition": "status == 10 or note == 'x' or nosuch == 'y' or visit > '2026-01-01'"},
    ENTERED | {"condition": "contact.first_name == 'Ana' and note > 'a'"},
    {"on": "date", "field": "visit", "message": "{% if status == 'Open' %}a{% endif %}b"},
    {"on": "entered", "record": "deal", "condition": "stage == 'won'", "message": "Hi"},
    ON_CHANGE | {"to": "nothing", "enabled": False},
]


@pytest.mark.parametrize("trigger", WELL, ids=str)
def test_what_a_field_can_hold_is_fine(trigger: dict[str, Any]) -> None:
    assert found(trigger) == []


ILL: list[tuple[dict[str, Any], str]] = [
    (ON_CHANGE | {"to": "Redy"}, 'triggers.t.to: the field "status" has no choice "Redy" | no record can have it'),
    (ON_CHANGE | {"from": "New"}, 'triggers.t.from: the field "status" has no choice "New"'),
    (
        ENTERED | {"condition": "status == 'ready'"},
        'triggers.t.condition: the field "status" has no choice "ready" | capitals and small letters count in a '
        'condition | its choices are: "Ready"',
    ),
    (ENTERED | {"condition": "status", "only_if": "status != 'Gone'"}, 'triggers.t.only_if: the field "status" has no'),
    (
        ENTERED | {"condition": "vip", "message": "{% if status == 'Shut' %}a{% endif %}b"},
        'triggers.t.message: the field "status" has no choice "Shut"',
    ),
    (
        {"on": "entered", "record": "deal", "condition": "stage == 'Won'", "message": "Hi"},
        'triggers.t.condition: the field "stage" has no choice "Won"',
    ),
    (
        ENTERED | {"condition": "odd > 100"},
        'triggers.t.condition: 2 of 3 values of "odd" that were looked at cannot be read as a number: "call us", '
        '"1.234,50"',
    ),
    (ENTERED | {"condition": "vip > 1"}, 'triggers.t.condition: the field "vip" is a tick box, not a number'),
    (
        {"on": "date", "field": "serial", "message": "Hi"},
        'triggers.t.field: 1 of 1 values of "serial" that were looked at cannot be read as a date: "46357"',
    ),
    (
        {"on": "date", "field": "mobile", "message": "Hi"},
        'triggers.t.field: the field "mobile" is a phone number, not a',
    ),
]


@pytest.mark.parametrize(("trigger", "said"), ILL)
def test_what_no_record_can_have_and_what_cannot_be_read_is_named(trigger: dict[str, Any], said: str) -> None:
    (one,) = found(trigger)
    assert one.startswith(said)


def test_without_a_region_the_remedy_is_to_set_it() -> None:
    (one,) = found({"on": "date", "field": "visit", "message": "Hi"}, None)
    assert one.endswith("| set connections.crm.default_region")


def test_an_owner_that_no_record_can_have_is_named() -> None:
    numbers = {"ann": "+14155550101", "Cid": "+14155550102"}
    (one,) = found({}, fields={"owner": "Agent"}, owner_numbers=numbers)
    assert one.startswith('connections.crm.owner_numbers: no field of fields.owner has the choice "Cid"')
    assert found({}, fields={"owner": "note"}, owner_numbers=numbers) == []
