"""Every value that a database can hold becomes a scalar, and none stops a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crm_adapters.base import UnreadableRecord
from crm_adapters.services import LocalServices
from crm_adapters.sql.drivers import BeyondTime
from crm_adapters.sql.queries import without_end
from crm_adapters.sql.values import BEYOND_TIME, external_id, is_true, to_json
from tests.adapters.sql_crm import KINDS, Database, database, read

# Add a row: the column's type, a value as SQL, the property. BEYOND and BEYOND_TIME: it counts as empty and is named.
BEYOND = "beyond"
LONG = "x" * 5000


class Cell(NamedTuple):
    type: str
    sql: str
    expected: Any
    of_query: Any = ...
    """The property that a query gives, which does not know the column's type, if that is another one."""


POSTGRES = [
    Cell("timestamptz", "'infinity'", BEYOND_TIME),
    Cell("timestamptz", "'-infinity'", BEYOND_TIME),
    Cell("timestamp", "'20000-01-01'", BEYOND_TIME),
    Cell("date", "'infinity'", BEYOND_TIME),
    Cell("date", "'0044-03-15 BC'", BEYOND_TIME),
    Cell("timestamptz", "'2026-03-01 12:00+02'", "2026-03-01T10:00:00+00:00"),
    Cell("timestamp", "'2026-03-01 12:00:00.5'", "2026-03-01T12:00:00.500000"),
    Cell("date", "'9999-12-31'", "9999-12-31"),
    Cell("date", "'0001-01-01'", "0001-01-01"),
    Cell("time", "'10:00'", "10:00:00"),
    Cell("time", "'24:00'", "24:00:00"),
    Cell("timetz", "'10:00+02'", "10:00:00+02:00"),
    Cell("date[]", "'{2026-01-01,infinity}'", "2026-01-01;infinity"),
    Cell("daterange", "'[2026-01-01,infinity)'", "[2026-01-01,infinity)"),
    Cell("int4range", "'[1,5)'", "[1,5)"),
    Cell("tstzrange", "'[,]'", "(,)"),
    Cell("int4multirange", "'{[1,3),[5,8)}'", "{[1,3),[5,8)}"),
    Cell("interval", "'2 days'", 172800.0),
    Cell("interval", "'5000000 years'", "5000000 years"),
    Cell("bit(1)", "B'1'", True),
    Cell("bit(1)", "B'0'", False),
    Cell("bit(3)", "B'101'", "101"),
    Cell("varbit", "B'1'", True),
    Cell("boolean", "true", True),
    Cell("text[]", "'{VIP,\"do not text\"}'", "VIP;do not text"),
    Cell("text[]", "'{}'", ""),
    Cell("text[]", "'{NULL,a}'", "a"),
    Cell("int[]", "'{1,2}'", "1;2"),
    Cell("boolean[]", "'{t,f}'", "true;false"),
    Cell("numeric[]", "'{1.50}'", "1.50"),
    Cell("text[]", "'{{a,b},{c,d}}'", '[["a", "b"], ["c", "d"]]'),
    Cell("mood", "'won'", "won"),
    Cell("mood[]", "'{new,won}'", "new;won"),
    Cell("phone_number", "'+14155550100'", "+14155550100"),
    Cell("phone_number[]", "'{+1,+2}'", "+1;+2"),
    Cell("jsonb", '\'{"b": 1, "a": [2]}\'', '{"a": [2], "b": 1}'),
    Cell("jsonb", '\'["a", "b"]\'', "a;b"),
    Cell("jsonb", "'\"yes\"'", "yes"),
    Cell("jsonb", "'true'", True),
    Cell("jsonb", "'12'", 12),
    Cell("jsonb", "'null'", None),
    Cell("jsonb", "'{}'", ""),
    Cell("json", "'\"\\ud83d\"'", "?"),
    Cell("json", "('[' || repeat('[', 1500) || repeat(']', 1500) || ']')::json", "[" * 1501 + "]" * 1501),
    Cell("numeric(12,2)", "12.50", "12.50"),
    Cell("numeric", "'NaN'", BEYOND),
    Cell("numeric", "0.0000001", "0.0000001"),
    Cell("float8", "1.5", 1.5),
    Cell("float8", "'Infinity'", BEYOND),
    Cell("real", "4155552671", 4155552800.0),
    Cell("money", "'-1234.50'", "-1234.50", "-$1,234.50"),
    Cell("bigint", "9007199254740993", 9007199254740993),
    Cell("bytea", "'\\xdead'", "dead"),
    Cell("bytea", "'\\x01'", True),
    Cell("uuid", "'6f1c1f0e-8d3e-4c1e-9d2b-1d7a3b1c9a10'", "6f1c1f0e-8d3e-4c1e-9d2b-1d7a3b1c9a10"),
    Cell("inet", "'10.0.0.1'", "10.0.0.1"),
    Cell("xml", "'<a/>'", "<a/>"),
    Cell("point", "'(1,2)'", "(1,2)"),
    Cell("pair", "ROW(1,'a')", "(1,a)"),
    Cell("char(4)", "'ab'", "ab  "),
    Cell("text", f"'{LONG}'", LONG),
    Cell("text", "'100%'", "100%"),
    Cell("text", "NULL", None),
]
MARIADB = [
    Cell("date", "'0000-00-00'", None),
    Cell("datetime", "'0000-00-00 00:00:00'", None),
    Cell("timestamp", "'0000-00-00 00:00:00'", None),
    Cell("date", "'2026-00-00'", "2026-00-00"),
    Cell("date", "'2026-03-01'", "2026-03-01"),
    Cell("datetime(6)", "'2026-03-01 12:00:00.5'", "2026-03-01T12:00:00.500000"),
    Cell("time", "'10:00:00'", "10:00:00"),
    Cell("time", "'-838:59:59'", "-838:59:59"),
    Cell("year", "0", 0),
    Cell("year", "2026", 2026),
    Cell("bit(1)", "b'1'", True),
    Cell("bit(1)", "b'0'", False),
    Cell("bit(8)", "b'101'", 5),
    Cell("tinyint(1)", "1", 1),
    Cell("boolean", "false", 0),
    Cell("enum('a','b')", "'b'", "b"),
    Cell("enum('a','b')", "'zz'", ""),
    Cell("set('VIP','No SMS')", "'VIP,No SMS'", "VIP;No SMS", "VIP,No SMS"),
    Cell("set('x','y')", "''", ""),
    Cell("json", '\'["a", "b"]\'', "a;b", '["a", "b"]'),
    Cell("json", "'\"yes\"'", "yes", '"yes"'),
    Cell("json", "'{\"a\": 1}'", '{"a": 1}'),
    Cell("decimal(12,2)", "12.50", "12.50"),
    Cell("bigint unsigned", "18446744073709551615", 18446744073709551615),
    Cell("double", "4155552671", 4155552671.0),
    Cell("blob", "x'dead'", "dead"),
    Cell("varchar(20)", "'0000-00-00'", "0000-00-00"),
    Cell("varchar(20)", "'100%'", "100%"),
    Cell("varchar(20)", "'J\u00f6rg \U0001f44b'", "J\u00f6rg \U0001f44b"),
    Cell("point", "NULL", None),
]
SQLITE = [
    Cell("STRING", "'4155552671'", 4155552671),
    Cell("STRING", "'Ada V'", "Ada V"),
    Cell("UUID", "'6f1c1f0e-8d3e-4c1e-9d2b-1d7a3b1c9a10'", "6f1c1f0e-8d3e-4c1e-9d2b-1d7a3b1c9a10"),
    Cell("DATETIME", "1772366400", 1772366400),
    Cell("DATETIME", "'2026-03-01 12:00:00'", "2026-03-01T12:00:00", "2026-03-01 12:00:00"),
    Cell("TIMESTAMP", "'soon'", "soon"),
    Cell("DATE", "'2026-02-31'", "2026-02-31"),
    Cell("DATE", "'2026-02-28'", "2026-02-28"),
    Cell("DATE", "'0000-00-00'", "0000-00-00"),
    Cell("TIME", "'25:00'", "25:00"),
    Cell("JSON", "''", ""),
    Cell("JSON", '\'["a","b"]\'', "a;b", '["a","b"]'),
    Cell("JSON", "'not json'", "not json"),
    Cell("BOOLEAN", "1", True, 1),
    Cell("BOOLEAN", "'no'", "no"),
    Cell("BOOLEAN", "'yes'", "yes"),
    Cell("NUMERIC", "'n/a'", "n/a"),
    Cell("NUMERIC", "4155552671", 4155552671),
    Cell("DECIMAL(10,2)", "1.5", "1.50", 1.5),
    Cell("DECIMAL(10,2)", "'?'", "?"),
    Cell("FLOAT", "'x'", "x"),
    Cell("FLOAT", "9e999", BEYOND),
    Cell("BIGINT", "'z'", "z"),
    Cell("INTEGER", "'-'", "-"),
    Cell("", "x'01'", True),
    Cell("BLOB", "x'dead'", "dead"),
    Cell("TEXT", "CAST(x'4ac3' AS TEXT)", "J\ufffd"),
    Cell("VARCHAR(3)", "'longer'", "longer"),
]
CELLS = {"postgres": POSTGRES, "mariadb": MARIADB, "sqlite": SQLITE}
PREPARE = {
    "postgres": (
        "CREATE TYPE mood AS ENUM ('new', 'won')",
        "CREATE DOMAIN phone_number AS text",
        "CREATE TYPE pair AS (a int, b text)",
    ),
    "mariadb": (),
    "sqlite": (),
}


@pytest.fixture(scope="module", params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A table with a column for each cell: row 1 holds the values, row 2 is plain."""
    with database(request.param, tmp_path_factory.mktemp("values")) as made:
        cells = CELLS[made.kind]
        columns = ", ".join(f"c{number} {cell.type}" for number, cell in enumerate(cells))
        if made.kind == "mariadb":
            columns = ", ".join(f"c{number} {cell.type} NULL" for number, cell in enumerate(cells))
        made.run(
            *PREPARE[made.kind],
            f"CREATE TABLE people (id INTEGER PRIMARY KEY, mobile VARCHAR(20), {columns})",
            f"INSERT INTO people VALUES (1, '+14155550101', {', '.join(cell.sql for cell in cells)})",
            "INSERT INTO people (id, mobile) VALUES (2, '+14155550102')",
        )
        yield made


@pytest.mark.parametrize("way", ["table", "query"])
def test_each_value_becomes_a_scalar(filled: Database, way: str) -> None:
    services = LocalServices()
    options: dict[str, Any] = {"table": "people"} if way == "table" else {"query": "SELECT * FROM people", "key": "id"}
    records, _ = read(filled.adapter(services=services, **options))
    assert records["2"].properties["mobile"] == "+14155550102"
    cells = CELLS[filled.kind]
    wanted = [cell.of_query if way == "query" and cell.of_query is not ... else cell.expected for cell in cells]
    found = [records["1"].properties[f"c{number}"] for number in range(len(cells))]
    differing = [
        (cell.type, cell.sql[:40], value)
        for cell, value, expected in zip(cells, found, wanted, strict=True)
        if (type(value), value) != ((type(None), None) if expected == BEYOND else (type(expected), expected))
    ]
    assert differing == []
    json.dumps(found)
    beyond = {f"c{number}" for number, expected in enumerate(wanted) if expected in (BEYOND, BEYOND_TIME)}
    notes = services.memory.get("notes", [])
    assert {note.split('"')[1] for note in notes} == beyond
    assert all("record 1)" in note and "take it for empty" in note for note in notes)


def test_reading_twice_gives_the_same(filled: Database) -> None:
    first, second = (read(filled.adapter(table="people"))[0] for _ in range(2))
    assert first == second


def test_the_columns_are_described(filled: Database) -> None:
    fields = {field.name: field for field in filled.adapter(table="people").describe()}
    assert list(fields)[:2] == ["id", "mobile"]
    assert fields["mobile"].type == "phone"
    assert set(fields["mobile"].values) == {"+14155550101", "+14155550102"}
    assert len(fields) == len(CELLS[filled.kind]) + 2


def test_check_reads_strange_values(filled: Database) -> None:
    assert 'phone "mobile"' in filled.adapter(table="people").check().summary


class Mark(NamedTuple):
    type: str
    value: str | dict[str, str]
    deleted: bool


MARKS = [
    Mark("date", {"sqlite": "'0000-00-00'", "mariadb": "'0000-00-00'", "postgres": "'infinity'"}, False),
    Mark("timestamp", {"sqlite": "0", "mariadb": "'0000-00-00'", "postgres": "'-infinity'"}, False),
    Mark("varchar(30)", "'0000-00-00 00:00:00'", False),
    Mark("date", "'9999-12-31'", False),
    Mark("date", "'1970-01-01'", False),
    Mark("varchar(30)", "''", False),
    Mark("varchar(30)", "'Nein'", False),
    Mark("varchar(30)", "'0.00'", False),
    Mark("bit(1)", {"sqlite": "0", "mariadb": "b'0'", "postgres": "B'0'"}, False),
    Mark("date", "'2026-03-01'", True),
    Mark("varchar(30)", "'2026-03-01T12:00:00Z'", True),
    Mark("varchar(30)", "'X'", True),
    Mark("bit(1)", {"sqlite": "1", "mariadb": "b'1'", "postgres": "B'1'"}, True),
    Mark("boolean", {"sqlite": "'yes'", "mariadb": "1", "postgres": "true"}, True),
    Mark("boolean", {"sqlite": "'no'", "mariadb": "0", "postgres": "false"}, False),
]


def test_a_mark_of_deletion_in_every_form(filled: Database) -> None:
    columns = ", ".join(f"c{number} {mark.type} NULL" for number, mark in enumerate(MARKS))
    values = [mark.value if isinstance(mark.value, str) else mark.value[filled.kind] for mark in MARKS]
    filled.run(
        f"CREATE TABLE marks (id INTEGER PRIMARY KEY, mobile VARCHAR(20), {columns})",
        f"INSERT INTO marks VALUES (1, '1', {', '.join(values)})",
        "INSERT INTO marks (id, mobile) VALUES (2, '2')",
    )
    adapter = filled.adapter(table="marks", deleted="c0")
    with adapter.source.connected() as connection:
        first, second = adapter.rows.sample(connection, [f"c{number}" for number in range(len(MARKS))], rows=2)
    assert [mark for mark, value in zip(MARKS, first, strict=True) if is_true(value) is not mark.deleted] == []
    assert not any(map(is_true, second))
    for number in (0, len(MARKS) - 2):  # a date, and a flag
        adapter, gone = filled.adapter(table="marks", deleted=f"c{number}"), MARKS[number].deleted
        found = {identifier: record.deleted for identifier, record in read(adapter)[0].items()}
        assert found == {"1": gone, "2": False}
        assert {one for ids in adapter.live_ids() for one in ids} == ({"2"} if gone else {"1", "2"})


@pytest.mark.parametrize(
    ("value", "deleted"),
    [
        (None, False),
        (0, False),
        (1, True),
        (Decimal("0.00"), False),
        (float("nan"), False),
        (b"\x00", False),
        (b"\x01", True),
        (BeyondTime("infinity"), False),
        (date(2026, 3, 1), True),
        (datetime(1970, 1, 1), False),  # noqa: DTZ001 - as databases give them
        (datetime(1, 1, 1, tzinfo=UTC), False),
        (datetime(2099, 1, 1, tzinfo=UTC), True),
        ("0001-01-01T00:00:00", False),
        ("infinity", False),
        ("1772366400", True),
        ("archived", True),
        ("t", True),
        ("f", False),
    ],
)
def test_what_means_deleted(value: Any, deleted: bool) -> None:
    assert is_true(value) is deleted


@pytest.mark.parametrize(
    ("key", "identifier"),
    [
        (b"\x01", "01"),
        (b"\xde\xad", "dead"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1.500"), "1.500"),
        (7, "7"),
        ("J\u00f6rg", "J\u00f6rg"),
        (datetime(2026, 3, 1), "2026-03-01T00:00:00"),  # noqa: DTZ001
        (BeyondTime("infinity"), "infinity"),
    ],
)
def test_ids_stay_as_they_were(key: Any, identifier: str) -> None:
    assert external_id((key,)) == identifier


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Decimal("1250.00"), "1250.00"),
        (Decimal("1.500"), 1.5),  # as text, it would be a thousand and a half in Germany
        (Decimal("-0.125"), -0.125),
        (Decimal("1.5000"), "1.5000"),
        (Decimal("1234567890123.125"), "1234567890123.125"),  # more than a float keeps
    ],
)
def test_a_decimal_is_text_unless_it_looks_like_thousands(value: Decimal, shown: object) -> None:
    assert to_json(value) == shown


def test_a_value_that_is_dropped_is_handed_back() -> None:
    dropped: list[Any] = []
    assert [to_json(value, dropped) for value in (BeyondTime("infinity"), float("inf"), 1.5)] == [
        BEYOND_TIME,
        None,
        1.5,
    ]
    assert dropped == ["infinity", float("inf")]


def test_dropped_values_are_counted_through_an_interruption(tmp_path: Path) -> None:
    with database("sqlite", tmp_path) as crm:
        crm.run("CREATE TABLE people (id INTEGER PRIMARY KEY, mobile TEXT, score FLOAT)")
        crm.run(*(f"INSERT INTO people VALUES ({i}, '1', 9e999)" for i in range(1, 8)))
        services = LocalServices()
        pull = crm.adapter(services=services, table="people", page_size=3).pull(None)
        cursor = next(pull).cursor
        assert "3 records have" in services.memory["notes"][0]
        services.memory = json.loads(json.dumps(services.memory))
        list(crm.adapter(services=services, table="people", page_size=3).pull(cursor))
        assert services.memory["notes"] == [
            f'7 records have a value in "score" of {crm.adapter(table="people").source.where} that cannot be used, such'
            " as inf (record 1); triggers and messages take it for empty until it is corrected in the CRM"
        ]
        crm.run("UPDATE people SET score = 1")
        list(crm.adapter(services=services, table="people").pull(None))
        assert "notes" not in services.memory


@pytest.mark.postgres
def test_a_row_that_cannot_be_read_at_all_is_named(tmp_path: Path) -> None:
    with database("postgres", tmp_path) as crm:
        crm.run(
            "CREATE TABLE people (id int PRIMARY KEY, mobile text, total int)",
            "INSERT INTO people SELECT i, '+1415555010' || i, i - 3 FROM generate_series(1, 7) i",
        )
        query = "SELECT id, mobile, 10 / total AS share FROM people"
        pages = list(crm.adapter(query=query, key="id", page_size=5).pull(None))
        changes = [change for page in pages for change in page.changes]
        unreadable = [change for change in changes if isinstance(change, UnreadableRecord)]
        assert [one.key for one in unreadable] == ["3"]
        assert "correct the row" in unreadable[0].reason
        assert len(changes) == 7


@pytest.mark.parametrize(
    ("query", "mysql", "kept"),
    [
        ("SELECT 1", False, "SELECT 1"),
        ("SELECT 1;", False, "SELECT 1"),
        ("SELECT 1 ; ; ", False, "SELECT 1 "),
        ("SELECT 1; -- all of them", False, "SELECT 1"),
        ("SELECT 1 -- a; b", False, "SELECT 1 -- a; b"),
        ("SELECT 1 /* ; */", False, "SELECT 1 /* ; */"),
        ("SELECT ';'", False, "SELECT ';'"),
        ("SELECT ';' ;", False, "SELECT ';' "),
        ("SELECT 'it''s;' AS \"a;\"", False, "SELECT 'it''s;' AS \"a;\""),
        ("SELECT $x$;$x$;", False, "SELECT $x$;$x$"),
        ("SELECT '\\';", False, "SELECT '\\'"),
        ("SELECT E'\\';' ;", False, "SELECT E'\\';' "),
        ("SELECT '\\';' ;", True, "SELECT '\\';' "),
        ("SELECT 1; # all", True, "SELECT 1"),
        ("SELECT `a;b` FROM t;", True, "SELECT `a;b` FROM t"),
        ("SELECT 1; SELECT 2", False, "SELECT 1; SELECT 2"),
    ],
)
def test_only_the_semicolon_at_the_end_is_left_out(query: str, mysql: bool, kept: str) -> None:
    assert without_end(query, mysql=mysql) == kept


COMMON = ["-- people\nSELECT id, mobile FROM people -- all of them", "SELECT id, mobile FROM people WHERE 1=1;\n-- end"]
QUERIES = {
    "postgres": [
        *COMMON,
        """SELECT id, mobile FROM people WHERE j @> '{"a":1}'""",
        "SELECT id, mobile::text, ':x' AS c, '\\:y' AS d FROM people WHERE name LIKE 'A%' AND id % 2 = 1;",
        "SELECT id, mobile FROM people WHERE j ? 'a'",
        "WITH p AS (SELECT * FROM people) SELECT id, mobile FROM p ORDER BY name",
    ],
    "mariadb": [
        *COMMON,
        "SELECT id, mobile, '{\"a\":1}' AS c FROM people WHERE name LIKE 'A%' # all",
        "SELECT `id`, mobile FROM people WHERE time(now()) > '00:00:00' - interval 1 day OR 1 = 1;",
    ],
    "sqlite": [
        *COMMON,
        "SELECT id, mobile, ':x' AS c FROM people WHERE name LIKE 'A%' AND id % 2 = 1",
        "SELECT id, mobile, '?' AS c FROM people;",
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_runs_as_it_is_written(kind: str, tmp_path: Path) -> None:
    with database(kind, tmp_path) as crm:
        json_type = {"postgres": "jsonb"}.get(kind, "text")
        crm.run(
            f"CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(20), mobile VARCHAR(20), j {json_type})",
            "INSERT INTO people VALUES (1, 'Ada', '+1', '{\"a\": 1}'), (3, 'Al', '+3', '{\"a\": 1}')",
        )
        for query in QUERIES[kind]:
            adapter = crm.adapter(query=query, key="id", page_size=1)
            assert set(read(adapter)[0]) == {"1", "3"}, query
            assert 'phone "mobile"' in adapter.check().summary
            assert [field.name for field in adapter.describe()][:2] == ["id", "mobile"]
