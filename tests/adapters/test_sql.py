"""The SQL adapter on real databases: what other tools lose, this one must not."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from config.fields import FieldMapping
from crm_adapters.base import (
    ContactChange,
    CredentialsRejected,
    Removals,
    SourceInvalid,
    SourceUnavailable,
    UnreadableRecord,
)
from crm_adapters.sql.adapter import SqlAdapter
from crm_adapters.sql.datetimes import earlier, format_time, parse_time
from crm_adapters.sql.options import SqlOptions
from crm_adapters.sql.values import external_id, freeze, is_true, thaw, to_json
from tests.adapters.sql_crm import KINDS, Database, database, read
from tests.services import postgres_url

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Crm:
    """A customers table in a database of each kind."""

    def __init__(self, made: Database) -> None:
        self.url, self.kind, self.engine = made.url, made.kind, made.engine
        kind = {"sqlite": "TEXT", "postgres": "timestamptz", "mariadb": "datetime(6)"}[made.kind]
        self.run(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(50), mobile TEXT, email VARCHAR(50),"
            f" changed {kind}, gone INTEGER DEFAULT 0)"
        )

    def run(self, statement: str, *rows: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), list(rows) or None)

    def put(self, *rows: tuple[int, str, datetime | None]) -> None:
        insert = "INSERT INTO customers (id, name, mobile, changed) VALUES (:id, :name, :mobile, :changed)"
        if self.kind == "mariadb":
            insert += " ON DUPLICATE KEY UPDATE name = VALUES(name), changed = VALUES(changed)"
        else:
            insert += " ON CONFLICT (id) DO UPDATE SET name = excluded.name, changed = excluded.changed"
        values = [
            {"id": i, "name": name, "mobile": f"+1415555{i:04d}", "changed": self.stored(changed)}
            for i, name, changed in rows
        ]
        self.run(insert, *values)

    def stored(self, moment: datetime | None) -> Any:
        if moment is None or self.kind == "postgres":
            return moment
        return moment.strftime("%Y-%m-%d %H:%M:%S")

    def adapter(self, **options: Any) -> SqlAdapter:
        given = {"url": self.url, "table": "customers", "updated_at": "changed", "page_size": 3} | options
        return SqlAdapter(SqlOptions.model_validate({k: v for k, v in given.items() if v is not None}), FieldMapping())


@pytest.fixture(params=KINDS)
def crm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crm]:
    with database(request.param, tmp_path) as made:
        yield Crm(made)


def test_a_first_run_reads_everything_and_the_next_only_what_changed(crm: Crm) -> None:
    crm.put(*((i, "old", T0 - timedelta(days=i)) for i in range(1, 9)))
    found, pages = read(crm.adapter())
    assert len(found) == 8
    assert found["3"].updated_at == T0 - timedelta(days=3)
    crm.put((5, "new", T0 + timedelta(hours=1)))
    again, _ = read(crm.adapter(), pages[-1].cursor)
    assert again["5"].properties["name"] == "new"
    assert set(again) <= {"5", "1"}  # the newest of before lies in the overlap


def test_rows_that_share_the_last_second_are_all_seen_again(crm: Crm) -> None:
    crm.put(*((i, "a", T0) for i in range(1, 4)))
    _, pages = read(crm.adapter())
    crm.put(*((i, "b", T0) for i in range(4, 10)))
    again, _ = read(crm.adapter(overlap="1s"), pages[-1].cursor)
    assert set(again) >= {str(i) for i in range(4, 10)}


def test_a_thousand_rows_of_one_moment_are_read_once_each(crm: Crm) -> None:
    crm.put(*((i, "bulk", T0) for i in range(1, 1006)))
    pages = list(crm.adapter(page_size=200).pull(None))
    ids = [change.external_id for page in pages for change in page.changes if isinstance(change, ContactChange)]
    assert (len(ids), len(set(ids))) == (1005, 1005)


def test_a_time_that_is_cut_to_seconds_does_not_loop(crm: Crm) -> None:
    statement = "INSERT INTO customers (id, name, changed) VALUES (:id, 'x', :changed)"
    crm.run(statement, *({"id": i, "changed": f"2026-03-01 12:00:00.{i:06d}"} for i in range(1, 400)))
    cut = {"sqlite": "substr(changed, 1, 19)", "postgres": "date_trunc('second', changed)"}
    seconds = cut.get(crm.kind, "CAST(changed AS datetime)")
    query = f"SELECT id, name, mobile, {seconds} AS changed FROM customers"
    adapter = crm.adapter(table=None, query=query, key="id", page_size=100)
    found, pages = read(adapter)
    assert len(found) == 399
    assert len(read(adapter, pages[-1].cursor)[0]) == 399


def test_a_row_without_a_time_is_never_lost(crm: Crm) -> None:
    crm.put((1, "timeless", None), (2, "timed", T0))
    _, pages = read(crm.adapter())
    crm.put((3, "also timeless", None))
    again, _ = read(crm.adapter(), pages[-1].cursor)
    assert {"1", "3"} <= set(again)


def test_a_time_in_the_future_does_not_hide_what_comes(crm: Crm) -> None:
    crm.put((1, "from the future", datetime.now(UTC) + timedelta(days=400)))
    _, pages = read(crm.adapter())
    crm.put((2, "now", datetime.now(UTC)))
    assert "2" in read(crm.adapter(), pages[-1].cursor)[0]


def test_a_change_that_is_committed_late_is_seen_within_the_overlap(crm: Crm) -> None:
    if crm.kind == "sqlite":  # has one writer at a time
        return
    with crm.engine.connect() as slow:
        late = crm.stored(datetime.now(UTC) - timedelta(minutes=2))
        slow.execute(text("INSERT INTO customers (id, name, changed) VALUES (7, 'late', :at)"), {"at": late})
        crm.put((1, "early", datetime.now(UTC)))
        found, pages = read(crm.adapter())
        assert set(found) == {"1"}
        slow.commit()
    assert "7" in read(crm.adapter(), pages[-1].cursor)[0]


def test_a_row_that_changes_while_the_run_reads_is_seen_by_the_next(crm: Crm) -> None:
    crm.put(*((i, "old", T0) for i in range(1, 8)))
    pull = crm.adapter().pull(None)
    next(pull)
    crm.put((1, "changed meanwhile", T0 + timedelta(minutes=30)))
    last = list(pull)[-1]
    assert read(crm.adapter(), last.cursor)[0]["1"].properties["name"] == "changed meanwhile"


def test_a_crash_after_any_page_goes_on_from_its_cursor(crm: Crm) -> None:
    crm.put(*((i, "x", T0) for i in range(1, 12)))
    pages = list(crm.adapter().pull(None))
    for number, page in enumerate(pages[:-1]):
        before = {c.external_id for p in pages[: number + 1] for c in p.changes if isinstance(c, ContactChange)}
        rest, again = read(crm.adapter(), page.cursor)
        assert before | set(rest) == {str(i) for i in range(1, 12)}
        assert again[-1].cursor == pages[-1].cursor


def test_soft_deletes_are_told_and_taken_back(crm: Crm) -> None:
    crm.put((1, "x", T0), (2, "y", T0))
    adapter = crm.adapter(deleted="gone")
    assert adapter.removals is Removals.REPORTED
    _, pages = read(adapter)
    crm.run("UPDATE customers SET gone = 1 WHERE id = 2")
    assert read(adapter, pages[-1].cursor)[0]["2"].deleted
    crm.run("UPDATE customers SET gone = 0 WHERE id = 2")
    assert not read(adapter, pages[-1].cursor)[0]["2"].deleted


def test_removals_depend_on_the_options(crm: Crm) -> None:
    assert crm.adapter().removals is Removals.UNSEEN
    assert crm.adapter(updated_at=None).removals is Removals.ABSENT


def test_a_composite_key_pages_and_names_records(crm: Crm) -> None:
    crm.run("CREATE TABLE visits (shop VARCHAR(9), no INTEGER, mobile TEXT, PRIMARY KEY (shop, no))")
    rows = [{"s": shop, "n": n} for shop in ("a|b", "b\\", "ä", "B") for n in range(1, 6)]
    crm.run("INSERT INTO visits VALUES (:s, :n, 'x')", *rows)
    found, _ = read(crm.adapter(table="visits", updated_at=None, page_size=3))
    assert len(found) == 20
    assert "a\\|b|1" in found


def test_a_key_that_is_not_unique_is_refused_instead_of_losing_rows(crm: Crm) -> None:
    crm.put(*((i, "same", T0) for i in range(1, 8)))
    with pytest.raises(SourceInvalid, match="several rows with the key same"):
        read(crm.adapter(key="name"))


def test_rows_without_a_key_are_told(crm: Crm) -> None:
    crm.put((1, "x", T0), (2, "y", T0))
    crm.run("UPDATE customers SET email = 'x@example.org' WHERE id = 1")
    _, pages = read(crm.adapter(key="email"))
    (unkeyed,) = [c for page in pages for c in page.changes if isinstance(c, UnreadableRecord)]
    assert "no value in the key column" in unkeyed.reason


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"table": "custmers"}, SourceInvalid, "custmers"),
        ({"updated_at": "chnged"}, SourceInvalid, "did you mean changed"),
        ({"key": "idd"}, SourceInvalid, "idd"),
        ({"table": None, "query": "SELECT nothing FROM customers", "key": "id"}, SourceInvalid, "options"),
    ],
)
def test_what_the_database_does_not_have_is_named(crm: Crm, options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        read(crm.adapter(**options))


def test_a_missing_driver_server_or_credential_is_told_apart_and_keeps_the_secret() -> None:
    def failing(url: str) -> Exception:
        adapter = SqlAdapter(SqlOptions(url=url, table="t"), FieldMapping())  # type: ignore[arg-type]
        with pytest.raises(Exception) as caught:
            adapter.check()
        assert "hunter2" not in f"{caught.value} {adapter!r}"
        return caught.value

    assert isinstance(failing("oracle+oracledb://u:hunter2@127.0.0.1/x"), SourceInvalid)
    assert isinstance(failing("nonsense://u:hunter2@127.0.0.1/x"), SourceInvalid)
    assert isinstance(failing("postgresql+psycopg://u:hunter2@127.0.0.1:1/x"), SourceUnavailable)


@pytest.mark.postgres
def test_an_unknown_database_is_a_person_s_task() -> None:
    url = postgres_url().rsplit("/", 1)[0] + "/no_such_database"
    with pytest.raises((SourceInvalid, CredentialsRejected), match="does not exist"):
        SqlAdapter(SqlOptions(url=url, table="t"), FieldMapping()).check()  # type: ignore[arg-type]


def test_check_names_the_columns_and_a_missing_index(crm: Crm) -> None:
    crm.put((1, "x", T0))
    summary = crm.adapter().check().summary
    assert 'phone "mobile"' in summary
    assert "without an index" in summary
    crm.run("CREATE INDEX by_change ON customers (changed)")
    assert "without an index" not in crm.adapter().check().summary


def test_only_the_wanted_columns_are_read(crm: Crm) -> None:
    crm.put((1, "x", T0))
    found, _ = read(crm.adapter(columns=("mobile",)))
    assert set(found["1"].properties) == {"id", "mobile", "changed"}


def test_a_table_and_a_query_are_not_both_given() -> None:
    for options in ({}, {"table": "t", "query": "SELECT 1"}, {"query": "SELECT 1"}):
        with pytest.raises(ValueError, match=r"table or a query|needs key"):
            SqlOptions.model_validate({"url": "sqlite://", **options})


UTC_ZONE, NEW_YORK = ZoneInfo("UTC"), ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("value", "zone", "moment"),
    [
        (datetime(2026, 3, 1, 7, 0), NEW_YORK, T0),  # noqa: DTZ001 - as databases give them
        (T0, NEW_YORK, T0),
        ("2026-03-01 12:00:00", UTC_ZONE, T0),
        ("2026-03-01T12:00:00Z", UTC_ZONE, T0),
        ("2026-03-01T07:00:00-05:00", UTC_ZONE, T0),
        ("2026-03-01", UTC_ZONE, T0.replace(hour=0)),
        (1772366400, UTC_ZONE, T0),
        (1772366400000, UTC_ZONE, T0),
        ("soon", UTC_ZONE, None),
        (None, UTC_ZONE, None),
        (True, UTC_ZONE, None),
    ],
)
def test_moments_in_every_form(value: Any, zone: ZoneInfo, moment: datetime | None) -> None:
    assert parse_time(value, zone) == moment
    if moment is not None:
        assert format_time(moment, value, zone) == value or parse_time(format_time(moment, value, zone), zone) == moment
        assert parse_time(earlier(value, timedelta(hours=1), zone), zone) <= moment - timedelta(hours=1)  # type: ignore[operator]


@pytest.mark.parametrize("value", [1, "x", T0, T0.date(), uuid.uuid4(), b"\x01", None])
def test_a_cursor_gives_back_the_very_same_value(value: Any) -> None:
    import json

    assert thaw(json.loads(json.dumps(freeze(value)))) == value


def test_values_become_flat_json() -> None:
    assert to_json(float("nan")) is None
    assert to_json({"b": 1, "a": [2]}) == '{"a": [2], "b": 1}'
    assert to_json(b"\x01\x02") == "0102"
    assert to_json(b"x" * 99).startswith("99 bytes")
    assert external_id(("a|b", 1)) == "a\\|b|1"
    assert [is_true(v) for v in (1, "Y", T0, "0", "false", "", None, 0, b"\0")] == [True] * 3 + [False] * 6
