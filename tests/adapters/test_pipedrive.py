"""What is special about Pipedrive: its fields, deletions and merges, tokens, notes, opt-outs and apps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from config.fields import FieldMapping
from crm_adapters.base import (
    ContactChange,
    CredentialsRejected,
    CursorExpired,
    RecordGone,
    SourceInvalid,
    SourceUnavailable,
    UnreadableRecord,
)
from crm_adapters.notes import is_note_of, note_of
from crm_adapters.pipedrive import adapter as module
from crm_adapters.pipedrive.adapter import PipedriveAdapter
from crm_adapters.pipedrive.options import PipedriveOptions
from crm_adapters.pipedrive.records import change_of, pipedrive_field
from crm_adapters.services import LocalGrant, LocalServices
from crm_adapters.testing.samples import crm_message
from tests.adapters.pipedrive_crm import DO_NOT_TEXT, PERSON_FIELDS, STATION, TAGS, Pipedrive

PipedriveField = pipedrive_field


@dataclass
class Counted(LocalServices):
    """Services that add up what the calls cost."""

    spent: int = 0
    costs: list[int] = field(default_factory=list)

    def pace(self, name: str = "", cost: int = 1) -> None:
        self.spent += cost
        self.costs.append(cost)


@pytest.fixture
def crm() -> Iterator[Pipedrive]:
    company = Pipedrive()
    yield company
    company.close()


@contextmanager
def opened(
    crm: Pipedrive,
    wanted: frozenset[str] | None = frozenset(),
    mapping: FieldMapping | None = None,
    memory: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[PipedriveAdapter]:
    services = Counted(wanted=wanted, memory={"company_domain": "acme-12"} if memory is None else memory)
    given = PipedriveOptions(**{"token": SecretStr("pd-51f9c0"), "api_url": crm.url} | options)
    adapter = PipedriveAdapter(given, mapping or FieldMapping(), services=services)
    try:
        yield adapter
    finally:
        adapter.close()


def pulled(crm: Pipedrive, cursor: Any = None, **more: Any) -> tuple[dict[str, ContactChange], Any]:
    with opened(crm, **more) as adapter:
        pages = list(adapter.pull(cursor))
    changes = [change for page in pages for change in page.changes]
    assert all(isinstance(change, ContactChange) for change in changes)
    return {change.external_id: change for change in changes if isinstance(change, ContactChange)}, pages[-1].cursor


def queries(crm: Pipedrive, path: str) -> list[dict[str, str]]:
    return [query for called, query in crm.calls if called.endswith(path)]


# --- fields


PHONES = [
    ([], {}),
    ([("1", "work", True)], {"phone": "1", "phone_work": "1", "phones": "1"}),
    (
        [("1", "work", True), ("2", "mobile", False)],
        {"phone": "1", "phone_work": "1", "phone_mobile": "2", "phones": "1;2"},
    ),
    (
        [("1", "work", False), ("2", "work", True), ("3", "Boat", False)],
        {"phone": "2", "phone_work": "2", "phone_other": "3", "phones": "2;1;3"},
    ),
    ([("", "work", True), ("2", None, False)], {"phone": "2", "phone_other": "2", "phones": "2"}),
]


@pytest.mark.parametrize(("phones", "expected"), PHONES)
def test_phones_by_sort(crm: Pipedrive, phones: list[tuple[str, str, bool]], expected: dict[str, str]) -> None:
    rows = [{"value": value, "label": label, "primary": primary} for value, label, primary in phones]
    number = crm.put("persons", {"name": "Ann", "phones": rows, "emails": []})
    properties = pulled(crm)[0][str(number)].properties
    every = dict.fromkeys(("phone", "phone_mobile", "phone_work", "phone_home", "phone_other", "phones"))
    assert {name: value for name, value in properties.items() if name.startswith("phone")} == every | expected


def test_a_mobile_number_comes_before_the_primary_one(crm: Pipedrive) -> None:
    phones = [{"value": "1", "label": "work", "primary": True}, {"value": "2", "label": "mobile", "primary": False}]
    number = crm.put("persons", {"name": "Ann", "phones": phones, "emails": []})
    found = pulled(crm)[0][str(number)]
    with opened(crm) as adapter:
        assert [text for _name, text in adapter.contact_fields(found.properties).phones][:2] == ["2", "1"]


VALUES: list[tuple[str, Any, Any, dict[str, Any]]] = [
    ("varchar", None, "North", {"x": "North"}),
    ("varchar", None, None, {"x": None}),
    ("double", None, 12.5, {"x": 12.5}),
    ("boolean", None, False, {"x": False}),
    ("enum", {"4": "Hot"}, 4, {"x": "Hot"}),
    ("enum", {"4": "Hot"}, {"id": 4, "label": "Hot"}, {"x": "Hot"}),
    ("enum", {"4": "Hot"}, 9, {"x": 9}),
    ("enum", {"4": "Hot"}, None, {"x": None}),
    ("set", {"4": "Hot", "5": "Wet"}, [4, 5], {"x": "Hot;Wet"}),
    ("set", {"4": "Hot"}, [], {"x": None}),
    ("monetary", None, {"value": 7, "currency": "EUR"}, {"x": 7, "x.currency": "EUR"}),
    ("monetary", None, None, {"x": None, "x.currency": None}),
    ("daterange", None, {"value": "2026-01-01", "until": "2026-02-01"}, {"x": "2026-01-01", "x.until": "2026-02-01"}),
    ("org", None, 3, {"x": "Acme", "x_id": 3}),
    ("org", None, 4, {"x_id": 4}),
    ("org", None, None, {"x": None, "x_id": None}),
]


@pytest.mark.parametrize(("kind", "choices", "value", "expected"), VALUES)
def test_values_by_type(kind: str, choices: Any, value: Any, expected: dict[str, Any]) -> None:
    """A reference without a known label has no label: unknown is not empty."""
    one = PipedriveField("x", "Label", kind, "contact", choices or {}, is_custom=True)
    record = {"custom_fields": {"x": value}}
    assert one.values(record, {"organizations": {3: "Acme"}}) == expected
    assert set(expected) <= {described.name for described in one.described()}
    assert one.values({}, {}) == {}


def test_fields_have_labels_types_and_choices(crm: Pipedrive) -> None:
    with opened(crm, deals=True) as adapter:
        fields = {(one.kind, one.name): one for one in adapter.describe()}
    flag = fields["contact", DO_NOT_TEXT]
    assert (flag.label, flag.type, flag.values) == ("Do not text", "choice", ("Yes", "No"))
    assert fields["contact", "phone_mobile"].label == "Phone - Mobile"
    assert fields["contact", "owner"].type == "reference"
    assert fields["contact", "update_time"].type == "datetime"
    assert fields["deal", "stage"].label == "Stage"


def test_fields_that_are_not_described_are_still_read(crm: Pipedrive) -> None:
    crm.fields["personFields"] = []
    number = crm.put("persons", {"name": "Ann", "phones": [{"value": "1"}], "emails": []})
    properties = pulled(crm)[0][str(number)].properties
    assert (properties["name"], properties["phone"]) == ("Ann", "1")


WANTED = [
    (frozenset(), None, ""),
    (frozenset({"station"}), STATION, STATION),
    (frozenset({STATION.upper(), "Do not text"}), f"{DO_NOT_TEXT},{STATION}", STATION),
    (None, f"{DO_NOT_TEXT},{STATION},{TAGS}", TAGS),
]


@pytest.mark.parametrize(("wanted", "asked", "there"), WANTED)
def test_wanted_custom_fields_are_asked_for(
    crm: Pipedrive, wanted: frozenset[str] | None, asked: str | None, there: str
) -> None:
    number = crm.put("persons", {"name": "Ann", "phones": [], "emails": [], "custom_fields": {TAGS: [41, 42]}})
    properties = pulled(crm, wanted=wanted)[0][str(number)].properties
    (query,) = queries(crm, "v2/persons")
    assert query.get("custom_fields") == asked
    assert {DO_NOT_TEXT, STATION, TAGS} & set(properties) == set(asked.split(",") if asked else ())
    if there == TAGS:
        assert properties[TAGS] == "Bike;Car"


def test_more_custom_fields_than_a_call_may_name_are_read(crm: Pipedrive) -> None:
    more = [
        {"field_code": f"{n:040x}", "field_name": f"Extra {n}", "field_type": "varchar", "is_custom_field": True}
        for n in range(14)
    ]
    crm.fields["personFields"] = [*PERSON_FIELDS, *more]
    number = crm.put("persons", {"name": "Ann", "phones": [], "emails": [], "custom_fields": {STATION: "North"}})
    found = pulled(crm, wanted=None)[0][str(number)].properties
    assert found[STATION] == "North"
    assert f"{13:040x}" in found
    assert "custom_fields" not in queries(crm, "v2/persons")[0]


def test_a_mapped_custom_field_is_asked_for(crm: Pipedrive) -> None:
    number = crm.put("persons", {"name": "Ann", "phones": [], "emails": [], "custom_fields": {STATION: "+1 415"}})
    assert pulled(crm, mapping=FieldMapping(phone=("Station",)))[0][str(number)].properties[STATION] == "+1 415"


def test_counts_are_read_only_if_they_are_used(crm: Pipedrive) -> None:
    number = crm.put("persons", {"name": "Ann", "phones": [], "emails": []})
    assert "notes_count" not in pulled(crm)[0][str(number)].properties
    assert pulled(crm, wanted=frozenset({"notes_count"}))[0][str(number)].properties["notes_count"] == 0
    assert [query.get("include_fields") for query in queries(crm, "v2/persons")] == [None, "notes_count"]


def test_labels_of_organizations_are_looked_up_by_id(crm: Pipedrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PipedriveAdapter, "most_ids", {"organizations": 2})
    orgs = [crm.put("organizations", {"name": f"Org {number}"}) for number in range(5)]
    people = {crm.put("persons", {"name": "A", "phones": [], "emails": [], "org_id": org}): org for org in orgs}
    nobody = crm.put("persons", {"name": "B", "phones": [], "emails": []})
    assert pulled(crm)[0][str(min(people))].properties["org_id"] in orgs
    assert queries(crm, "organizations") == []
    found, _cursor = pulled(crm, wanted=frozenset({"Organization"}))
    assert [len(query["ids"].split(",")) for query in queries(crm, "organizations")] == [2, 2, 1]
    assert {found[str(one)].properties["org"] for one in people} == {f"Org {number}" for number in range(5)}
    assert found[str(nobody)].properties["org"] is None


def test_lists_may_be_described_by_their_names_in_records(crm: Pipedrive) -> None:
    crm.fields["personFields"] = [
        {"field_code": code, "field_name": code.title(), "field_type": "varchar"}
        for code in ("name", "phones", "emails")
    ]
    number = crm.put("persons", {"name": "Ann", "phones": [{"value": "1", "label": "home"}], "emails": []})
    assert pulled(crm)[0][str(number)].properties["phone_home"] == "1"
    with opened(crm) as adapter:
        names = [one.name for one in adapter.describe()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("call", ["describe", "pull"])
def test_fields_that_cannot_be_read_are_an_error(crm: Pipedrive, call: str) -> None:
    crm.fields = {}
    with opened(crm) as adapter, pytest.raises(SourceUnavailable):
        list(getattr(adapter, call)(*(() if call == "describe" else (None,))))


def test_fields_are_read_once_in_a_run(crm: Pipedrive) -> None:
    with opened(crm) as adapter:
        list(adapter.pull(None))
        adapter.describe()
    assert len(queries(crm, "personFields")) == 1


# --- changes, deletions, merges


@pytest.mark.parametrize("lists_deleted", [False, True])
def test_deleted_persons_are_gone_in_both_ways(crm: Pipedrive, lists_deleted: bool) -> None:
    """Pipedrive does not say whether lists return deleted records: they are reported, or missing in the ids."""
    crm.lists_deleted = lists_deleted
    kept, gone = (crm.put("persons", {"name": name, "phones": [], "emails": []}) for name in ("Ann", "Bob"))
    _found, cursor = pulled(crm)
    crm.delete("persons", gone)
    found, _cursor = pulled(crm, cursor)
    assert [one.external_id for one in found.values() if one.deleted] == ([str(gone)] if lists_deleted else [])
    with opened(crm) as adapter:
        assert [one for some in adapter.live_ids() for one in some] == [str(kept)]


def test_deleted_deals_are_reported_by_the_next_run(crm: Pipedrive) -> None:
    deal = crm.put("deals", {"title": "Boat", "status": "open", "person_id": 3})
    _found, cursor = pulled(crm, deals=True)
    crm.delete("deals", deal)
    found, _cursor = pulled(crm, cursor, deals=True)
    assert found[f"deal:{deal}"].deleted


def test_the_loser_of_a_merge_is_not_among_the_ids(crm: Pipedrive) -> None:
    stays, gone = (crm.put("persons", {"name": name, "phones": [], "emails": []}) for name in ("Ann", "Bob"))
    _found, cursor = pulled(crm)
    crm.merge(gone, stays)
    assert set(pulled(crm, cursor)[0]) == {str(stays)}
    with opened(crm) as adapter:
        assert [one for some in adapter.live_ids() for one in some] == [str(stays)]


def test_a_deal_belongs_to_its_person(crm: Pipedrive) -> None:
    person = crm.put("persons", {"name": "Ann", "phones": [], "emails": []})
    deal = crm.put("deals", {"title": "Boat", "status": "open", "person_id": person, "stage_id": 5, "value": 3})
    found = pulled(crm, deals=True, wanted=frozenset({"Stage", "Contact person"}))[0][f"deal:{deal}"]
    assert (found.kind, found.person) == ("deal", str(person))
    assert (found.properties["stage"], found.properties["stage_id"]) == ("Won over", 5)
    assert (found.properties["person"], found.properties["title"]) == ("Ann", "Boat")


def test_an_interrupted_run_continues_with_deals(crm: Pipedrive) -> None:
    crm.put("persons", {"name": "Ann", "phones": [], "emails": []})
    deal = crm.put("deals", {"title": "Boat", "status": "open", "person_id": None})
    with opened(crm, deals=True) as adapter:
        first = next(iter(adapter.pull(None)))
    found, cursor = pulled(crm, json.loads(json.dumps(first.cursor)), deals=True)
    assert set(found) == {f"deal:{deal}"}
    again, _cursor = pulled(crm, cursor, deals=True)
    assert len(again) == 2


def test_deals_that_are_switched_on_later_are_listed(crm: Pipedrive) -> None:
    deal = crm.put("deals", {"title": "Old", "status": "open", "person_id": None}, at=datetime(2020, 1, 1, tzinfo=UTC))
    _found, cursor = pulled(crm)
    assert set(pulled(crm, cursor, deals=True)[0]) == {f"deal:{deal}"}


def test_deals_that_are_switched_off_in_the_middle_of_a_run_do_not_stop_it(crm: Pipedrive) -> None:
    person = crm.put("persons", {"name": "Ann", "phones": [], "emails": []})
    crm.put("deals", {"title": "Boat", "status": "open", "person_id": None})
    with opened(crm, deals=True) as adapter:
        first = next(iter(adapter.pull(None)))
    assert set(pulled(crm, first.cursor)[0]) == {str(person)}


BAD_CURSORS: list[Mapping[str, Any]] = [
    {"at": "leads"},
    {"at": "contact", "contact": {"since": 1}},
    {"contact": {"floor": None, "until": "2026-01-01T00:00:00+00:00", "after": "stale", "newest": None}},
]


@pytest.mark.parametrize("cursor", BAD_CURSORS)
def test_cursors_that_are_not_valid_start_from_the_top(crm: Pipedrive, cursor: Mapping[str, Any]) -> None:
    with opened(crm) as adapter, pytest.raises(CursorExpired):
        list(adapter.pull(cursor))


@pytest.mark.parametrize("record", [None, [], {"name": "Ann"}, {"id": "x"}, {"id": 0}, {"id": True}])
def test_a_record_without_an_id_is_named_by_its_place(record: Any) -> None:
    found = change_of("contact", record, "entry 3 of the page at the start", (), {})
    assert isinstance(found, UnreadableRecord)
    assert found.key == "contact entry 3 of the page at the start"


# --- tokens and limits


def test_the_costs_are_those_of_pipedrive(crm: Pipedrive) -> None:
    number = crm.put("persons", {"name": "Ann", "phones": [], "emails": []})
    with opened(crm, wanted=None, memory={}, deals=True) as adapter:
        adapter.check()
        list(adapter.pull(None))
        list(adapter.live_ids())
        adapter.log_message(str(number), crm_message(1))
        adapter.set_do_not_text(str(number), DO_NOT_TEXT, True)
        assert isinstance(adapter.services, Counted)
        assert adapter.services.spent == crm.tokens
        assert len(adapter.services.costs) == len(crm.calls)


def test_a_small_increment_costs_twenty_tokens(crm: Pipedrive) -> None:
    _found, cursor = pulled(crm)
    before = crm.tokens
    pulled(crm, cursor)
    assert crm.tokens - before == 20


def test_a_spent_day_is_not_asked_again_after_two_seconds(crm: Pipedrive) -> None:
    crm.daily_tokens = 25
    with opened(crm) as adapter:
        for _time in range(2):
            list(adapter.live_ids())
        with pytest.raises(SourceUnavailable, match="daily budget") as caught:
            list(adapter.live_ids())
    assert caught.value.retry_after == 3600
    assert len(crm.calls) == 3


def test_the_daily_budget_is_an_option() -> None:
    options = PipedriveOptions(token=SecretStr("x"), daily_tokens=500)
    per_call, per_day = PipedriveAdapter.limits_for(options)
    assert (per_call.units(10), per_day.units(10), per_day.amount) == (1, 10, 500)
    assert (per_call.per, per_day.per) == (timedelta(seconds=2), timedelta(days=1))


# --- write-back


def test_a_text_is_looked_for_on_every_page_of_notes(crm: Pipedrive) -> None:
    crm.largest = 500
    number = crm.put("persons", {"name": "Ann", "phones": [], "emails": []})
    with opened(crm) as adapter:
        adapter.log_message(str(number), crm_message(1))
        crm.notes += [{"id": 10 + n, "person_id": number, "content": f"note {n}"} for n in range(600)]
        adapter.log_message(str(number), crm_message(1))
    assert sum(is_note_of(one["content"], crm_message(1).id) for one in crm.notes) == 1
    assert len(queries(crm, "v1/notes")) == 4


def test_a_mark_in_a_text_is_not_a_mark(crm: Pipedrive) -> None:
    number = crm.put("persons", {"name": "Ann", "phones": [], "emails": []})
    quoting = crm_message(2, f"see [vtsync {crm_message(1).id}]")
    assert not is_note_of(note_of(quoting), crm_message(1).id)
    with opened(crm) as adapter:
        adapter.log_message(str(number), quoting)
        adapter.log_message(str(number), crm_message(1))
    assert len(crm.notes) == 2


@pytest.mark.parametrize("log_as", ["note", "activity"])
def test_texts_of_a_deal_are_in_its_own_history(crm: Pipedrive, log_as: str) -> None:
    deal = crm.put("deals", {"title": "Boat", "status": "open", "person_id": None})
    with opened(crm, log_as=log_as, activity_type="text_message") as adapter:
        for _time in range(2):
            adapter.log_message(f"deal:{deal}", crm_message(1, "1 < 2 & <b>"))
    written: list[dict[str, Any]] = [*crm.notes, *crm.records["activities"].values()]
    (one,) = written
    assert one["deal_id"] == deal
    assert "1 &lt; 2 &amp; &lt;b&gt;" in one["content" if log_as == "note" else "note"]
    assert one.get("type") == (None if log_as == "note" else "text_message")


OPT_OUTS: list[tuple[str, dict[str, str], Any, Any]] = [
    ("boolean", {}, True, False),
    ("int", {}, 1, 0),
    ("double", {}, 1, 0),
    ("varchar", {}, "yes", "no"),
    ("text", {}, "yes", "no"),
    ("enum", {"31": "Yes", "32": "No"}, 31, 32),
    ("enum", {"32": "Nein", "31": "Ja"}, 31, 32),
    ("enum", {"31": "Do not text"}, 31, None),
    ("set", {"31": "Yes"}, [31], None),
    ("set", {"31": "Yes", "32": "No"}, [31], [32]),
    ("enum", {"31": "Never", "32": "Always"}, SourceInvalid, SourceInvalid),
    ("enum", {}, SourceInvalid, SourceInvalid),
    ("date", {}, SourceInvalid, SourceInvalid),
    ("user", {}, SourceInvalid, SourceInvalid),
]


@pytest.mark.parametrize(("kind", "choices", "yes", "no"), OPT_OUTS)
def test_opt_outs_by_type(kind: str, choices: dict[str, str], yes: Any, no: Any) -> None:
    one = PipedriveField("x", "Do not text", kind, "contact", choices, is_custom=True)
    for value, expected in ((True, yes), (False, no)):
        if expected is SourceInvalid:
            with pytest.raises(SourceInvalid, match='"Do not text" cannot hold an opt-out'):
                one.opt_out(value)
        else:
            written = one.opt_out(value)
            assert (written, type(written)) == (expected, type(expected))


FIELD_NAMES = [
    ("do-not text", None),
    ("Do not txt", r"did you mean .*Do not text"),
    ("phone_mobile", "is not a custom field"),
]


@pytest.mark.parametrize(("name", "problem"), FIELD_NAMES)
def test_the_field_of_opt_outs_is_found_by_its_label(crm: Pipedrive, name: str, problem: str | None) -> None:
    number = crm.put("persons", {"name": "Ann", "phones": [], "emails": [], "custom_fields": {STATION: "North"}})
    with opened(crm) as adapter:
        if problem is None:
            adapter.set_do_not_text(str(number), name, True)
            assert crm.records["persons"][number]["custom_fields"] == {STATION: "North", DO_NOT_TEXT: 31}
        else:
            with pytest.raises(SourceInvalid, match=problem):
                adapter.set_do_not_text(str(number), name, True)


@pytest.mark.parametrize("external_id", ["0", "-1", "1 ", "deal:", "deal:x", "\u0661", "99", "deal:99", "9" * 30])
def test_ids_that_pipedrive_does_not_have(crm: Pipedrive, external_id: str) -> None:
    with opened(crm) as adapter, pytest.raises(RecordGone):
        adapter.log_message(external_id, crm_message(1))


# --- access


LINKS = [
    ("17", "acme-12", "https://acme-12.pipedrive.com/person/17"),
    ("deal:3", "acme-12", "https://acme-12.pipedrive.com/deal/3"),
    ("17", "", ""),
    ("17", "evil.test/x", ""),
    ("x", "acme-12", ""),
]


@pytest.mark.parametrize(("external_id", "domain", "link"), LINKS)
def test_links(crm: Pipedrive, external_id: str, domain: str, link: str) -> None:
    with opened(crm, memory={"company_domain": domain}) as adapter:
        assert adapter.link(external_id) == link


@pytest.mark.parametrize("call", ["check", "pull"])
def test_the_domain_of_the_company_is_remembered(crm: Pipedrive, call: str) -> None:
    with opened(crm, memory={}) as adapter:
        assert "Acme Ltd" in adapter.check().summary if call == "check" else list(adapter.pull(None))
        assert adapter.link("1") == "https://acme-12.pipedrive.com/person/1"


def test_an_app_calls_the_address_of_its_company(crm: Pipedrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OAUTH", f"{crm.url}/oauth")
    options = PipedriveOptions(client_id="app-1", client_secret=SecretStr("s3"), api_url="https://api.pipedrive.test")
    grant = LocalGrant()
    app = PipedriveAdapter(options, FieldMapping(), services=LocalServices(grant=grant)).oauth()
    assert app is not None
    grant.values = {**app.exchange("code-1", "https://us.test/back"), "access_token": "old"}
    adapter = PipedriveAdapter(options, FieldMapping(), services=LocalServices(grant=grant))
    assert "Acme Ltd" in adapter.check().summary  # the token was refused, and renewed
    adapter.close()
    assert crm.refreshed == ["authorization_code", "refresh_token"]


def test_an_app_without_consent_says_so() -> None:
    options = PipedriveOptions(client_id="app-1", client_secret=SecretStr("s3"))
    adapter = PipedriveAdapter(options, FieldMapping(), services=LocalServices(grant=LocalGrant()))
    with pytest.raises(CredentialsRejected, match="vtsync connect"):
        adapter.check()
    adapter.close()


CREDENTIALS = [
    ({}, "one credential"),
    ({"token": SecretStr("x"), "client_id": "app"}, "one credential"),
    ({"client_id": "app"}, "client_secret"),
]


@pytest.mark.parametrize(("options", "problem"), CREDENTIALS)
def test_one_credential_is_needed(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        PipedriveOptions(**options)


def test_without_a_password_no_webhook_is_accepted(crm: Pipedrive) -> None:
    with opened(crm) as adapter:
        assert adapter.wakes({"authorization": "Basic dnRzeW5jOg=="}, b"{}") is False


def test_a_failure_with_status_200_is_not_an_empty_list(crm: Pipedrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crm, "answer", lambda *_args: {"success": False, "error": "Unknown error", "data": []})
    with opened(crm) as adapter, pytest.raises(SourceUnavailable, match="Unknown error"):
        list(adapter.live_ids())
