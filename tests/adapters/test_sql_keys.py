"""Keys of every kind: no row is lost at the end of a page, none comes twice, and no run goes on endlessly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from crm_adapters.base import RecordGone, SourceInvalid, UnreadableRecord
from tests.adapters.sql_crm import KINDS, Database, database, read


@pytest.fixture(scope="module", params=KINDS)
def crm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with database(request.param, tmp_path_factory.mktemp("keys")) as made:
        yield made


ALL = ("postgres", "mariadb", "sqlite")


class Keys(NamedTuple):
    """Add a row: the column of the key, its values as SQL, the ids, and the kinds of database that have such keys."""

    column: str
    values: tuple[str, ...]
    ids: tuple[str, ...]
    kinds: tuple[str, ...] = ALL
    of_query: bool = True
    """False if the key reads otherwise in a query, which does not know the column's type."""


KEYS = [
    Keys("code varchar(20)", ("'A1'", "'A1 '", "'B1'", "'b1'", "'C1'"), ("A1", "A1 ", "B1", "b1", "C1")),
    Keys("code varchar(20)", ("'stra\u00dfe'", "'strasse'", "'STRASSE'"), ("stra\u00dfe", "strasse", "STRASSE")),
    Keys("code varchar(20)", ("'e'", "'\u00e9'", "'E'", "'f'"), ("e", "\u00e9", "E", "f")),
    Keys("code varchar(20) PRIMARY KEY", ("'a'", "'B'", "'c'"), ("a", "B", "c")),
    Keys("code varchar(20) UNIQUE", ("'a'", "'B'", "'c'"), ("a", "B", "c")),
    Keys("code varchar(20)", ("'%'", "'_'", "':x'", "'''q'"), ("%", "_", ":x", "'q")),
    Keys("code decimal(10,2)", ("1.5", "2", "10"), ("1.50", "2.00", "10.00"), ("postgres", "mariadb")),
    Keys("code numeric", ("1.0", "1.00", "2"), ("1.0", "1.00", "2"), ("postgres",)),
    Keys("code date", ("'2026-03-01'", "'2026-03-02'"), ("2026-03-01", "2026-03-02")),
    Keys("code uuid", tuple(f"'{i}0000000-0000-4000-8000-000000000000'" for i in (1, 2, 3)),
         tuple(f"{i}0000000-0000-4000-8000-000000000000" for i in (1, 2, 3)), ("postgres",)),
    Keys("code uuid", tuple(f"'{i}0000000-0000-4000-8000-000000000000'" for i in (1, 2, 3)),
         tuple(f"{i}0000000-0000-4000-8000-000000000000" for i in (1, 2, 3)), ("mariadb",)),
    Keys("code mood", ("'new'", "'won'", "'lost'"), ("new", "won", "lost"), ("postgres",)),
    Keys("code enum('new','won','lost')",
         ("'new'", "'won'", "'lost'"), ("new", "won", "lost"), ("mariadb",), of_query=False),
    Keys("code timestamptz", ("'2026-03-01'", "'2026-03-02'"),
         ("2026-03-01T00:00:00+00:00", "2026-03-02T00:00:00+00:00"), ("postgres",)),
    Keys("code bytea", ("'\\x00ff'", "'\\x01'"), ("00ff", "01"), ("postgres",)),
    Keys("code bigint unsigned", ("1", "18446744073709551615"), ("1", "18446744073709551615"), ("mariadb",)),
    Keys("code bigint", ("1", "-5", "9007199254740993"), ("1", "-5", "9007199254740993")),
    Keys("code binary(2)", ("x'00ff'", "x'0100'", "x'0101'"), ("00ff", "0100", "0101"), ("mariadb",)),
    Keys("code text COLLATE NOCASE", ("'A1'", "'a1'", "'b1'"), ("A1", "a1", "b1"), ("sqlite",)),
    Keys("code", ("1", "2", "'a'", "'B'", "x'01'", "1.5"), ("1", "2", "a", "B", "01", "1.5"), ("sqlite",)),
    Keys("code INTEGER", ("1", "'x'", "-3"), ("1", "x", "-3"), ("sqlite",)),
    Keys("code DATETIME", ("'2026-03-01 10:00:00'", "1772366400", "'soon'"),
         ("2026-03-01T10:00:00", "1772366400", "soon"), ("sqlite",), of_query=False),
    Keys("code varchar(20) COLLATE ci", ("'A1'", "'a1'", "'b1'"), ("A1", "a1", "b1"), ("postgres",)),
]  # fmt: skip


PAGED = [(keys, 1) for keys in KEYS] + [(keys, 2) for keys in KEYS if len(keys.ids) > 3]


@pytest.mark.parametrize(("keys", "size"), PAGED)
def test_every_row_is_read_once(crm: Database, keys: Keys, size: int) -> None:
    if crm.kind not in keys.kinds:
        return
    if "ci" in keys.column.split():
        crm.run("CREATE COLLATION IF NOT EXISTS ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    if "mood" in keys.column.split():
        crm.run("DROP TYPE IF EXISTS mood CASCADE", "CREATE TYPE mood AS ENUM ('new', 'won', 'lost')")
    rows = ", ".join(f"({value}, '+1{number}')" for number, value in enumerate(keys.values))
    crm.run(
        "DROP VIEW IF EXISTS everybody",
        "DROP TABLE IF EXISTS people",
        f"CREATE TABLE people ({keys.column}, mobile varchar(20))",
        f"INSERT INTO people VALUES {rows}",
        "CREATE VIEW everybody AS SELECT * FROM people",
    )
    adapter = crm.adapter(table="people", key="code", page_size=size)
    found, pages = read(adapter)
    assert set(found) == set(keys.ids)
    if size > 1:
        return
    assert {one for ids in adapter.live_ids() for one in ids} == set(keys.ids)
    middle = len(pages) // 2 - 1  # a run may be interrupted after any page
    seen = {change.external_id for page in pages[: middle + 1] for change in page.changes}  # type: ignore[union-attr]
    assert seen | set(read(adapter, pages[middle].cursor)[0]) == set(keys.ids)
    assert set(read(crm.adapter(table="everybody", key="code", page_size=1))[0]) == set(keys.ids)
    if keys.of_query:
        query = crm.adapter(query="SELECT * FROM people", key="code", page_size=1)
        assert set(read(query)[0]) == set(keys.ids)


def test_a_composite_key_with_parts_that_are_held_for_equal(crm: Database) -> None:
    rows = [(shop, number) for shop in ("a", "A", "a ") for number in (1, 2, 3)]
    crm.run(
        "DROP VIEW IF EXISTS everybody",
        "DROP TABLE IF EXISTS people",
        "CREATE TABLE people (shop varchar(5), no int, mobile varchar(20))",
        *(f"INSERT INTO people VALUES ('{shop}', {number}, '+1')" for shop, number in rows),
    )
    found, _ = read(crm.adapter(table="people", key=("shop", "no"), page_size=2))
    assert set(found) == {f"{shop}|{number}" for shop, number in rows}


@pytest.mark.parametrize("size", [1, 2, 50])
def test_the_very_same_key_twice_is_refused(crm: Database, size: int) -> None:
    crm.run(
        "DROP VIEW IF EXISTS everybody",
        "DROP TABLE IF EXISTS people",
        "CREATE TABLE people (code varchar(5), mobile varchar(20))",
        "INSERT INTO people VALUES ('x', '1'), ('a', '2'), ('A', '3'), ('a', '4')",
    )
    with pytest.raises(SourceInvalid, match="several rows with the key a; set key to columns"):
        read(crm.adapter(table="people", key="code", page_size=size))


def test_keys_without_a_value_are_named_and_the_others_read(crm: Database) -> None:
    crm.run(
        "DROP VIEW IF EXISTS everybody",
        "DROP TABLE IF EXISTS people",
        "CREATE TABLE people (code varchar(5), mobile varchar(20))",
        "INSERT INTO people VALUES (NULL, '1'), ('a', '2'), (NULL, '3'), ('', '4')",
    )
    adapter = crm.adapter(table="people", key="code", page_size=1)
    found, pages = read(adapter)
    assert set(found) == {"a", ""}
    unkeyed = [change for page in pages for change in page.changes if isinstance(change, UnreadableRecord)]
    assert len(unkeyed) == 2
    assert {one for ids in adapter.live_ids() for one in ids} == {"a", ""}


def test_an_opt_out_is_written_to_one_record_only(crm: Database) -> None:
    crm.run(
        "DROP VIEW IF EXISTS everybody",
        "DROP TABLE IF EXISTS people",
        "CREATE TABLE people (code varchar(5), mobile varchar(20), dnt varchar(5))",
        "INSERT INTO people VALUES ('B1', '1', ''), ('b1', '2', ''), ('B1 ', '3', '')",
    )
    adapter = crm.adapter(table="people", key="code")
    if crm.kind == "mariadb":  # its collation holds these keys for equal
        with pytest.raises(SourceInvalid, match="'B1' and 'B1 ' and 'b1' for equal"):
            adapter.set_do_not_text("b1", "dnt", True)
        assert {record.properties["dnt"] for record in read(adapter)[0].values()} == {""}
        return
    adapter.set_do_not_text("b1", "dnt", True)
    found, _ = read(adapter)
    assert {identifier: record.properties["dnt"] for identifier, record in found.items()} == {
        "B1": "",
        "b1": "yes",
        "B1 ": "",
    }
    with pytest.raises(RecordGone):
        adapter.set_do_not_text("b2", "dnt", True)


# What an earlier version stored: an interrupted run, a finished one, and an interrupted run of a whole table.
CURSORS: dict[str, list[dict[str, Any]]] = {
    "sqlite": [
        {"since": None, "watermark": "2026-03-01 12:00:00", "last": [2]},
        {"since": "2026-03-01 11:55:00", "watermark": "2026-03-01 12:00:00", "last": [2]},
        {"watermark": "2026-03-01 12:00:00"},
        {"watermark": {"datetime": "2026-03-01T12:00:00"}},
    ],
    "postgres": [
        {
            "since": {"datetime": "2026-03-01T11:55:00+00:00"},
            "watermark": {"datetime": "2026-03-01T12:00:00+00:00"},
            "last": [2],
        },
        {"watermark": {"datetime": "2026-03-01T12:00:00+00:00"}},
    ],
    "mariadb": [
        {"since": {"datetime": "2026-03-01T11:55:00"}, "watermark": {"datetime": "2026-03-01T12:00:00"}, "last": [2]},
        {"watermark": {"datetime": "2026-03-01T12:00:00"}},
    ],
}


def test_a_cursor_of_an_earlier_version_still_works(crm: Database) -> None:
    kind = {"postgres": "timestamptz", "mariadb": "datetime", "sqlite": "DATETIME"}[crm.kind]
    crm.run(
        "DROP VIEW IF EXISTS everybody",
        "DROP TABLE IF EXISTS people",
        f"CREATE TABLE people (id int PRIMARY KEY, mobile varchar(20), changed {kind})",
        *(f"INSERT INTO people VALUES ({i}, '{i}', '2026-03-01 12:00:00')" for i in (1, 2, 3)),
        "INSERT INTO people VALUES (4, '4', '2026-02-01 12:00:00'), (5, '5', '2026-03-02 12:00:00')",
    )
    adapter = crm.adapter(table="people", updated_at="changed")
    for cursor in CURSORS[crm.kind]:
        found, pages = read(adapter, cursor)
        whole = {"3", "4", "5"} if cursor.get("since", ...) is None else {"3", "5"}
        assert set(found) == (whole if "last" in cursor else {"1", "2", "3", "5"}), cursor
        assert set(read(adapter, pages[-1].cursor)[0]) <= {"1", "2", "3", "5"}
    found, _ = read(crm.adapter(table="people"), {"last": [2]})
    assert set(found) == {"3", "4", "5"}


class Times(NamedTuple):
    """Add a row: the type of the time of change, values that are times, and values that are none."""

    type: str
    times: tuple[str, str]
    others: tuple[str, ...]
    kinds: tuple[str, ...]


TIMES = [
    Times("timestamptz", ("'2026-03-01'", "'2026-03-02'"), ("'infinity'", "'-infinity'", "NULL"), ("postgres",)),
    Times("timestamptz", ("'2026-03-01'", "'2026-03-02'"), ("'0044-03-15 BC'", "'20000-01-01'"), ("postgres",)),
    Times("timestamp", ("'2026-03-01'", "'2026-03-02'"), ("'20000-01-01'", "NULL"), ("postgres",)),
    Times("date", ("'2026-03-01'", "'2026-03-05'"), ("'infinity'",), ("postgres",)),
    Times("datetime", ("'2026-03-01'", "'2026-03-02'"), ("'0000-00-00'", "NULL"), ("mariadb",)),
    Times("timestamp NULL", ("'2026-03-01'", "'2026-03-02'"), ("'0000-00-00'", "NULL"), ("mariadb",)),
    Times("date", ("'2026-03-01'", "'2026-03-05'"), ("'0000-00-00'",), ("mariadb",)),
    Times("varchar(40)", ("'2026-03-01 10:00:00'", "'2026-03-02 10:00:00'"), ("'soon'", "''", "NULL"), ALL),
    Times("bigint", ("1772366400000", "1772466400000"), ("0", "NULL"), ALL),
    Times("DATETIME", ("1772366400", "1772466400"), ("'soon'", "''", "NULL"), ("sqlite",)),
    Times("DATETIME", ("'2026-03-01 10:00:00'", "'2026-03-02 10:00:00'"), ("'soon'", "'0000-00-00'", "7"), ("sqlite",)),
    Times("TIMESTAMP", ("'2026-03-01T10:00:00Z'", "'2026-03-02T10:00:00Z'"), ("''",), ("sqlite",)),
]  # fmt: skip


@pytest.mark.parametrize("times", TIMES, ids=lambda times: f"{times.type}-{times.times[0]}")
@pytest.mark.parametrize("of", ["table", "query"])
def test_values_that_are_no_times_stop_nothing(crm: Database, times: Times, of: str) -> None:
    if crm.kind not in times.kinds:
        return
    values = (*times.times, *times.others)
    crm.run(
        "DROP VIEW IF EXISTS everybody",
        "DROP TABLE IF EXISTS people",
        f"CREATE TABLE people (id int PRIMARY KEY, mobile varchar(20), changed {times.type})",
        *(f"INSERT INTO people VALUES ({number}, '{number}', {value})" for number, value in enumerate(values)),
    )
    source: dict[str, Any] = {"table": "people"} if of == "table" else {"query": "SELECT * FROM people", "key": "id"}
    adapter = crm.adapter(**source, updated_at="changed", page_size=2)
    found, pages = read(adapter)
    assert len(found) == len(values)
    assert pages[-1].cursor is not None
    assert pages[-1].cursor["watermark"] is not None
    again, _ = read(adapter, pages[-1].cursor)  # the newest, and all that have no time
    assert set(again) == {str(number) for number in range(1, len(values))}
    adapter.check()
