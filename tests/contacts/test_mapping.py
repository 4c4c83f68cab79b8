"""Fields that are made of several CRM fields, and the country of a record."""

from __future__ import annotations

from typing import Any

import pytest

from config.fields import FieldMapping
from crm_adapters.fields import find_columns
from tests.contacts.conftest import World
from tests.fakes import LogAdapter, LogSource
from worker.contacts.mapping import RecordMapping, UnfilledExpression, field_names_of
from worker.contacts.records import choose_phone
from worker.core.states import RunState
from worker.runtime.load import load_settings

JOINED = FieldMapping(phone=("+{{ calling_code }}{{ phone }}",))


def mapping_of(fields: FieldMapping) -> RecordMapping:
    adapter = LogAdapter(LogSource())
    adapter.fields = field_names_of(fields)
    return RecordMapping.of(fields, adapter, "US", frozenset({"+14155550100"}))


def phone_of(fields: FieldMapping, record: dict[str, Any]) -> str | None:
    mapping = mapping_of(fields)
    phone, problem = choose_phone(mapping.read(record), mapping.default_region)
    return phone or (problem[0] if problem else None)


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ({"Calling Code": "52", "Phone": "5512345678"}, "+525512345678"),
        ({"Calling Code": 52, "Phone": 5512345678}, "+525512345678"),
        ({"Calling Code": "52", "Phone": "55 1234-5678"}, "+525512345678"),
        ({"Calling Code": "52", "Phone": '="5512345678"'}, "+525512345678"),
        ({"Calling Code": "+52", "Phone": "5512345678"}, "+525512345678"),
        ({"Calling Code": 52.0, "Phone": 5512345600.0}, "spreadsheet"),
        ({"Calling Code": "52", "Phone": "+525512345678"}, "several"),
        ({"Calling Code": "", "Phone": ""}, "no_phone"),
        ({"Calling Code": None, "Phone": "n/a"}, "no_phone"),
    ],
)
def test_a_phone_may_join_fields(record: dict[str, Any], result: str) -> None:
    assert phone_of(JOINED, record) == result


@pytest.mark.parametrize("record", [{"Calling Code": "", "Phone": "5512345678"}, {"Phone": "5512345678"}])
def test_a_part_that_is_missing_rejects_the_record_in_words(record: dict[str, Any]) -> None:
    with pytest.raises(UnfilledExpression, match=r"fields.phone = .* cannot be filled: line 1: calling_code is empty"):
        mapping_of(JOINED).read(record)


def test_a_default_fills_a_part_and_columns_step_in_for_an_empty_expression() -> None:
    fields = FieldMapping(phone=('+{{ calling_code | default: "1" }}{{ phone }}', "Office"))
    assert phone_of(fields, {"calling_code": "", "phone": "4155552671", "Office": "x"}) == "+14155552671"
    assert phone_of(fields, {"calling_code": "", "phone": "", "Office": "4155552672"}) == "+14155552672"


def test_names_and_emails_may_be_expressions() -> None:
    names = ("{{ title }}", "{{ last }} {{ first | upcase }}")
    fields = FieldMapping(full_name=names, email=("{{ user }}@example.org",))
    record = {"title": "unknown", "last": "Lovelace", "first": "Ada", "user": "ada", "phone": "+14155552671"}
    found = mapping_of(fields).read(record).fields
    assert (found.full_name, found.email) == ("Lovelace ADA", "ada@example.org")


def test_an_adapter_gets_the_fields_that_an_expression_reads_the_number_first() -> None:
    phones = ('+{{ code }}{{ record["Phone No."] }}', "Office")
    fields = FieldMapping(phone=phones, full_name=("{{ first }} {{ last }}",))
    names = field_names_of(fields)
    assert names.phone == ("Phone No.", "code", "Office")
    assert names.full_name == ("first", "last")
    assert field_names_of(FieldMapping(phone=("Mobile",))) == FieldMapping(phone=("Mobile",))


@pytest.mark.parametrize(
    ("fields", "columns"),
    [
        (FieldMapping(), ("Country",)),
        (FieldMapping(country=("Nation",)), ("Nation",)),
        (FieldMapping(country=("Nowhere",)), ()),
    ],
)
def test_the_country_is_mapped_or_called_country(fields: FieldMapping, columns: tuple[str, ...]) -> None:
    assert find_columns(("Phone", "Country", "Nation"), fields).country == columns


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ({"Phone Number": "5512345678", "Phone Country Code": "MX"}, "+525512345678"),
        ({"Phone Number": "5512345678", "Phone Country Code": "52", "Country": "US"}, "+525512345678"),
        ({"Phone Number": "5512345678", "Phone Calling Code": "+52"}, "+525512345678"),
        ({"Phone Number": "5512345678", "Phone Country Code": "", "Country": "MX"}, "+525512345678"),
        ({"Phone Number": "5512345678", "Phone Country Code": "999"}, "country"),
        ({"Phone Number": "4155552671", "Phone Country Code": 1}, "+14155552671"),
        ({"Phone Number": "4155552671", "Mobile Country Code": "MX"}, "+14155552671"),
        ({"Phone Number": "4155552671", "Mobile": "5512345678", "Mobile Country": "MX"}, "+525512345678"),
        ({"Phone Number": "4155552671", "Mobile": "", "Mobile Country": "MX"}, "+14155552671"),
    ],
)
def test_a_column_beside_the_phone_has_its_country(record: dict[str, Any], result: str) -> None:
    assert phone_of(FieldMapping(), record) == result


def test_a_sync_joins_fields_and_reads_countries(world: World) -> None:
    world.crm["crm"] = source = LogSource()  # type: ignore[assignment]
    world.connections["crm"] = {"fields": {"phone": "{{ code }}{{ number }}", "full_name": "name"}}
    source.log.clear()
    for external_id, code, number, country in [
        ("1", "+52", "5512345678", ""),
        ("2", "", "4155552671", ""),
        ("3", "+1", "4155552672", "Mexico"),
    ]:
        source.put(external_id, name=f"P{external_id}", code=code, number=number, country=country)
    report, _ = world.sync_and_push()
    assert (report.state, report.rejected) == (RunState.DONE, 1)
    assert sorted(world.virtualtext.phones()) == ["+14155552672", "+525512345678"]
    assert "code is empty or missing" in world.rejections()["2"]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ('phone = "+{{ code }{{ phone }}"', "fields.phone"),
        ('phone = "{{ old.phone }}"', "old cannot be used here"),
        ('phone = "{{ contact.phone }}"', "contact cannot be used here"),
        ('phone = ["Mobile", "{{ phone | nonsense }}"]', 'there is no filter "nonsense"'),
        ("""email = "{{ 'a@example.org' }}" """, "reads no field"),
        ('owner = "{{ first }}"', "only phone, full_name, email can be expressions"),
    ],
)
def test_a_broken_expression_is_found_by_the_check(tmp_path: Any, entry: str, complaint: str) -> None:
    from config.errors import ConfigError

    (tmp_path / "in.csv").write_text("id,phone\n1,+14155552671\n")
    path = tmp_path / "vtsync.toml"
    path.write_text(
        '[accounts.main]\nuid = "u"\ntoken = "t"\nfrom_number = "+14155550100"\n'
        f'[connections.crm]\nadapter = "csv"\naccount = "main"\nfields = {{ {entry} }}\n'
        'options = { path = "in.csv" }\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(str(path))
    assert complaint in str(caught.value)
