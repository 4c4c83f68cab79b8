"""What the store keeps of triggers stays the same, or an upgrade texts people twice; and every kind has its class."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from config.models import Settings
from config.triggers import Trigger
from worker.messages.reentry import intent_key
from worker.triggers.evaluate import depends_on_record, evaluate, no_longer_wanted, write_text
from worker.triggers.kinds import KINDS, PlannedByDate, RecordEvent
from worker.triggers.rules import TextRule, compile_rules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
US = "US"
OLD = {"status": "Ordered", "balance": "5", "Order Status": "x"}
NEW = {"status": "ready", "balance": "5", "Order Status": ""}

WHEN: list[tuple[dict[str, Any], str]] = [
    ({"on": "created"}, "each record of crm that is new"),
    ({"on": "created", "record": "deal", "delay": "2h"}, "each deal of crm that is new, 2h later"),
    ({"on": "changed", "field": "status"}, "each record of crm whose field `status` changes"),
    (
        {"on": "changed", "field": "a", "from": "x", "to": "y"},
        "each record of crm whose field `a` changes from `x` to `y`",
    ),
    ({"on": "changed", "field": "a", "to": ""}, "each record of crm whose field `a` changes to empty"),
    ({"on": "entered", "condition": "a > 1"}, "each record of crm that begins to meet `a > 1`"),
    ({"on": "created", "only_if": "a"}, "each record of crm that is new, if `a` holds"),
    ({"on": "date", "field": "visit"}, "each record of crm at the date in `visit`"),
    ({"on": "date", "field": "visit", "offset": "-24h"}, "each record of crm 24h before the date in `visit`"),
    (
        {"on": "date", "field": "born", "offset": "+2h", "at": "10:00", "every_year": True},
        "each record of crm 2h after the date in `born`, every year, at 10:00",
    ),
]

ONCE, AGAIN = "trigger:t:5:created", "trigger:t:crm:17:r4"
# Of the first release with triggers: (options, fingerprint, key for a new record, key for its fourth version).
GOLDEN: dict[str, tuple[dict[str, Any], str, str | None, str | None]] = {
    "created": ({"on": "created"}, "06ec1aaebb38159416bcd73cbd770ccb", ONCE, None),
    "created, only if": ({"on": "created", "only_if": "status"}, "06ec1aaebb38159416bcd73cbd770ccb", ONCE, None),
    "changed": ({"on": "changed", "field": "status"}, "d34f2124d718522c5228a0f0988981a3", None, AGAIN),
    "changed, from and to": (
        {"on": "changed", "field": "status", "from": "Ordered", "to": "Ready"},
        "5aee2f5db5b88e3997fb4a66c26eec02",
        None,
        AGAIN,
    ),
    "changed to empty": (
        {"on": "changed", "field": "Order Status", "to": ""},
        "2e921ed001dc7e45360d41f4c6e7ee53",
        None,
        AGAIN,
    ),
    "entered": (
        {"on": "entered", "condition": "status == 'ready' and balance > 0"},
        "1b71b6f155f724a228471d46571de8af",
        ONCE,
        AGAIN,
    ),
    "date": ({"on": "date", "field": "appointment"}, "2671de31f963ec959ecb6ae9d763d638", None, None),
    "date, before": (
        {"on": "date", "field": "appointment", "offset": "-24h"},
        "5ea702791cd8ece0117a73233df31212",
        None,
        None,
    ),
    "date, at an hour": (
        {"on": "date", "field": "appointment", "offset": "+2d", "at": "10:00"},
        "1fd14b49c91dcc2f1729a54fac510a37",
        None,
        None,
    ),
    "date, every year": (
        {"on": "date", "field": "Birthday", "at": "10:30", "every_year": True},
        "d3fcd6daa1bd2c8a5c34bba83cdfc858",
        None,
        None,
    ),
}


def rule(options: dict[str, Any]) -> TextRule:
    settings = Settings.model_validate({"triggers": {"t": {"connections": "crm", "message": "Hi"} | options}})
    return compile_rules(settings)["crm"][0]


def event(old: dict[str, Any] | None, new: dict[str, Any], contact: int | None = 5) -> RecordEvent:
    return RecordEvent("crm", "17", contact, "+14155552671", "Ann Bee", "ann@example.com", old, new, 4)


def key_of(options: dict[str, Any], happened: RecordEvent) -> str | None:
    keys = [intent_key(intent) for intent in evaluate([rule(options)], happened)]
    return keys[0] if keys else None


@pytest.mark.parametrize("case", GOLDEN)
def test_stored_fingerprints_and_keys_stay_the_same(case: str) -> None:
    options, fingerprint, created, changed = GOLDEN[case]
    assert rule(options).fingerprint == fingerprint
    assert key_of(options, event(None, NEW)) == created
    assert key_of(options, event(OLD, NEW)) == changed
    without_contact = None if created is None else "trigger:t:crm:17:created"
    assert key_of(options, event(None, NEW, contact=None)) == without_contact


# Likewise: (value of the field, occurrence, due at for a contact in New York).
PLANNED = [
    ("2026-03-09", "2026-03-09", "2026-03-08T05:00:00+00:00"),
    ("3/9/2026", "2026-03-09", "2026-03-08T05:00:00+00:00"),
    ("2026-03-09T10:30", "2026-03-09T10:30:00", "2026-03-08T14:30:00+00:00"),
    ("2026-03-09T10:30:00Z", "2026-03-09T10:30:00+00:00", "2026-03-08T10:30:00+00:00"),
    ("1773052200000", "2026-03-09T10:30:00+00:00", "2026-03-08T10:30:00+00:00"),
    ("20260309", "2026-03-09T00:00:00", "2026-03-08T05:00:00+00:00"),
]


@pytest.mark.parametrize("every_year", [False, True])
@pytest.mark.parametrize(("value", "occurrence", "at"), PLANNED)
def test_stored_plans_and_their_keys_stay_the_same(value: str, occurrence: str, at: str, every_year: bool) -> None:
    planned = rule({"on": "date", "field": "when", "offset": "-24h", "every_year": every_year})
    assert isinstance(planned.kind, PlannedByDate)
    due = planned.kind.next_due({"when": value}, lambda: ["America/New_York"], NOW, US)
    assert due is not None
    assert (due.occurrence, due.at.isoformat()) == (f"{occurrence}/2026" if every_year else occurrence, at)
    intent = write_text(planned, event(None, {}), due.occurrence)
    assert intent is not None
    key = intent_key(intent)
    assert key == f"trigger:t:crm:17:{due.occurrence}"
    assert planned.kind.moved({"when": value}, key, US) == ""
    assert "now has another date" in planned.kind.moved({"when": "2026-03-10"}, key, US)
    assert "now has another date" in planned.kind.moved({}, key, US)


def test_zones_are_looked_up_only_for_records_with_a_date() -> None:
    planned = rule({"on": "date", "field": "when"})
    assert isinstance(planned.kind, PlannedByDate)

    def zones() -> list[str]:
        raise AssertionError("the zones were asked for")

    assert planned.kind.next_due({"when": "soon"}, zones, NOW, US) is None


@pytest.mark.parametrize(
    ("options", "depends", "record", "code"),
    [
        ({"on": "created"}, False, {}, None),
        ({"on": "created", "only_if": "vip"}, True, {"vip": "yes"}, None),
        ({"on": "created", "only_if": "vip"}, True, {"vip": ""}, "stop_condition"),
        ({"on": "date", "field": "when"}, True, {"when": "2026-03-09"}, None),
        ({"on": "date", "field": "when"}, True, {"when": "2026-03-10"}, "moved"),
        ({"on": "date", "field": "when"}, True, {"when": "soon"}, "moved"),
        *[
            ({"on": "date", "field": "when"}, True, {"when": spelling}, None)
            for spelling in ("3/9/2026", "9 March 2026", "2026-03-09 00:00:00", "1773014400000", "20260309")
        ],
        ({"on": "date", "field": "when", "only_if": "vip"}, True, {"when": "2026-03-09"}, "stop_condition"),
        ({"on": "date", "field": "when", "only_if": "vip"}, True, {"when": "2026-03-10"}, "moved"),
    ],
)
def test_what_makes_a_queued_text_unwanted(
    options: dict[str, Any], depends: bool, record: dict[str, Any], code: str | None
) -> None:
    trigger = rule(options).options
    assert depends_on_record(trigger) is depends
    found = no_longer_wanted(trigger, record, {}, "trigger:t:crm:17:2026-03-09", US)
    assert (found and found[0]) == code


@pytest.mark.parametrize(
    ("key", "every_year", "record", "stays"),
    [
        ("trigger:t:crm:17:2026-03-09T10:30:00+00:00", False, "2026-03-09T12:30:00+02:00", True),
        ("trigger:t:crm:17:2026-03-09T10:30:00", False, "3/9/2026 10:30 AM", True),
        ("trigger:t:crm:17:2026-03-09T10:30:00", False, "3/9/2026 11:30 AM", False),
        ("trigger:t:crm:2026-03-09:2026-03-10", False, "3/9/2026", False),  # the record's id looks like a date
        ("trigger:t:crm:17:1980-03-09/2026", True, "3/9/1980", True),
        ("trigger:t:crm:17:1980-03-09/2026", True, "3/9/1981", False),
        ("trigger:t:crm:17:1980-03-09", True, "3/9/1980", False),  # of the time before it was every year
        ("trigger:t:crm:17:r4", False, "3/9/1980", False),
    ],
)
def test_a_date_in_another_spelling_has_not_moved(key: str, every_year: bool, record: str, stays: bool) -> None:
    kind = rule({"on": "date", "field": "when", "every_year": every_year}).kind
    assert isinstance(kind, PlannedByDate)
    assert (kind.moved({"when": record}, key, US) == "") is stays


def test_a_deal_is_not_its_person_so_each_has_its_text() -> None:
    created = rule({"on": "created", "record": "deal"})
    keys = {key for number in ("d1", "d2") for key in map(intent_key, evaluate([created], deal(None, number)))}
    assert keys == {"trigger:t:crm:d1:created", "trigger:t:crm:d2:created"}


def deal(old: dict[str, Any] | None, external_id: str = "d1", **new: Any) -> RecordEvent:
    return replace(event(old, new), kind="deal", external_id=external_id)


@pytest.mark.parametrize("options", [options for options, *_ in GOLDEN.values()], ids=list(GOLDEN))
def test_a_trigger_watches_one_kind_of_record(options: dict[str, Any]) -> None:
    people, deals = rule(options), rule(options | {"record": "deal"})
    assert people.fingerprint != deals.fingerprint  # it needs a new baseline
    for old in (None, OLD):
        assert evaluate([deals], event(old, NEW)) == []
        assert evaluate([people], deal(old, **NEW)) == []
        texts = [intent.text for intent in evaluate([people], event(old, NEW))]
        assert [intent.text for intent in evaluate([deals], deal(old, **NEW))] == texts


def test_every_kind_of_the_configuration_has_its_class() -> None:
    assert {kind.model for kind in KINDS} == set(get_args(get_args(Trigger)[0]))


@pytest.mark.parametrize(("options", "when"), WHEN)
def test_when_a_trigger_fires_in_words(options: dict[str, Any], when: str) -> None:
    trigger = TypeAdapter[Trigger](Trigger).validate_python({"connections": "crm", "message": "hi"} | options)
    assert trigger.when == f"It texts about {when}"
