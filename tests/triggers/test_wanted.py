"""What the configuration uses of a record is stored and checked; nothing that it uses may be missed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.models import Settings
from worker.triggers.evaluate import write_text
from worker.triggers.kinds import RecordEvent
from worker.triggers.rules import compile_rules
from worker.triggers.wanted import FieldUse, field_uses, is_wanted, select_wanted, wanted_fields

NONE: frozenset[str] = frozenset()


def settings(trigger: dict[str, Any] | None = None, **connection: Any) -> Settings:
    triggers = {"t": {"connections": "crm", "on": "created", "message": "Hi"} | trigger} if trigger else {}
    crm = {"adapter": "csv", "account": "main", "options": {"path": "x.csv"}} | connection
    return Settings.model_validate({"connections": {"crm": crm, "shop": crm}, "triggers": triggers})


TRIGGERS: dict[str, tuple[dict[str, Any], frozenset[str] | None]] = {
    "created": ({"on": "created"}, NONE),
    "changed": ({"on": "changed", "field": "Order Status"}, frozenset({"Order Status"})),
    "date": ({"on": "date", "field": "Due"}, frozenset({"Due"})),
    "entered": (
        {"on": "entered", "condition": "status == 'ready' and record['Is VIP'] or balance > most"},
        frozenset({"status", "Is VIP", "balance", "most"}),
    ),
    "only if": ({"only_if": "not_yet != true"}, frozenset({"not_yet"})),
    "message": ({"message": "Hi {{ first_name }}, {{ due | date: form }}"}, frozenset({"first_name", "due", "form"})),
    "default": ({"message": "Hi {{ first_name | default: nick }}"}, frozenset({"first_name", "nick"})),
    "own name": ({"message": 'Hi {{ record["First Name"] }} {{ record.x }}'}, frozenset({"First Name", "x"})),
    "version before": ({"message": "{{ old.status }} {{ old['sum'] }}"}, frozenset({"status", "sum"})),
    "the person is no field": ({"message": "Hi {{ contact.first_name }}"}, NONE),
    "if": ({"message": "{% if a == b %}{{ c }}{% elsif d %}x{% else %}{{ e }}{% endif %}"}, frozenset("abcde")),
    "unless": ({"message": "{% unless a %}x{% endunless %}"}, frozenset("a")),
    "case": ({"message": "{% case a %}{% when b %}{{ c }}{% else %}d{% endcase %}"}, frozenset("abc")),
    "assigned": ({"message": "{% assign n = visits | plus: 0 %}{{ n }}"}, frozenset({"visits", "n"})),
    "captured": ({"message": "{% capture n %}{{ x }}{% endcapture %}{{ n }}"}, frozenset({"x", "n"})),
    "assigned in one case": (
        {"message": "{% if vip %}{% assign nick = 'Boss' %}{% endif %}{{ nick }}"},
        frozenset({"vip", "nick"}),
    ),
    "a computed name": ({"message": "{{ record[which] }}"}, None),
    "a computed name of the version before": ({"message": "{{ old[which] }}"}, None),
    "the whole record": ({"message": "{% assign r = record %}{{ r.x }}"}, None),
    "a comment": ({"message": "Hi {% comment %}{{ x }}{% endcomment %}"}, NONE),
    "another connection": ({"connections": "shop", "message": "Hi {{ x }}"}, NONE),
    "switched off": ({"enabled": False, "message": "Hi {{ x }}"}, frozenset({"x"})),
}


@pytest.mark.parametrize("case", TRIGGERS)
def test_the_fields_of_a_trigger(case: str) -> None:
    trigger, expected = TRIGGERS[case]
    assert wanted_fields(settings(trigger), "crm") == expected


CONNECTIONS: dict[str, tuple[dict[str, Any], frozenset[str] | None]] = {
    "nothing": ({}, NONE),
    "all fields": ({"store_fields": "all"}, None),
    **{
        name: ({"fields": {name: ["a", "B c"]}}, frozenset({"a", "B c"}))
        for name in ("phone", "full_name", "email", "time_zone", "state", "postal_code", "owner", "country")
    },
    "an expression": ({"fields": {"phone": "{{ area }}{{ record['No.'] }}"}}, frozenset({"area", "No."})),
    "consent": ({"consent": {"field": "SMS ok"}}, frozenset({"SMS ok"})),
    "do not text": ({"do_not_text": {"field": "DNT"}}, frozenset({"DNT"})),
}


@pytest.mark.parametrize("case", CONNECTIONS)
def test_the_fields_of_a_connection(case: str) -> None:
    connection, expected = CONNECTIONS[case]
    assert wanted_fields(settings(**connection), "crm") == expected


def test_each_use_says_where_it_is() -> None:
    trigger = {
        "on": "entered",
        "record": "deal",
        "condition": "stage == 'won' and stage != old_stage",
        "only_if": "open",
        "message": "{% assign sum = amount %}{{ sum }} {{ contact.first_name }}",
    }
    uses = field_uses(settings(trigger, fields={"phone": ["Mobile"]}, do_not_text={"field": "DNT"}), "crm")
    assert uses == [
        FieldUse("Mobile", "connections.crm.fields.phone"),
        FieldUse("DNT", "connections.crm.do_not_text.field"),
        FieldUse("stage", "triggers.t.condition", "deal"),
        FieldUse("old_stage", "triggers.t.condition", "deal"),
        FieldUse("open", "triggers.t.only_if", "deal"),
        FieldUse("amount", "triggers.t.message", "deal"),
    ]


def test_a_trigger_that_is_switched_off_needs_no_field_now() -> None:
    assert field_uses(settings({"enabled": False, "message": "Hi {{ x }}"}), "crm") == []


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("First Name", "first_name", True),
        ("First-Name:", "First Name", True),
        ("FirstName", "first_name", True),
        ("Größe", "grosse", True),
        ("2nd Phone", "_2nd_phone", True),
        ("First Name 2", "first_name", False),
        ("%", "%", True),
        ("%", "#", False),  # neither has a letter or a digit
        ("電話", "電話", True),
    ],
)
def test_names_match_however_they_are_spelt(name: str, wanted: str, expected: bool) -> None:
    assert is_wanted(name, frozenset({wanted, "other"})) is expected
    assert select_wanted(("id", name), frozenset({wanted})) == ((name,) if expected else ())
    assert select_wanted(("id", name), None) == ("id", name)


NAMES = st.sampled_from(["status", "Status:", "STATUS", "Order Status", "order_status", "Éta t", "éta_t", "2nd", "%"])
SOURCES = st.sampled_from(
    [
        "{{ status }}",
        "{{ order_status | default: 'x' }}",
        "{{ record['Status:'] }}",
        "{% if éta_t %}{{ old.status }}{% else %}y{% endif %}",
        "{% if status %}{% assign order_status = 'z' %}{% endif %}{{ order_status }}",
        "{{ _2nd }}",
        "{% assign all = record %}{{ all['%'] }}",
    ]
)


@given(SOURCES, st.dictionaries(NAMES, st.sampled_from(["a", "b", ""])), st.dictionaries(NAMES, st.just("c")))
def test_a_text_is_the_same_with_the_wanted_fields_alone(source: str, new: dict[str, str], old: dict[str, str]) -> None:
    made = settings({"message": source})
    wanted = wanted_fields(made, "crm")

    def written(cut: bool) -> tuple[str, str]:
        before, after = ({k: r[k] for k in select_wanted(tuple(r), wanted)} if cut else r for r in (old, new))
        happened = RecordEvent("crm", "17", 5, "+14155552671", "Ann", "", before, after, 2)
        intent = write_text(compile_rules(made)["crm"][0], happened, "r2")
        assert intent is not None
        return intent.text, intent.problem

    assert written(cut=True) == written(cut=False)
