"""The SQL adapter writes texts and opt-outs: once, to the right row, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from config.fields import FieldMapping
from crm_adapters.base import CrmMessage, RecordGone, SourceInvalid, SourceUnavailable
from crm_adapters.sql.adapter import SqlAdapter
from crm_adapters.sql.options import SqlOptions
from tests.services import postgres_url

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)


def message(id_: str = "m1", words: str = "Hi") -> CrmMessage:
    return CrmMessage(id_, "in", AT, words, ("https://a.example/1.png",), "+14155550101", "+14155550100")


class Crm:
    def __init__(self, url: str, engine: Engine) -> None:
        self.url, self.engine = url, engine

    def run(self, statement: str) -> list[Any]:
        with self.engine.begin() as connection:
            found = connection.execute(text(statement))
            return [tuple(row) for row in found] if found.returns_rows else []

    def adapter(self, **options: Any) -> SqlAdapter:
        given = {"url": self.url, "table": "people_w", "log_table": "texts_w"} | options
        return SqlAdapter(SqlOptions(**given), FieldMapping())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def crm(request: pytest.FixtureRequest, tmp_path: Path, worker_id: str) -> Iterator[Crm]:
    url = f"sqlite:///{tmp_path / 'crm.sqlite3'}" if request.param == "sqlite" else postgres_url()
    admin = create_engine(url)
    if request.param == "postgres":
        schema = f"write_{worker_id}"
        with admin.begin() as connection:
            connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        url += f"{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"
    made = Crm(url, create_engine(url))
    made.run("CREATE TABLE people_w (id INTEGER PRIMARY KEY, mobile TEXT, dnt TEXT, stop INTEGER, no_sms BOOLEAN)")
    made.run("INSERT INTO people_w (id, mobile) VALUES (1, '+14155550101'), (2, '')")
    made.run(
        "CREATE TABLE texts_w (message_id TEXT PRIMARY KEY, record_id INTEGER, direction TEXT, sent_at TIMESTAMP,"
        " text TEXT, media TEXT, from_number TEXT, to_number TEXT)"
    )
    yield made
    made.engine.dispose()
    if request.param == "postgres":
        with admin.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


@pytest.mark.parametrize("words", ["Hi", "👋 ''; DROP TABLE texts_w; --", "x" * 1600, "", "line\nline", "nul\x00"])
def test_a_text_is_logged_once(crm: Crm, words: str) -> None:
    adapter = crm.adapter()
    for _ in range(3):
        adapter.log_message("1", message(words=words))
    rows = crm.run("SELECT message_id, record_id, direction, text, media, from_number, to_number FROM texts_w")
    assert rows == [
        ("m1", 1, "in", words.replace("\x00", ""), '["https://a.example/1.png"]', "+14155550101", "+14155550100")
    ]
    adapter.log_message("1", message("m2"))
    assert crm.run("SELECT count(*) FROM texts_w") == [(2,)]


@pytest.mark.parametrize(
    ("kind", "sqlite", "postgres"),
    [
        ("TEXT", "2026-03-01T10:00:00+00:00", "2026-03-01T10:00:00+00:00"),
        ("TIMESTAMP", "2026-03-01 05:00:00.000000", datetime(2026, 3, 1, 5)),  # noqa: DTZ001 - the column has no zone
        ("TIMESTAMPTZ", "2026-03-01T10:00:00+00:00", AT),
    ],
)
def test_a_time_is_written_as_the_column_keeps_it(crm: Crm, kind: str, sqlite: Any, postgres: Any) -> None:
    crm.run("DROP TABLE texts_w")
    crm.run(
        f"CREATE TABLE texts_w (message_id TEXT PRIMARY KEY, record_id INTEGER, direction TEXT, sent_at {kind},"
        " text TEXT, media TEXT, from_number TEXT, to_number TEXT)"
    )
    crm.adapter(timezone="America/New_York").log_message("1", message())
    stored = sqlite if crm.url.startswith("sqlite") else postgres
    assert crm.run("SELECT sent_at FROM texts_w") == [(stored,)]


@pytest.mark.parametrize(("field", "yes", "no"), [("dnt", "yes", "no"), ("stop", 1, 0), ("No_SMS", True, False)])
def test_an_opt_out_is_written_as_the_column_has_it(crm: Crm, field: str, yes: Any, no: Any) -> None:
    adapter = crm.adapter()
    for value, stored in ((True, yes), (True, yes), (False, no)):
        adapter.set_do_not_text("1", field, value)
        assert crm.run(f"SELECT {field} FROM people_w ORDER BY id") == [(stored,), (None,)]


@pytest.mark.parametrize("external_id", ["99", "none", "1; DROP TABLE people_w"])
def test_a_record_that_is_not_there_is_named(crm: Crm, external_id: str) -> None:
    with pytest.raises(RecordGone, match="no record"):
        crm.adapter().log_message(external_id, message())
    with pytest.raises(RecordGone, match="no record"):
        crm.adapter().set_do_not_text(external_id, "dnt", True)
    assert crm.run("SELECT count(*) FROM texts_w") == [(0,)]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"log_table": None}, "log_table"),
        ({"log_table": "nowhere"}, "nowhere"),
        ({"log_table": "people_w"}, "message_id"),
        ({"log_columns": {"text": "body"}}, '"body"'),
        ({"log_columns": {"message_id": "direction"}}, "not unique"),
        ({"table": None, "query": "SELECT * FROM people_w", "key": "id"}, "query"),
        ({"key": ("id", "mobile")}, "several columns"),
    ],
)
def test_what_cannot_be_written_to_says_why(crm: Crm, options: dict[str, Any], word: str) -> None:
    with pytest.raises(SourceInvalid, match=word):
        crm.adapter(**options).log_message("1", message())
    if "log_table" in options and options["log_table"] is None:
        return
    with pytest.raises(SourceInvalid, match=word):  # `vtsync check` says so before the first text
        crm.adapter(**options).check()


def test_what_can_be_written_to_is_said(crm: Crm) -> None:
    assert 'texts go to "texts_w"' in crm.adapter().check().summary


def test_a_column_that_is_not_there_is_named(crm: Crm) -> None:
    with pytest.raises(SourceInvalid, match="dnd"):
        crm.adapter().set_do_not_text("1", "dnd", True)


def test_a_database_that_is_away_can_be_tried_again() -> None:
    away = SqlAdapter(SqlOptions(url="postgresql+psycopg://u:hush@127.0.0.1:1/x", table="t"), FieldMapping())  # type: ignore[arg-type]
    with pytest.raises(SourceUnavailable) as error:
        away.log_message("1", message())
    assert "hush" not in str(error.value)
