from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
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
from worker.triggers.unread import Unreadable, UnreadValue

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


VERSIONS: dict[str, tuple[dict[str, Any], Old, dict[str, Any], bool]] = {
    # a field that one version does not have is unknown there
    "changed: left out": ({}, {"status": "Ready"}, {"name": "Ann"}, False),
    "changed: left out, to empty": ({"to": ""}, {"status": "Ready"}, {"name": "Ann"}, False),
    "changed: added": ({}, {"name": "Ann"}, {"status": "Ready"}, False),
    "changed: emptied": ({"to": ""}, {"status": "Ready"}, {"status": None}, True),
    "entered: added": ({"condition": "vip == 'yes'"}, {"name": "Ann"}, {"name": "Ann", "vip": "yes"}, False),
    "entered: added while another one changes": (
        {"condition": "vip == 'yes' and status == 'Open'"},
        {"status": "Closed"},
        {"status": "Open", "vip": "yes"},
        True,
    ),
    "entered: added, and another one would have held before": (
        {"condition": "vip == 'yes' or status == 'Open'"},
        {"status": "Open"},
        {"status": "Open", "vip": "yes"},
        False,
    ),
    "entered: added, not used": ({"condition": "status == 'Open'"}, {"status": "a"}, {"status": "Open", "x": 1}, True),
    "entered: left out": ({"condition": "status != 'Open'"}, {"status": "Open"}, {"name": "Ann"}, False),
    "entered: left out while another one changes": (
        {"condition": "status != 'Open' and vip"},
        {"status": "Done", "vip": ""},
        {"vip": "yes"},
        True,
    ),
    "entered: filled": ({"condition": "vip == 'yes'"}, {"vip": None}, {"vip": "yes"}, True),
    "entered: a new record": ({"condition": "vip == 'yes'"}, None, {"vip": "yes"}, True),
    # a header in another case or with other punctuation is the same field
    "changed: renamed": ({}, {"Status": "Open"}, {"Status:": "Open"}, False),
    "changed: renamed and changed": ({}, {"Status": "Open"}, {"STATUS": "Ready"}, True),
    "changed: a space less": ({"field": "Order Status"}, {"Order Status": "a"}, {"OrderStatus": "b"}, True),
    "entered: renamed": ({"condition": "status == 'Open'"}, {"Status": "Open"}, {"Status:": "Open"}, False),
    "entered: renamed and changed": ({"condition": "status == 'Open'"}, {"Status": "x"}, {"Status:": "Open"}, True),
    # values that are compared as such
    "entered: a date": ({"condition": "due > '2027-01-01'"}, {"due": "5/1/2026"}, {"due": "4/3/2027"}, True),
    "entered: a date in another spelling": (
        {"condition": "due == '4/3/2027'"},
        {"due": "2027-04-03"},
        {"due": "4/3/2027"},
        False,
    ),
    "entered: from unread": ({"condition": "due > '2027-01-01'"}, {"due": "soon"}, {"due": "4/3/2027"}, True),
    "entered: to unread": ({"condition": "due > '2027-01-01'"}, {"due": "5/1/2026"}, {"due": "soon"}, False),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_two_versions(case: str) -> None:
    options, old, new, expected = VERSIONS[case]
    on = case.partition(":")[0]
    watching = rule(on=on, message="!", **options) if on == "entered" else rule(message="!", **options)
    assert bool(evaluate([watching], event(old, new, region="US"))) is expected


SPELLINGS: list[list[object]] = [
    [3, 3.0, "3", "3.0", "3.00", " 3", "03", "3,0", "+3", "3."],
    [1234.5, "1234.5", "1234.50", "1,234.50", "1.234,50", "1 234,50", "1'234.50", "1\u00a0234.5"],
    [1234567, "1234567", "1,234,567", "1.234.567", "1.234567E+6"],
    [1234, "1234", "1,234"],
    [True, "true", "TRUE", " True ", "WAHR", "t"],
    [False, "false", "FALSE", "FALSCH", "FAUX", "f"],
    [None, "", " ", "n/a", "-", "NULL", '=""', "\u221e"],
    ["Ready", "ready ", "READY", "Re\u200bady", '="Ready"'],
    ["Order ready", "Order  ready", "order\u00a0ready", "Order ready\n"],
    [
        "2027-04-03",
        "4/3/2027",
        "04/03/2027",
        "2027-04-03 00:00:00",
        "4/3/27",
        "3-Apr-2027",
        "April 3, 2027",
        '="4/3/2027"',
    ],
    ["2027-04-03T10:30:15", "4/3/2027 10:30", "2027-04-03 10:30", "4/3/2027 10:30:15 AM"],
    ["2027-04-03T10:30:00+02:00", "2027-04-03T08:30:00Z", "2027-04-03 08:30:00 UTC"],
    ["2027-04-03T00:00:00Z", "2027-04-03", "4/3/2027"],
    ["13/04/2027", "2027-04-13"],  # not as the region writes it
    ["007", "7", 7],
    ["$1,250.00", "1250", "1250.00", "US$ 1,250", "USD 1250", 1250],
    ["(99.50)", "-99.5", "99.50-", "\u221299.50"],
    ["O'Brien", "O&#39;Brien", "o&amp;#39;brien"],
    ["12%", "12.0 %"],
]


@pytest.mark.parametrize("spellings", SPELLINGS, ids=lambda spellings: str(spellings[0]))
def test_the_same_value_in_another_spelling_texts_nobody(spellings: list[object]) -> None:
    watching = [
        rule(message="!"),
        *(rule(on="entered", message="!", condition=f"status == {one!r}") for one in spellings if type(one) is str),
        *(rule(on="entered", message="!", condition=f"status != {one!r}") for one in spellings if type(one) is str),
        rule(on="entered", message="!", condition="status"),
        rule(on="entered", message="!", condition="status > 2 or status > '2027-01-01' or status == true"),
    ]
    for old in spellings:
        for new in spellings:
            happened = event({"status": old}, {"status": new}, region="US")
            assert evaluate(watching, happened) == [], (old, new)


DAYS = st.dates(date(1971, 1, 1), date(2028, 12, 31))
DAY_FORMS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d 00:00:00", "%Y-%m-%dT00:00:00Z", "%Y%m%d", "%m/%d/%Y", "%-m/%-d/%Y"),
    *("%m-%d-%Y", "%m/%d/%Y 12:00 AM", "%d-%b-%Y", "%B %-d, %Y", "%A, %B %-d, %Y", " %-d %b %Y "),
)
NUMBERS = st.decimals(-(10**9), 10**9, places=2, allow_nan=False)
NUMBER_FORMS: tuple[Callable[[Decimal], object], ...] = (
    str, float, "{:,}".format, "{:f} ".format, "{:+}".format, "{:.4f}".format, lambda n: f"{n:,}".translate(COMMA_FIRST)
)  # fmt: skip
COMMA_FIRST = str.maketrans(",.", ".,")
WORD_FORMS: tuple[Callable[[str], str], ...] = (str.upper, str.lower, str.title, " {}\n".format, "\ufeff{}".format)


@st.composite
def two_spellings(draw: st.DrawFn) -> tuple[object, object]:
    """One value, written in two ways."""
    kind = draw(st.sampled_from(["day", "number", "words"]))
    if kind == "day":
        day, forms = draw(DAYS), draw(st.tuples(st.sampled_from(DAY_FORMS), st.sampled_from(DAY_FORMS)))
        return day.strftime(forms[0]), day.strftime(forms[1])
    if kind == "number":
        number = draw(NUMBERS)
        ways = draw(st.tuples(st.sampled_from(NUMBER_FORMS), st.sampled_from(NUMBER_FORMS)))
        return ways[0](number), ways[1](number)
    words = draw(st.sampled_from(["ready", "order ready", "N/A", "true", "x-7"]))
    spelt = draw(st.tuples(st.sampled_from(WORD_FORMS), st.sampled_from(WORD_FORMS)))
    return spelt[0](words), spelt[1](words)


@given(two_spellings(), st.sampled_from(["> 100", "> '2000-01-01'", "== 'ready'", "!= 'READY'", "== true", "!= nil"]))
def test_a_change_of_spelling_never_texts(spellings: tuple[object, object], compared: str) -> None:
    happened = event({"status": spellings[0]}, {"status": spellings[1]}, region="US")
    watching = [rule(message="!"), rule(on="entered", message="!", condition=f"status {compared}")]
    assert evaluate(watching, happened) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2027-04-03", "3/4/2027"),
        ("4/3/2027", "3/4/2027"),
        ("2027-04-03 10:30", "4/3/2027 10:31"),
        ("2027-04-03T10:30:00+02:00", "2027-04-03T10:30:00Z"),
        ("3", "3.1"),
        ("1,234", "1,235"),
        ("1.5", "15"),
        ("12", "-12"),
        ("12345678901234567890123456789", "12345678901234567890123456780"),
        ("true", "FALSCH"),
        ("soon", "4/3/2027"),
        ("$5", "€5"),
        ("N", "F"),
    ],
)
def test_another_value_is_a_change(old: str, new: str) -> None:
    assert evaluate([rule(message="!")], event({"status": old}, {"status": new}, region="US"))


@pytest.mark.parametrize(
    ("to_value", "value", "expected"),
    [
        ("2027-04-03", "4/3/2027", True),
        ("4/3/2027", "2027-04-03", True),
        ("2027-04-03", "3/4/2027", False),
        ("3", "3.0", True),
        ("true", True, True),
        ("1", True, True),
        ("1234", "1,234", True),
        ("1234.5", "$1,234.50", True),
        ("1234.5", "1.234,50", False),  # not as the region writes it
        ("5", "12%", False),
        ("7", "007", False),
        ("F", "0", False),
    ],
)
def test_a_value_that_the_trigger_names_must_be_certain(to_value: str, value: object, expected: bool) -> None:
    happened = event({"status": "before"}, {"status": value}, region="US")
    assert bool(evaluate([rule(to=to_value, message="!")], happened)) is expected


UNREAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a number": (
        {"on": "entered", "condition": "balance > 100"},
        {"balance": "1.234.50"},
        '1 record has a value in "balance" that the trigger\'s `condition` cannot compare: "1.234.50" (record 17). The '
        "trigger ready does not text this person. Write a plain number such as 1234.5, or a date such as 2027-04-03.",
    ),
    "a date": (
        {"on": "changed", "field": "status", "only_if": "due >= '2027-01-01'"},
        {"due": "soon"},
        '1 record has a value in "due" that the trigger\'s `only_if` cannot compare: "soon" (record 17). The '
        "trigger ready does not text this person. Write a plain number such as 1234.5, or a date such as 2027-04-03.",
    ),
    "an ambiguous number": (
        {"on": "entered", "condition": "balance > 100"},
        {"balance": "1,234"},
        '1 record has a number in "balance" that can mean two: "1,234" (record 17). The trigger ready does not text '
        "this person. Set `default_region` of the connection, which says if 1,234 is a thousand; or write a plain "
        "number such as 1234.5.",
    ),
    "to what may be another value": (
        {"on": "changed", "field": "status", "to": "1234"},
        {"status": "1,234"},
        '1 record has a value in "status" that the trigger\'s `to` cannot compare: "1,234" (record 17). The trigger '
        "ready does not text this person. Write a plain number such as 1234.5, or a date such as 2027-04-03.",
    ),
    "decided without it": ({"on": "entered", "condition": "balance > 100 and vip"}, {"balance": "much", "vip": ""}, ""),
    "it did not fire": ({"on": "changed", "field": "name", "only_if": "balance > 1"}, {"balance": "much"}, ""),
}


@pytest.mark.parametrize("case", UNREAD)
def test_a_value_that_cannot_be_read_is_named(case: str) -> None:
    options, new, note = UNREAD[case]
    unreadable, unread = Unreadable(), list[tuple[str, UnreadValue]]()
    texts = evaluate([rule(**options)], event({"status": "a"}, {"status": "b"} | new), unread)
    for name, value in unread:
        unreadable.add(name, value, "17")
    assert " ".join(unreadable.notes()) == note
    assert [text for text in texts if not text.problem] == []
    assert bool(texts) is ("only_if" in options and bool(note)), "what should be texted about and is not is kept"


def test_many_values_that_cannot_be_read_are_one_note() -> None:
    unreadable = Unreadable()
    for number in range(12):
        unread: list[tuple[str, UnreadValue]] = []
        evaluate([rule(on="entered", condition="balance > 1")], event(None, {"balance": f"about {number}"}), unread)
        ((name, value),) = unread
        unreadable.add(name, value, str(number))
    (note,) = unreadable.notes()
    assert note.startswith('12 records have a value in "balance"')
    assert ': "about 0" (record 0), "about 1" (record 1), ' in note
    assert "(record 9) and 2 more, see `vtsync status --unread`. The trigger ready does not text them." in note
    unreadable.restart(["ready"])
    assert list(unreadable.notes()) == []


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
