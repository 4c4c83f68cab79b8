"""The SQL adapter keeps the promises that every adapter makes: with a time of change, and without."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from config.fields import FieldMapping
from crm_adapters.base import CrmMessage
from crm_adapters.sql.adapter import SqlAdapter
from crm_adapters.sql.options import SqlOptions
from crm_adapters.testing import AdapterConformance, SampleContact, WritesConformance
from crm_adapters.testing.samples import contacts, crm_message


@contextmanager
def opened(source: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(source)) as db, db:
        yield db


class SmallPages(SqlAdapter):
    """Four pages of it are written and read in no time."""

    page_size = 50


class TestSqlByTime(AdapterConformance, WritesConformance):
    """A table with the time of change and a soft-delete column, and beside it a log with column names of its own."""

    flag = "no_sms"
    options: dict[str, Any] = {"updated_at": "at", "deleted": "gone"}
    late_by = timedelta(minutes=4)
    deletes = False
    large = 50_000

    def make_source(self, folder: Path) -> Path:
        path = folder / "crm.sqlite3"
        with opened(path) as db:
            db.execute(
                "CREATE TABLE people (id TEXT PRIMARY KEY, phone TEXT, name TEXT, email TEXT, no_sms INTEGER, at TEXT,"
                " gone INTEGER DEFAULT 0)"
            )
            db.execute(
                "CREATE TABLE texts (mid TEXT UNIQUE, person TEXT, direction TEXT, sent_at TEXT, body TEXT, media TEXT,"
                " from_number TEXT, to_number TEXT)"
            )
        return path

    def make_large_source(self, folder: Path, count: int) -> Path:
        path = self.make_source(folder)
        self.put_all(path, contacts(count))
        return path

    def put(self, source: Path, contact: SampleContact) -> str:
        return self.put_all(source, [contact])[0]

    def put_all(self, source: Path, contacts: Iterable[SampleContact]) -> list[str]:
        return self.put_at(source, contacts, datetime.now(UTC))

    def put_at(self, source: Path, contacts: Iterable[SampleContact], moment: datetime) -> list[str]:
        at = moment.strftime("%Y-%m-%d %H:%M:%S.%f")
        rows = [(one.external_id, one.phone, one.full_name, one.email, at) for one in contacts]
        with opened(source) as db:
            db.executemany("INSERT OR REPLACE INTO people (id, phone, name, email, at) VALUES (?, ?, ?, ?, ?)", rows)
        return [row[0] for row in rows]

    def delete(self, source: Path, external_id: str) -> None:
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        with opened(source) as db:
            db.execute("UPDATE people SET gone = 1, at = ? WHERE id = ?", (at, external_id))

    def adapter(self, source: Path) -> SqlAdapter:
        names = {"message_id": "mid", "record_id": "person", "text": "body"}
        log = {"log_table": "texts", "log_columns": names}
        options = {"url": f"sqlite:///{source}", "table": "people", "page_size": 50, **log, **self.options}
        return SmallPages(SqlOptions.model_validate(options), FieldMapping())

    def break_source(self, source: Path) -> None:
        with opened(source) as db:
            db.execute("DROP TABLE people")

    def names_of(self, source: Path) -> tuple[str, ...]:
        return ("people",)

    def logged(self, source: Path, external_id: str) -> list[CrmMessage]:
        query = "SELECT mid, direction, sent_at, body, media, from_number, to_number FROM texts WHERE person = ?"
        with opened(source) as db:
            rows = db.execute(query, (external_id,)).fetchall()
        return [
            CrmMessage(id_, way, datetime.fromisoformat(at), text, tuple(json.loads(media)), sender, to)
            for id_, way, at, text, media, sender, to in rows
        ]

    def do_not_text(self, source: Path, external_id: str) -> bool | None:
        with opened(source) as db:
            ((value,),) = db.execute("SELECT no_sms FROM people WHERE id = ?", (external_id,)).fetchall()
        return None if value is None else bool(value)

    def test_several_adapters_log_a_text_once(self, tmp_path: Path) -> None:
        """More than the kit asks for: four workers write the same text at the same moment."""
        with self._filled(tmp_path, 1) as crm:
            record = crm.people[0].external_id

            def log(_number: int) -> None:
                with self._open(crm.source) as adapter:
                    assert isinstance(adapter, SqlAdapter)
                    adapter.log_message(record, crm_message(1))

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(log, range(4)))
            assert len(self.logged(crm.source, record)) == 1


class TestSqlWholeTable(TestSqlByTime):
    """The same without a time of change: every run reads every row, and a row that is gone is deleted."""

    options: dict[str, Any] = {}
    deletes = True
    put_at = AdapterConformance.put_at
    make_large_source = AdapterConformance.make_large_source

    def put_all(self, source: Path, contacts: Iterable[SampleContact]) -> list[str]:
        return TestSqlByTime.put_at(self, source, contacts, datetime.now(UTC))

    def delete(self, source: Path, external_id: str) -> None:
        with opened(source) as db:
            db.execute("DELETE FROM people WHERE id = ?", (external_id,))


class TestSqlByTimeWithoutDeletions(TestSqlByTime):
    """With a time of change and real deletions, which the table cannot report."""

    options: dict[str, Any] = {"updated_at": "at"}
    deletes = True
    delete = TestSqlWholeTable.delete
    make_large_source = AdapterConformance.make_large_source
