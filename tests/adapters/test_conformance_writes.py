"""Adapters that write keep the promises of writing, and the kit notices those that do not."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from config.fields import FieldMapping
from crm_adapters.base import Adapter, CrmMessage, RecordGone, SourceUnavailable, WritesMessages
from crm_adapters.sql.adapter import SqlAdapter
from crm_adapters.sql.options import SqlOptions
from crm_adapters.testing import AdapterConformance, SampleContact, WritesConformance
from tests.adapters import test_testing_kit as reading

TESTS = sorted(name for name in vars(WritesConformance) if name.startswith("test_"))


class TestSqlWrites(WritesConformance):
    """A table, and beside it a log with column names of its own."""

    flag = "no_sms"

    def logged(self, source: Path, external_id: str) -> list[CrmMessage]:
        with sqlite3.connect(source) as db:
            rows = db.execute(
                "SELECT mid, direction, sent_at, body, media, from_number, to_number FROM texts WHERE person = ?",
                (external_id,),
            ).fetchall()
        db.close()
        return [
            CrmMessage(id_, way, datetime.fromisoformat(at), text, tuple(json.loads(media)), sender, to)
            for id_, way, at, text, media, sender, to in rows
        ]

    def do_not_text(self, source: Path, external_id: str) -> bool | None:
        with sqlite3.connect(source) as db:
            ((value,),) = db.execute("SELECT no_sms FROM people WHERE id = ?", (external_id,)).fetchall()
        db.close()
        return None if value is None else bool(value)

    def delete(self, source: Path, external_id: str) -> None:
        with sqlite3.connect(source) as db:
            db.execute("DELETE FROM people WHERE id = ?", (external_id,))
        db.close()

    def break_source(self, source: Path) -> None:
        with sqlite3.connect(source) as db:
            db.execute("DROP TABLE people")
        db.close()

    def secrets(self, source: Path) -> tuple[str, ...]:
        return ()

    def adapter(self, source: Path) -> SqlAdapter:
        names = {"message_id": "mid", "record_id": "person", "text": "body"}
        options = {"url": f"sqlite:///{source}", "table": "people", "log_table": "texts", "log_columns": names}
        return SqlAdapter(SqlOptions.model_validate(options), FieldMapping())

    def make_source(self, folder: Path) -> Path:
        path = folder / "crm.sqlite3"
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE people (id TEXT PRIMARY KEY, phone TEXT, name TEXT, no_sms INTEGER)")
            db.execute(
                "CREATE TABLE texts (mid TEXT UNIQUE, person TEXT, direction TEXT, sent_at TEXT, body TEXT,"
                " media TEXT, from_number TEXT, to_number TEXT)"
            )
        db.close()
        return path

    def put_all(self, source: Path, contacts: Any) -> None:
        with sqlite3.connect(source) as db:
            db.executemany(
                "INSERT INTO people (id, phone, name) VALUES (?, ?, ?)",
                [(one.external_id, one.phone, one.full_name) for one in contacts],
            )
        db.close()

    _filled = AdapterConformance._filled
    _open = AdapterConformance._open


@dataclass
class Book(reading.Crm):
    """A CRM in memory that keeps texts, too."""

    texts: list[tuple[str, CrmMessage]] = field(default_factory=list)
    flags: dict[str, bool] = field(default_factory=dict)


class Writer(reading.Good, WritesMessages):
    """Keeps all promises."""

    crm: Book

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        self.present(external_id)
        if message.id not in {known.id for _record, known in self.crm.texts}:
            self.crm.texts.append((external_id, message))

    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        self.present(external_id)
        self.crm.flags[external_id] = value

    def present(self, external_id: str) -> None:
        if self.crm.down:
            raise SourceUnavailable("the crm is down; it is tried again")
        if self.crm.records.get(external_id, (0, None))[1] is None:
            raise RecordGone(f"the crm has no record {external_id} any more")


class LogsTwice(Writer):
    def log_message(self, external_id: str, message: CrmMessage) -> None:
        self.present(external_id)
        self.crm.texts.append((external_id, message))


class CutsLongTexts(Writer):
    def log_message(self, external_id: str, message: CrmMessage) -> None:
        super().log_message(external_id, replace(message, text=message.text[:160]))


class ForgetsOptIns(Writer):
    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        super().set_do_not_text(external_id, field, value or external_id in self.crm.flags)


class WritesToNobody(Writer):
    def present(self, external_id: str) -> None:
        if external_id in self.crm.records:
            super().present(external_id)


class LetsForeignErrorsThrough(Writer):
    def present(self, external_id: str) -> None:
        if self.crm.down:
            raise ConnectionError("the socket is closed")
        super().present(external_id)


class OnlyReads(reading.Good):
    pass


def kit(adapter: type[reading.Good]) -> Any:
    class Kit(AdapterConformance, WritesConformance):
        def make_source(self, folder: Path) -> Book:
            return Book()

        def put(self, source: Book, contact: SampleContact) -> None:
            source.write(contact.external_id, contact)

        def delete(self, source: Book, external_id: str) -> None:
            source.write(external_id, None)

        def adapter(self, source: Book) -> Adapter:
            return adapter(source)

        def break_source(self, source: Book) -> None:
            source.down = True

        def logged(self, source: Book, external_id: str) -> list[CrmMessage]:
            return [text for record, text in source.texts if record == external_id]

        def do_not_text(self, source: Book, external_id: str) -> bool | None:
            return source.flags.get(external_id)

    return Kit()


@pytest.mark.parametrize("test", TESTS)
def test_a_good_writer_passes(test: str, tmp_path: Path) -> None:
    getattr(kit(Writer), test)(tmp_path)


CAUGHT: list[tuple[type[reading.Good], str, str]] = [
    (CutsLongTexts, "test_a_text_is_logged_as_it_is", "was logged instead of"),
    (OnlyReads, "test_a_text_is_logged_as_it_is", "must also inherit WritesMessages"),
    (LogsTwice, "test_a_text_is_logged_once", "these were logged: m00000001, m00000001"),
    (LogsTwice, "test_several_adapters_log_a_text_once", "logged it 4 times"),
    (ForgetsOptIns, "test_opt_outs_are_written_and_taken_back", "after writing False the field is True"),
    (WritesToNobody, "test_a_record_that_is_not_there_is_gone", "raises nothing"),
    (LetsForeignErrorsThrough, "test_writing_to_a_broken_source_is_an_adapter_error", "is not an AdapterError"),
]


@pytest.mark.parametrize(("broken", "test", "complaint"), CAUGHT)
def test_a_broken_writer_is_caught(broken: type[reading.Good], test: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=complaint):
        getattr(kit(broken), test)(tmp_path)


def test_every_test_of_the_kit_can_fail() -> None:
    assert {test for _broken, test, _complaint in CAUGHT} == set(TESTS)
