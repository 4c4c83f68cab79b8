"""What `vtsync check` finds when it compares a configuration with the fields of its source."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from config.models import Account, Connection, Settings
from config.triggers import CreatedTrigger, EnteredTrigger
from crm_adapters.base import ApiVersion, CrmField
from crm_adapters.described import find_field, nearest_fields, resolve_labels
from worker.core.findings import Finding, Level
from worker.doctor.credentials import judge_api_version
from worker.doctor.fields import judge_fields, may_name_deleted, samples_of

FIELDS = [
    CrmField("id"),
    CrmField("First Name"),
    CrmField("mobile", label="Mobile phone"),
    CrmField("user_id", label="Salesperson"),
    CrmField("x1", label="Office"),
    CrmField("x2", label="Office"),
    CrmField("order_status", type="choice", values=("Open", "Ready", "Do not contact")),
    CrmField("amount", kind="deal"),
]
DNT = CrmField("Do Not Text", values=("Yes", "No", "perhaps", ""))


def settings(triggers: dict[str, Any] | None = None, **connection: Any) -> Settings:
    account = Account(uid="u", token="t", from_number="+14155550100")  # type: ignore[arg-type]
    both = {
        "crm": Connection(adapter="csv", account="main", **connection),
        "shop": Connection(adapter="csv", account="main"),
    }
    return Settings(accounts={"main": account}, connections=both, triggers=triggers or {})


def judge(configured: Settings, *more: CrmField, fields: Any = FIELDS, deleted: bool = False) -> list[Finding]:
    found = judge_fields(configured, "crm", [*fields, *more], deleted=deleted)
    assert all(one.found and one.why and one.do for one in found if one.level is not Level.OK)
    return found


def bad(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.level.value, f"{one.found}; {one.do}") for one in found if one.level is not Level.OK]


# What the configuration names, the level, and what is said. An empty level: all is well.
NAMES: list[tuple[dict[str, Any], str, list[str]]] = [
    ({"fields": {"phone": "mobile", "full_name": "First Name"}}, "", []),
    ({"fields": {"phone": "Mobile", "full_name": "first_name"}}, "", []),
    ({"fields": {"owner": "Salesperson"}}, "", []),  # a label
    ({"fields": {"owner": "sales-person"}}, "", []),
    ({"fields": {"owner": "amount"}}, "problem", ["connections.crm.fields.owner", '"amount"']),  # only deals have it
    ({"fields": {"owner": "Office"}}, "problem", ["2 fields have this label", "x1, x2"]),
    ({"fields": {"owner": "Salesman"}}, "problem", ["connections.crm.fields.owner", "user_id (Salesperson)"]),
    ({"fields": {"state": "stat"}}, "problem", ["connections.crm.fields.state", '"stat"', "`vtsync fields crm`"]),
    ({"do_not_text": {"field": "DoNot Texxt"}}, "problem", ["connections.crm.do_not_text.field", '"DoNot Texxt"']),
    ({"consent": {"field": "SMS"}}, "problem", ["connections.crm.consent.field", '"SMS"']),
    ({"do_not_text": {"field": "order_status", "values": "Do not contact"}}, "", []),
    ({"do_not_text": {"field": "order_status", "values": "DO-NOT-CONTACT"}}, "", []),
    (
        {"do_not_text": {"field": "order_status", "values": ["Do not contact", "Do not kontakt"]}},
        "warning",
        ['do_not_text.values: the field "order_status" has no choice "Do not kontakt"', '"Open", "Ready"'],
    ),
]


@pytest.mark.parametrize(("named", "level", "said"), NAMES)
def test_names_of_a_connection(named: dict[str, Any], level: str, said: list[str]) -> None:
    found = bad(judge(settings(**named)))
    assert [one for one, _ in found] == ([level] if level else [])
    assert all(part in text for part in said for _, text in found)


def test_names_of_triggers() -> None:
    mine = EnteredTrigger(  # type: ignore[call-arg]
        connections=("crm",),
        on="entered",
        condition="order_stattus == 'Ready'",
        message="Hi {{ first_name }}, {{ shelf | default: 'soon' }}",
    )
    shared = CreatedTrigger(connections=("crm", "shop"), on="created", message="{{ coupon }}")  # type: ignore[call-arg]
    off = shared.model_copy(update={"enabled": False, "message": "{{ other }}"})
    found = bad(judge(settings({"ready": mine, "welcome": shared, "off": off})))
    assert [(level, text.split(":")[0]) for level, text in found] == [
        ("problem", "triggers.ready.condition"),
        ("problem", "triggers.ready.message"),
        ("warning", "triggers.welcome.message"),  # the other connection may have it
    ]
    assert "similar fields: order_status;" in found[0][1]


def test_what_is_well_is_said() -> None:
    (found, values) = judge(settings(do_not_text={"field": "Do Not Text"}), DNT)
    assert found.found == "the source has every field that the configuration names (1 of 9)"
    assert (
        values.found == 'do_not_text reads "Do Not Text": values that forbid texts: "Yes", "perhaps"; others: "No", ""'
    )


def test_a_source_without_fields_is_not_compared() -> None:
    assert [level for level, _ in bad(judge(settings(do_not_text={"field": "dnc"}), fields=[]))] == ["warning"]


# What the configuration has, what the source has besides, if an option may name deleted records, and the line to add.
UNUSED: list[tuple[dict[str, Any], list[CrmField], bool, str]] = [
    ({}, [CrmField("SMS Opt Out")], False, 'add to [connections.crm]:  do_not_text = { field = "SMS Opt Out" }'),
    ({}, [CrmField("f7", label="Do Not Call")], False, 'add to [connections.crm]:  do_not_text = { field = "f7" }'),
    ({}, [CrmField('a "DNC"')], False, 'do_not_text = { field = "a \\"DNC\\"" }'),
    ({}, [CrmField("unsubscribed"), CrmField("sms_opt_out")], False, 'do_not_text = { field = "sms_opt_out" }'),
    ({}, [CrmField("marketing_opt_in")], False, 'add to [connections.crm]:  consent = { field = "marketing_opt_in" }'),
    ({}, [CrmField("ISDELETED")], True, 'add to [connections.crm.options]:  deleted = "ISDELETED"'),
    ({}, [CrmField("ISDELETED")], False, ""),  # the adapter knows them itself
    ({"do_not_text": {"field": "sms_opt_out"}}, [CrmField("SMS Opt Out")], False, ""),
    ({"do_not_text": {"field": "Do Not Text"}}, [DNT, CrmField("Do Not Call")], False, ""),
    ({"do_not_text": {"field": "f7 label"}}, [CrmField("f7", label="F7 Label")], False, ""),
    ({}, [CrmField("gone", label="Deleted")], False, ""),
    ({}, [CrmField("SMS Opt Out", kind="deal"), CrmField("Email Opt Out")], False, ""),
]


@pytest.mark.parametrize(("configured", "more", "deleted", "line"), UNUSED)
def test_fields_that_say_who_may_be_texted_and_are_not_used(
    configured: dict[str, Any], more: list[CrmField], deleted: bool, line: str
) -> None:
    found = bad(judge(settings(**configured), *more, deleted=deleted))
    assert [level for level, _ in found] == (["warning"] if line else [])
    assert all(line in text for _, text in found)


def test_further_fields_are_named_where_one_is_used() -> None:
    found = judge(settings(do_not_text={"field": "Do Not Text"}), DNT, CrmField("Do Not Call"))
    why = "and is not used, because do_not_text names another field"
    assert f'"Do Not Call" says by its name who must not be texted, {why}' in [one.found for one in found]


def test_a_field_is_a_warning_where_the_one_that_is_named_does_not_exist() -> None:
    found = judge(settings(do_not_text={"field": "DoNot Texxt"}), CrmField("SMS Opt Out"))
    (one,) = [one for one in found if "SMS Opt Out" in one.found]
    assert one.level is Level.WARNING
    assert one.do == 'write in [connections.crm]:  do_not_text = { field = "SMS Opt Out" }'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Ann", "Ann"),
        ("+1 (415) 555-2671", "+1415•••2671"),
        ("call 415 555 2671 now", "call 415•••71 now"),
        ("ann.lee@example.com", "a•••@example.com"),
        ("mailto:ann@example.com", "mailto:a•••@example.com"),
        ("2026-05-01", "2026-05-01"),
        ("03/04/2027 10:30", "03/04/2027 10:30"),
        ("1001", "1001"),
        ("two\nlines\x00", "two lines"),
        ("x" * 50, "x" * 29 + "…"),
    ],
)
def test_samples_are_short_and_masked(value: str, shown: str) -> None:
    assert samples_of(CrmField("f", values=(value,))) == (shown,)


def test_at_most_three_samples_are_shown() -> None:
    assert samples_of(CrmField("f", values=("", "a", "b", "c", "d"))) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("user_id", "user_id"),
        ("USER ID", "user_id"),
        ("Salesperson", "user_id"),
        ("first_name", "First Name"),
        ("Office", None),
        ("", None),
        ("???", None),
        ("Mobile phone", "mobile"),
    ],
)
def test_a_field_is_found_by_its_name_or_by_a_label_of_its_own(name: str, found: str | None) -> None:
    field = find_field(name, FIELDS)
    assert (None if field is None else field.name) == found


def test_a_name_comes_before_a_label() -> None:
    fields = [CrmField("a", label="b"), CrmField("b", label="c")]
    assert find_field("b", fields) is fields[1]
    assert resolve_labels(["b", "c", "d", "a"], fields) == {"c": "b"}
    assert nearest_fields("zzz", fields) == []


@pytest.mark.parametrize(
    ("ends", "level", "said"),
    [
        (None, "ok", "v3"),
        (date(2026, 6, 30), "ok", "v3"),
        (date(2026, 5, 30), "warning", "ends on 2026-05-30"),
        (date(2026, 3, 1), "warning", "ends on 2026-03-01"),
        (date(2026, 2, 28), "problem", "ended on 2026-02-28"),
    ],
)
def test_the_version_of_an_api(ends: date | None, level: str, said: str) -> None:
    found = judge_api_version("connection crm", ApiVersion("v3", ends), date(2026, 3, 1))
    assert (found.level, said in found.found) == (level, True)
    assert found.level == "ok" or (found.why and found.do)


class NoDeletions(BaseModel):
    path: str = ""


class NamedDeletions(BaseModel):
    deleted: str | None = None


class FoundDeletions(BaseModel):
    deleted: str | Literal[False] | None = None


@pytest.mark.parametrize(
    ("options", "may"),
    [
        (NoDeletions(), False),
        (NamedDeletions(), True),
        (NamedDeletions(deleted="gone"), False),
        (FoundDeletions(), False),
        (FoundDeletions(deleted=False), False),
    ],
)
def test_if_an_option_may_name_deleted_records(options: BaseModel, may: bool) -> None:
    assert may_name_deleted(options) is may
