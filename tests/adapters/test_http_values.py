"""What adapters of HTTP APIs share beyond requests: fields by type, names of other records, ids, stages, opt-outs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from config.fields import FieldMapping
from crm_adapters.base import ContactChange, CrmField, CursorExpired, SourceInvalid
from crm_adapters.http import (
    ApiField,
    ApiReply,
    Changes,
    ChangeWindow,
    HttpApi,
    LabelledList,
    Lookups,
    NoAuth,
    epoch_milliseconds,
    first_state,
    ids_of,
    keyset_batches,
    kind_and_number,
    lookups,
    numbered_id,
    read_stages,
    used_fields,
    without_id,
)
from crm_adapters.opt_outs import OptOutRule, opt_out_target
from crm_adapters.services import LocalServices

RULE = OptOutRule('Acme\'s field "x"', "text", "a checkbox")
PHONES = LabelledList("phone", "phones", ("mobile", "other"))
CHOICES = {"4": "Hot", "5": "Wet"}


def field_of(key: str = "x", shape: str = "text", **more: Any) -> ApiField:
    return ApiField(key, "Label", shape, "contact", RULE, **more)


# Fields and their values

VALUES: list[tuple[ApiField, Any, dict[str, Any]]] = [
    (field_of(), {"x": "North"}, {"x": "North"}),
    (field_of(), {"x": "a\x00b"}, {"x": "ab"}),
    (field_of(), {"x": ["a", "b"]}, {"x": "a;b"}),
    (field_of(), {"x": None}, {"x": None}),
    (field_of(), {}, {}),
    (field_of(within="more"), {"more": {}}, {"x": None}),
    (field_of(within="more"), {"more": None}, {}),
    (field_of(within="more"), {}, {}),
    (field_of(choices=CHOICES), {"x": 4}, {"x": "Hot"}),
    (field_of(choices=CHOICES), {"x": [4, 5]}, {"x": "Hot;Wet"}),
    (field_of(choices=CHOICES), {"x": [9, "5"]}, {"x": "9;Wet"}),
    (field_of(choices=CHOICES), {"x": {"id": 5, "label": "Wet"}}, {"x": "Wet"}),
    (field_of(choices=CHOICES), {"x": 9}, {"x": 9}),
    (field_of(choices=CHOICES, keeps_values=True), {"x": "4;5"}, {"x": "4;5"}),
    (field_of(parts=("unit",)), {"x": {"value": 7, "unit": "EUR"}}, {"x": 7, "x.unit": "EUR"}),
    (field_of(parts=("unit",)), {"x": None}, {"x": None, "x.unit": None}),
    (field_of("owner_id", refers_to="users"), {"owner_id": "7"}, {"owner": "Sam", "owner_id": "7"}),
    (field_of("owner_id", refers_to="users"), {"owner_id": {"id": "7"}}, {"owner": "Sam", "owner_id": "7"}),
    (field_of("owner_id", refers_to="users"), {"owner_id": "7;8"}, {"owner": "Sam;Ann", "owner_id": "7;8"}),
    (field_of("owner_id", refers_to="users"), {"owner_id": "7;9"}, {"owner_id": "7;9"}),
    (field_of("owner_id", refers_to="users"), {"owner_id": ""}, {"owner": "", "owner_id": ""}),
    (field_of("owner_id", refers_to="users"), {"owner_id": None}, {"owner": None, "owner_id": None}),
    (field_of("team", refers_to="users"), {"team": "7"}, {"team": "Sam", "team_id": "7"}),
    (
        field_of("phone", entries=PHONES),
        {"phones": [{"value": "1", "label": "fax"}, {"value": "2", "label": "Mobile", "primary": True}, {"value": ""}]},
        {"phone": "2", "phone_mobile": "2", "phone_other": "1", "phones": "2;1"},
    ),
    (
        field_of("phone", entries=PHONES),
        {"phones": [None, {"value": 6, "label": "other"}, {"value": "Ann"}, 17]},
        {"phone": 6, "phone_mobile": None, "phone_other": 6, "phones": "6;Ann"},
    ),
    (
        field_of("phone", entries=PHONES),
        {"phones": None},
        dict.fromkeys(("phone", "phone_mobile", "phone_other", "phones")),
    ),
    (field_of("phone", entries=PHONES), {"phone": "1"}, {}),
]


@pytest.mark.parametrize(("one", "record", "expected"), VALUES)
def test_values_are_those_that_are_described(one: ApiField, record: dict[str, Any], expected: dict[str, Any]) -> None:
    assert one.values(record, {"users": {"7": "Sam", "8": "Ann"}}) == expected
    assert set(expected) <= {described.name for described in one.described()}


def test_choices_are_described_as_records_show_them() -> None:
    assert [one.values for one in field_of(shape="choice", choices=CHOICES).described()] == [("Hot", "Wet")]
    kept = field_of(shape="choice", choices=CHOICES, keeps_values=True)
    assert [one.values for one in kept.described()] == [("4", "5")]


USED = [
    ("contact", frozenset(), ["a", "tel", "owner_id"], []),
    ("contact", frozenset({"B"}), ["a", "b", "tel", "owner_id"], []),
    ("contact", frozenset({"Owner"}), ["a", "tel", "owner_id"], ["owner_id"]),
    ("contact", None, ["a", "b", "tel", "owner_id"], ["owner_id"]),
    ("deal", frozenset({"b"}), ["a", "b", "owner_id"], []),
]


@pytest.mark.parametrize(("kind", "wanted", "read", "named"), USED)
def test_only_fields_in_use_are_asked_for(
    kind: str, wanted: frozenset[str] | None, read: list[str], named: list[str]
) -> None:
    """A deal has the phone of its person."""
    asked = [field_of("b", is_on_request=True), field_of("tel", "phone", is_on_request=True)]
    fields = [replace(one, kind=kind) for one in (field_of("a"), *asked, field_of("owner_id", refers_to="users"))]
    found, references = used_fields(fields, wanted, FieldMapping(phone=("tel",)))
    assert ([one.key for one in found], [one.key for one in references]) == (read, named)


# Names of other records


@dataclass
class Directory:
    """Answers for names, and notes what it was asked."""

    asked: list[tuple[str, tuple[Any, ...]]]

    def fetch(self, place: str, ids: Sequence[Any]) -> Mapping[Any, str]:
        self.asked.append((place, tuple(ids)))
        return {number: f"{place} {number}" for number in (ids or (1, 2)) if number != 13}


OWNER = field_of("owner_id", refers_to="users", id_type="number")
ORG = field_of("org_id", refers_to="orgs", id_type="number")


def test_names_are_asked_for_once_and_in_batches() -> None:
    directory = Directory([])
    names = Lookups(directory.fetch, {"orgs": 2})
    records = [{"owner_id": 1, "org_id": number} for number in (3, 4, 13, 3, "garbage", -1, True, None)]
    for _time in range(2):
        found = names.names_for([OWNER, ORG], records)
        assert found == {"users": {1: "users 1"}, "orgs": {3: "orgs 3", 4: "orgs 4", 13: None}}
    assert directory.asked == [("users", ()), ("orgs", (3, 4)), ("orgs", (13,))]


def test_names_that_no_record_needs_are_not_asked_for() -> None:
    directory = Directory([])
    assert Lookups(directory.fetch).names_for([OWNER], [{"owner_id": None}, {}]) == {"users": {}}
    assert directory.asked == []


def test_an_id_without_a_name_is_unknown_or_shown_itself() -> None:
    records = [{"owner_id": 9}]
    assert Lookups(Directory([]).fetch).names_for([OWNER], records) == {"users": {9: None}}
    assert Lookups(Directory([]).fetch, shows_ids=True).names_for([OWNER], records) == {"users": {9: 9}}


def test_two_references_to_the_same_place_share_names() -> None:
    other = field_of("org2_id", refers_to="orgs", id_type="number")
    found = Lookups(Directory([]).fetch, {"orgs": 5}).names_for([ORG, other], [{"org_id": 3, "org2_id": 4}])
    assert found == {"orgs": {3: "orgs 3", 4: "orgs 4"}}


def test_memory_does_not_grow_with_the_number_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "MOST_NAMES", 3)
    directory = Directory([])
    names = Lookups(directory.fetch, {"orgs": 5})
    for first in (20, 24, 20):
        records = [{"org_id": number} for number in range(first, first + 4)]
        assert names.names_for([ORG], records) == {"orgs": {n: f"orgs {n}" for n in range(first, first + 4)}}
    assert len(directory.asked) == 3


# Ids

IDS = [
    ("17", ("contact", "17")),
    ("deal:17", ("deal", "17")),
    *((bad, ("contact", "")) for bad in ("", "0", "017", "-1", "1 ", "1\n", "contact:1", "lead:1")),
    ("deal:", ("deal", "")),
    ("deal:x", ("deal", "")),
    *((bad, ("contact", "")) for bad in ("a:deal:1", "../deals/1", "\u0661", "9" * 20)),
]


@pytest.mark.parametrize(("external_id", "expected"), IDS)
def test_ids_of_several_kinds(external_id: str, expected: tuple[str, str]) -> None:
    assert kind_and_number(external_id, ("contact", "deal")) == expected
    if expected[1]:
        assert numbered_id(*expected) == external_id


def test_the_ids_of_a_list_are_whole() -> None:
    live, gone = ContactChange("1", {}), ContactChange("2", {}, deleted=True)
    assert ids_of([live, gone]) == ["1"]
    with pytest.raises(SourceInvalid, match=r"Acme people, entry 3: .*no record counts as deleted"):
        ids_of([live, without_id("Acme", "people", "entry 3")])


# Order


def test_ids_that_do_not_ascend_stop_the_run() -> None:
    def reply(*ids: Any) -> ApiReply:
        return ApiReply("Acme", "GET /people", 200, {}, {"people": [{"id": one} for one in ids]})

    pages = [reply("9", "10"), reply(11), reply()]
    read = keyset_batches(lambda _last: pages.pop(0), "people", "id", start="8", numbered=True)
    assert [batch.next for batch in read] == ["10", 11, None]
    for ids in (["10", "9"], ["8"], ["7"], ["9", "x"], ["9", "9"]):
        with pytest.raises(SourceInvalid, match=r"Acme does not respond to GET /people in the order of ids"):
            next(keyset_batches(lambda _last: reply(*ids), "people", "id", start="8", numbered=True))  # noqa: B023


MILLISECONDS = [
    (datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=UTC), 1000),
    (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 0),
    (datetime(1960, 1, 1, tzinfo=UTC), 0),
]


@pytest.mark.parametrize(("moment", "expected"), MILLISECONDS)
def test_times_as_milliseconds_are_exact(moment: datetime, expected: int) -> None:
    assert epoch_milliseconds(moment) == expected


# Stages


class Lists:
    """Two lists in batches, with what happens while they are read."""

    def __init__(self, **batches: list[int]) -> None:
        self.batches = batches

    def read(self, name: str, window: ChangeWindow) -> Iterator[tuple[Changes, ChangeWindow]]:
        sizes = self.batches[name]
        for number in range(window.after or 0, len(sizes)):
            after = number + 1 if number + 1 < len(sizes) else None
            window = replace(window, after=after, is_started=True, is_complete=after is None, newest=window.until)
            yield [ContactChange(f"{name} {number}.{part}", {}) for part in range(sizes[number])], window

    def pages(self, cursor: Any) -> list[tuple[list[str], Any]]:
        state = first_state(cursor, ("contact", "deal"))
        stages = {name: partial(self.read, name) for name in self.batches}
        return [
            ([one.external_id for one in page.changes if isinstance(one, ContactChange)], page.cursor)
            for page in read_stages(state, stages, 2)
        ]


def test_a_run_that_is_interrupted_after_any_page_brings_the_rest() -> None:
    lists = Lists(contact=[2, 5, 0, 1], deal=[1, 4])
    whole = lists.pages(None)
    every = {one for ids, _cursor in whole for one in ids}
    assert len(every) == 13
    assert max(len(ids) for ids, _cursor in whole) == 2
    for cut in range(len(whole)):
        seen = {one for ids, _cursor in whole[: cut + 1] for one in ids}
        last = whole[cut][1]
        rest = lists.pages(last) if last["at"] else []
        assert seen | {one for ids, _cursor in rest for one in ids} == every, cut
    assert whole[-1][1]["at"] == ""


def test_the_next_run_starts_with_the_first_stage() -> None:
    lists = Lists(contact=[1], deal=[1])
    cursor = lists.pages(None)[-1][1]
    assert set(cursor["contact"]) == {"floor"}
    assert [ids for ids, _cursor in lists.pages(cursor)] == [["contact 0.0"], ["deal 0.0"]]


def test_a_stage_that_is_gone_does_not_stop_the_others() -> None:
    cursor = Lists(contact=[1], deal=[1]).pages(None)[0][1]
    assert cursor["at"] == "deal"
    assert [ids for ids, _cursor in Lists(contact=[1]).pages(cursor)] == [["contact 0.0"]]


def test_a_stage_without_pages_ends_the_run() -> None:
    pages = Lists(contact=[1], deal=[]).pages(None)
    assert [(ids, cursor["at"]) for ids, cursor in pages] == [(["contact 0.0"], "deal"), ([], "")]


@pytest.mark.parametrize("cursor", [{}, {"after": "17"}, {"at": "leads", "contact": None}, {"contact": {"since": 1}}])
def test_foreign_cursors_start_from_the_top(cursor: dict[str, Any]) -> None:
    with pytest.raises(CursorExpired):
        Lists(contact=[1]).pages(cursor)


# Opt-outs


def test_a_field_that_is_locked_says_why() -> None:
    rule = replace(RULE, locked="is computed; name another one in do_not_text")
    with pytest.raises(SourceInvalid, match='"x" is computed; name another one'):
        rule.written(True)


FLAGS: list[tuple[str, dict[str, str], Any, Any]] = [
    ("boolean", {}, True, False),
    ("number", {}, 1, 0),
    ("text", {}, "yes", "no"),
    ("choice", {"31": "Ja", "32": "Nein"}, "31", "32"),
    ("choice", {"1": "Opted out", "0": "Active"}, "1", "0"),
    ("choice", {"true": "Blocked", "false": "Reachable"}, "true", "false"),
    ("choice", {"31": "Blocked"}, "31", None),
    ("choice", {"blocked": ""}, "blocked", None),
]


@pytest.mark.parametrize(("kind", "choices", "yes", "no"), FLAGS)
def test_flags_by_type(kind: str, choices: dict[str, str], yes: Any, no: Any) -> None:
    rule = OptOutRule("x", kind, "a checkbox", choices)
    for value, expected in ((True, yes), (False, no)):
        assert (rule.written(value), type(rule.written(value))) == (expected, type(expected))
    assert replace(rule, write=lambda flag: [flag]).written(True) == [yes]


@pytest.mark.parametrize(
    ("kind", "choices"),
    [
        ("choice", {}),
        ("choice", {"1": "Never", "2": "Always"}),
        ("choice", {"1": "No", "2": "Off", "3": "Yes"}),
        ("date", {}),
    ],
)
def test_a_flag_is_never_guessed(kind: str, choices: dict[str, str]) -> None:
    with pytest.raises(SourceInvalid, match=r"x cannot hold an opt-out.*name a checkbox in do_not_text"):
        OptOutRule("x", kind, "a checkbox", choices).written(True)


TARGETS = [("dnt", "first"), ("do not TEXT", "first"), ("Do not txt", "did you mean dnt"), ("zzz", "create it")]


@pytest.mark.parametrize(("name", "expected"), TARGETS)
def test_the_field_of_opt_outs(name: str, expected: str) -> None:
    fields = [(CrmField("dnt", "Do not text"), "first"), (CrmField("other", "Other"), "second")]
    if expected == "first":
        assert opt_out_target("Acme", "people", name, fields) == "first"
    else:
        with pytest.raises(SourceInvalid, match=f'Acme has no field "{name}" of people.*{expected}'):
            opt_out_target("Acme", "people", name, fields)


# Time limits


def test_texts_have_short_time_limits_and_the_same_rates() -> None:
    services = LocalServices()
    api = HttpApi("Acme", "https://acme.test", NoAuth(), services)
    quick = api.for_texts()
    assert quick._times.call * 3 < 60 < api._times.call * 3
    assert quick._services is services
    assert quick._exchanges is not api._exchanges
    api.close()
