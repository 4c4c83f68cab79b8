"""What the adapter says about a source, which columns it reads, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from crm_adapters.base import ListsIds, SourceInvalid
from crm_adapters.services import LocalServices
from crm_adapters.sql.shape import describe_deletion
from tests.adapters.sql_crm import KINDS, Database, database, read


@pytest.fixture(scope="module", params=KINDS)
def crm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with database(request.param, tmp_path_factory.mktemp("shape")) as made:
        odd = "`do not text`" if request.param == "mariadb" else '"do not text"'
        made.run(
            "CREATE TABLE people (id int PRIMARY KEY, first_name varchar(20), mobile varchar(20), email varchar(40),"
            f" {odd} varchar(5), ssn varchar(20), changed timestamp NULL, archived int, score decimal(8,2))",
            "INSERT INTO people VALUES"
            " (1, 'Ada', '+14155550101', 'ada@example.org', 'yes', '1', '2026-03-01 12:00:00', 1, 1.5),"
            " (2, 'Bo', '+14155550102', 'bo@example.org', 'no', '2', '2026-03-01 13:00:00', 0, NULL)",
            "CREATE VIEW everybody AS SELECT * FROM people",
            "CREATE TABLE companies (id int PRIMARY KEY, name varchar(20), properties_mobilephone varchar(20))",
        )
        yield made


def wanting(*names: str) -> LocalServices:
    return LocalServices(wanted=frozenset(names))


@pytest.mark.parametrize(
    ("options", "wanted", "read_"),
    [
        ({}, None, {"id", "first_name", "mobile", "email", "do not text", "ssn", "changed", "archived", "score"}),
        ({}, (), {"id", "first_name", "mobile", "email"}),
        ({}, ("do_not_text",), {"id", "first_name", "mobile", "email", "do not text"}),
        ({}, ("SCORE", "nothing"), {"id", "first_name", "mobile", "email", "score"}),
        ({"updated_at": "changed", "deleted": "archived"}, (),
         {"id", "first_name", "mobile", "email", "changed", "archived"}),
        ({"columns": ["mobile"]}, None, {"id", "mobile"}),
        ({"columns": ["mobile"]}, ("Do Not Text",), {"id", "mobile", "do not text"}),
        ({"columns": ["mobile"], "deleted": "archived"}, ("email",), {"id", "mobile", "archived", "email"}),
    ],
)  # fmt: skip
def test_only_what_is_used_is_read(crm: Database, options: dict[str, Any], wanted: Any, read_: set[str]) -> None:
    services = LocalServices() if wanted is None else wanting(*wanted)
    adapter = crm.adapter(services=services, table="people", **options)
    found, _ = read(adapter)
    assert set(found["1"].properties) == read_
    assert "ssn" in {field.name for field in adapter.describe()}


def test_the_mapping_is_read_too(crm: Database) -> None:
    fields = {"phone": ["ssn", "+1{{ mobile }}"], "full_name": "score"}
    found, _ = read(crm.adapter(fields, wanting(), table="people"))
    assert set(found["1"].properties) == {"id", "ssn", "score", "email"}
    found, _ = read(crm.adapter({"phone": "+1{{ score }}"}, wanting("score"), table="people"))
    assert "score" in found["1"].properties


@pytest.mark.parametrize("way", ["check", "pull"])
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"table": "companies"}, r"no column with a usual name for a phone number; name it in .*fields\.phone"),
        ({"table": "companies"}, "properties_mobilephone"),
        ({"query": "SELECT id, ssn FROM people", "key": "id"}, "fields.phone. It has id, ssn"),
        ({"table": "people", "columns": ["first_name"]}, "among its columns that are read .*fields.phone"),
        ({"table": "people", "deleted": "archivd"}, 'no column "archivd"; did you mean archived'),
        ({"table": "people", "updated_at": "changd"}, 'no column "changd"; did you mean changed'),
    ],
)
def test_a_column_that_is_missing_is_named(crm: Database, options: dict[str, Any], match: str, way: str) -> None:
    adapter = crm.adapter(**options)
    with pytest.raises(SourceInvalid, match=match):
        list(adapter.pull(None)) if way == "pull" else adapter.check()
    assert adapter.describe()  # what there is can always be asked


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, ['key "id"', 'phone "mobile"', 'name "first_name"', 'email "email"', "every run reads every row"]),
        ({"updated_at": "changed"}, ['changed "changed" (newest 2026-03-01 13:00 UTC; without an index']),
        ({"deleted": "archived"}, ['deleted "archived" ("1" means deleted, "0" does not)']),
        ({"deleted": "first_name"}, ['"Ada", "Bo" means deleted: all of the first rows are']),
    ],
)
def test_check_says_what_was_understood(crm: Database, options: dict[str, Any], shown: list[str]) -> None:
    summary = crm.adapter(table="people", **options).check().summary
    assert [one for one in shown if one not in summary] == [], summary
    assert "\n" not in summary


@pytest.mark.parametrize("column", ["first_name", "email"])
def test_a_time_of_change_that_is_none_is_refused(crm: Database, column: str) -> None:
    with pytest.raises(SourceInvalid, match=f'the column "{column}" .* is no time; set updated_at'):
        crm.adapter(table="people", updated_at=column).check()


def test_a_view_and_a_query_are_described_like_a_table(crm: Database) -> None:
    sources: list[dict[str, Any]] = [
        {"table": "people"},
        {"table": "everybody", "key": "id"},
        {"query": "SELECT * FROM people", "key": "id"},
    ]
    of_table, of_view, of_query = (crm.adapter(**source).describe() for source in sources)
    assert [field.name for field in of_table] == [field.name for field in of_view] == [field.name for field in of_query]
    by_name = {field.name: field for field in of_table}
    types = {name: field.type for name, field in by_name.items()}
    assert types == {
        "id": "number",
        "first_name": "text",
        "mobile": "phone",
        "email": "email",
        "do not text": "text",
        "ssn": "text",
        "changed": "datetime",
        "archived": "number",
        "score": "number",
    }
    assert by_name["first_name"].values == ("Ada", "Bo")
    assert by_name["score"].values == ("1.50",)
    for source in sources:
        found, _ = read(crm.adapter(**source))
        assert set(found) == {"1", "2"}


def test_the_ids_alone_are_listed(crm: Database) -> None:
    adapter = crm.adapter(table="people", updated_at="changed")
    assert isinstance(adapter, ListsIds)
    statements: list[str] = []
    event.listen(adapter.source.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert sorted(one for ids in adapter.live_ids() for one in ids) == ["1", "2"]
    assert not any("mobile" in statement and "SELECT" in statement[:8] and "FROM people" in statement
                   for statement in statements)  # fmt: skip
    marked = crm.adapter(table="people", deleted="archived")
    assert [one for ids in marked.live_ids() for one in ids] == ["2"]


def test_many_ids_come_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_adapters.sql.reader.IDS_PER_STATEMENT", 7)
    with database("sqlite", tmp_path) as small:
        small.run("CREATE TABLE people (id INTEGER PRIMARY KEY, mobile TEXT)")
        small.run(*(f"INSERT INTO people VALUES ({number}, '1')" for number in range(50)))
        pages = list(small.adapter(table="people").live_ids())
    assert [one for ids in pages for one in ids] == [str(number) for number in range(50)]
    assert max(map(len, pages)) == 7


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "it has no rows yet"),
        ([0, 1, None], '"1" means deleted, "0", empty does not'),
        ([None, None], "empty does not mean deleted"),
        (["x"], '"x" means deleted: all of the first rows are'),
    ],
)
def test_a_mark_of_deletion_in_words(values: list[Any], said: str) -> None:
    assert describe_deletion(values) == said
