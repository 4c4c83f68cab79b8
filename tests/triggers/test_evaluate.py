from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.models import Settings
from worker.triggers.evaluate import TextIntent, evaluate
from worker.triggers.kinds import RecordEvent
from worker.triggers.liquid_dialect import TextEnvironment
from worker.triggers.rules import TextRule, compile_rules
from worker.triggers.templates import TemplateProblem

Old = dict[str, Any] | None


def trigger(**values: Any) -> dict[str, Any]:
    watching = {} if values.get("on", "changed") != "changed" else {"on": "changed", "field": "status"}
    return {"connections": ["crm"], "message": "Now {{ status }}"} | watching | values


def rule(**values: Any) -> TextRule:
    return compile_rules(Settings.model_validate({"triggers": {"ready": trigger(**values)}}))["crm"][0]


def event(old: Old, new: dict[str, Any], **values: Any) -> RecordEvent:
    return RecordEvent(
        connection="crm",
        external_id="17",
        contact_id=5,
        phone="+14155552671",
        full_name="Ann Bee",
        email="ann@example.com",
        old=old,
        new=new,
        revision=4,
        **values,
    )


def fires(watching: TextRule, old: Old, new: dict[str, Any]) -> bool:
    return bool(evaluate([watching], event(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Ordered", "Ready", True),
        ("Ready", "Ordered", True),
        ("Ready", "Ready", False),
        ("Ready", " Ready ", False),
        ("Ready", "READY", False),
        ("é", "e\u0301", False),  # one letter, written in two ways
        ("", "Ready", True),
        (None, "", False),
        (None, "Ready", True),
        ("Ready", None, True),
        (3, 3.0, False),
        (3, "3", False),
        (3, 4, True),
        (True, "true", False),
        (True, False, True),
        (["a"], ["a"], False),
        (["a"], ["a", "b"], True),
        ({"x": 1, "y": 2}, {"y": 2, "x": 1}, False),
        ({"x": 1}, None, True),
    ],
)
def test_what_is_a_change(old: object, new: object, expected: bool) -> None:
    assert fires(rule(message="!"), {"status": old}, {"status": new}) is expected


@pytest.mark.parametrize(
    ("from_value", "to_value", "old", "new", "expected"),
    [
        (None, "Ready", "Ordered", "Ready", True),
        (None, "Ready", "Ordered", " ready", True),
        (None, "Ready", "Ordered", "Shipped", False),
        (None, "Ready", "ready", "Ready", False),
        ("Ordered", None, "ORDERED ", "Shipped", True),
        ("Ordered", None, "Paid", "Shipped", False),
        ("Ordered", "Ready", "Ordered", "Ready", True),
        ("Ordered", "Ready", "Paid", "Ready", False),
        ("", "Ready", None, "Ready", True),
        ("", "Ready", "Ordered", "Ready", False),
        (None, "", "Ordered", "", True),
        (None, "3", 2, 3.0, True),
        (None, "true", False, True, True),
    ],
)
def test_from_and_to(from_value: str | None, to_value: str | None, old: object, new: object, expected: bool) -> None:
    watching = rule(**{"from": from_value, "to": to_value, "message": "!"})
    assert fires(watching, {"status": old}, {"status": new}) is expected


def test_a_column_that_was_just_added_is_no_change() -> None:
    assert not fires(rule(), {"name": "Ann"}, {"name": "Ann", "status": "Ready"})


def test_a_column_that_is_gone_is_a_change_to_empty() -> None:
    assert fires(rule(message="!"), {"status": "Ready"}, {"name": "Ann"})
    assert fires(rule(to="", message="!"), {"status": "Ready"}, {"name": "Ann"})
    assert not fires(rule(to="Ready", message="!"), {"status": "Ordered"}, {"name": "Ann"})
    assert not fires(rule(message="!"), {"status": ""}, {"name": "Ann"})


def test_a_field_may_be_named_as_the_crm_or_as_a_template_does() -> None:
    for field in ("Order Status", "order_status"):
        watching = rule(field=field, message="!")
        assert fires(watching, {"Order Status": "a"}, {"Order Status": "b"})
        assert not fires(watching, {"Order Status": "a"}, {"Order Status": "a"})


def test_the_exact_name_wins_and_is_never_compared_with_another_column() -> None:
    watching = rule(field="status", message="!")
    assert not fires(watching, {"Status": "x", "status": "a"}, {"Status": "y", "status": "a"})
    assert not fires(watching, {"Status": "x"}, {"Status": "x", "status": "a"})  # the column "status" is new


def test_a_field_that_nobody_has_never_fires() -> None:
    assert not fires(rule(field="colour", message="!"), {"status": "a"}, {"status": "b"})


def test_created_and_changed_are_two_things() -> None:
    created, changed = rule(on="created"), rule()
    assert fires(created, None, {"status": "Ready"})
    assert not fires(created, {"status": "Ordered"}, {"status": "Ready"})
    assert not fires(changed, None, {"status": "Ready"})


def test_a_rule_watches_only_its_connections() -> None:
    elsewhere = replace(event({"status": "a"}, {"status": "b"}), connection="shop")
    assert evaluate([rule()], elsewhere) == []


def test_an_intent_says_everything_the_outbox_needs() -> None:
    watching = rule(
        media="https://example.com/map.png",
        from_number="+14155550101",
        expires_after="4h",
        message="{{ contact.first_name }}: {{ old.status }} -> {{ status }}",
    )
    assert evaluate([watching], event({"status": "Ordered"}, {"status": "Ready"})) == [
        TextIntent(
            trigger="ready",
            connection="crm",
            external_id="17",
            contact_id=5,
            phone="+14155552671",
            text="Ann: Ordered -> Ready",
            media=("https://example.com/map.png",),
            from_number="+14155550101",
            expires_after=timedelta(hours=4),
            occurrence="r4",
        )
    ]


def test_occurrences_are_the_revision_or_once() -> None:
    changed = evaluate([rule()], event({"status": "a"}, {"status": "b"}))
    created = evaluate([rule(on="created")], event(None, {"status": "b"}))
    assert [intent.occurrence for intent in changed + created] == ["r4", "created"]


def test_a_text_that_cannot_be_written_is_kept_with_its_reason() -> None:
    (intent,) = evaluate([rule(message="Hi {{ nickname }},")], event({"status": "a"}, {"status": "b"}))
    assert intent.text == ""
    assert intent.problem.startswith("line 1: nickname is empty or missing in this record")


def test_one_text_that_cannot_be_written_keeps_no_other_back() -> None:
    good, bad = rule(message="ok"), rule(message="{{ nosuch }}")
    intents = evaluate([bad, good], event({"status": "a"}, {"status": "b"}))
    assert [(intent.text, bool(intent.problem)) for intent in intents] == [("", True), ("ok", False)]


def test_rules_by_connection_in_the_order_of_the_configuration() -> None:
    triggers = {
        "b": trigger(connections=["crm", "shop", "crm"]),
        "a": trigger(connections="crm"),
        "off": trigger(enabled=False, connections="other"),
    }
    settings = Settings.model_validate({"triggers": triggers})
    names = {connection: [rule.name for rule in rules] for connection, rules in compile_rules(settings).items()}
    assert names == {"crm": ["b", "a"], "shop": ["b"]}


def test_a_text_that_is_no_template_stops_the_configuration() -> None:
    with pytest.raises(TemplateProblem, match="line 1: expected '}}'"):
        rule(message="Hi {{ first_name")


@pytest.mark.parametrize("change", [{"on": "created"}, {"field": "stage"}, {"from": "a"}, {"to": "a"}, {"to": ""}])
def test_watching_something_else_is_another_fingerprint(change: dict[str, Any]) -> None:
    assert rule(**change).fingerprint != rule().fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"message": "Other words"},
        {"media": "https://example.com/x.png"},
        {"from_number": "+14155550101"},
        {"expires_after": "2h"},
        {"connections": ["crm", "shop"]},
    ],
)
def test_saying_something_else_keeps_the_baseline(change: dict[str, Any]) -> None:
    assert rule(**change).fingerprint == rule().fingerprint


def test_equal_configuration_makes_equal_rules() -> None:
    assert rule() == rule()
    assert rule() != rule(message="Other words")


VALUES = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", " A ", "b", "1", "true"])
RECORDS = st.dictionaries(st.sampled_from(["status", "Status", "name"]), VALUES)


@given(RECORDS)
def test_an_unchanged_record_never_texts(record: dict[str, Any]) -> None:
    assert not fires(rule(message="!"), record, dict(record))


@given(RECORDS, RECORDS, st.sampled_from(["a", "b", "1", ""]))
def test_a_narrower_rule_fires_only_where_the_wider_one_does(old: dict[str, Any], new: dict[str, Any], to: str) -> None:
    narrow, wide = rule(to=to, message="!"), rule(message="!")
    assert fires(wide, old, new) or not fires(narrow, old, new)


@given(RECORDS, RECORDS)
def test_the_same_event_gives_the_same_texts(old: dict[str, Any], new: dict[str, Any]) -> None:
    happened = event(old, new)
    assert evaluate([rule()], happened) == evaluate([rule()], happened)


def test_the_operators_page_shows_triggers_that_work_and_every_filter() -> None:
    page = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text(encoding="utf-8")
    example = tomllib.loads(page.partition("```toml\n")[2].partition("```")[0])
    rules = compile_rules(Settings.model_validate(example))
    assert [rule.name for rule in rules["crm"]] == ["welcome", "order_ready"]
    listed = page.partition("Filters: ")[2].partition(".\n")[0]
    assert set(re.findall("`([a-z_]+)`", listed)) == set(TextEnvironment().filters)
