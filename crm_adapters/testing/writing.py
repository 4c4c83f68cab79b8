"""Tests of what an adapter promises when it writes to its CRM."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from crm_adapters.base import AdapterError, CrmMessage, RecordGone, WritesMessages
from crm_adapters.testing.assertions import assert_for_people, changes_of, error_of, short_list
from crm_adapters.testing.clock import short_waits
from crm_adapters.testing.hooks import SPEAKS_HTTP, AdapterHooks
from crm_adapters.testing.proxy import LOSES, faults
from crm_adapters.testing.samples import LOGGED_TEXTS, crm_message


class WritesConformance(AdapterHooks):
    """The tests of an adapter that is a ``WritesMessages``. Inherit it beside ``AdapterConformance``."""

    flag: ClassVar[str] = "do_not_text"
    """A field that opt-outs can be written to."""
    deletes: ClassVar[bool] = True
    """True if ``delete`` removes the record, False if it only marks it."""

    @abstractmethod
    def logged(self, source: Any, external_id: str) -> list[CrmMessage]:
        """Return the texts in the record's history, in any order, with times that have a zone."""

    @abstractmethod
    def do_not_text(self, source: Any, external_id: str) -> bool | None:
        """Return the value of the record's field ``flag``; None if it was never written."""

    def test_a_text_is_logged_as_it_is(self, tmp_path: Path) -> None:
        """Every part of a text is logged to the right record, in both directions, whatever its content."""
        with self._filled(tmp_path, 2) as crm:
            record, other = (one.external_id for one in crm.people)
            texts = [crm_message(number, text, "out") for number, text in enumerate(LOGGED_TEXTS)]
            texts.append(crm_message(len(texts), "an answer", "in"))
            for one in texts:
                _writes(crm.adapter).log_message(record, one)
            found = {one.id: one for one in self.logged(crm.source, record)}
            for one in texts:
                assert one.id in found, f"the text {one.text[:40]!r} was not logged"
                assert found[one.id] == one, f"{found[one.id]} was logged instead of {one}"
            assert self.logged(crm.source, other) == [], "a text is in another record's history"

    def test_a_text_is_logged_once(self, tmp_path: Path) -> None:
        """A text that is written again, by the same adapter or another one, is logged once."""
        with self._filled(tmp_path, 1) as crm:
            record = crm.people[0].external_id
            for number in (1, 2, 1):
                _writes(crm.adapter).log_message(record, crm_message(number))
            with self._open(crm.source) as another:
                _writes(another).log_message(record, crm_message(1))
            self._assert_logged(crm.source, record, [1, 2])

    @SPEAKS_HTTP
    def test_a_write_whose_answer_is_lost_is_repeated_safely(self, tmp_path: Path) -> None:
        """The CRM writes and its answer is lost, at any request: after a repeat, the text is there once."""
        with self._filled(tmp_path, 1) as crm:
            record, proxy = crm.people[0].external_id, self._proxy(crm.source)
            before = len(proxy.requests)
            _writes(crm.adapter).log_message(record, crm_message(0))
            for number in range(len(proxy.requests) - before):
                text = crm_message(number + 1)
                proxy.fail(LOSES, after=number, times=1)
                with short_waits():
                    try:
                        _writes(crm.adapter).log_message(record, text)
                    except AdapterError:
                        with self._open(crm.source) as another:
                            _writes(another).log_message(record, text)
                proxy.repair()
                self._assert_logged(crm.source, record, list(range(number + 2)))

    def _assert_logged(self, source: Any, record: str, numbers: list[int]) -> None:
        ids = sorted(one.id for one in self.logged(source, record))
        assert ids == [crm_message(number).id for number in numbers], f"these were logged: {', '.join(ids) or 'none'}"

    def test_opt_outs_are_written_and_taken_back(self, tmp_path: Path) -> None:
        """An opt-out is written and taken back, also repeatedly, and changes one record only."""
        with self._filled(tmp_path, 2) as crm:
            record, beside = (one.external_id for one in crm.people)
            other = self.do_not_text(crm.source, beside)
            for value in (True, True, False, False, True):
                _writes(crm.adapter).set_do_not_text(record, self.flag, value)
                found = self.do_not_text(crm.source, record)
                assert found is value, f"after writing {value} the field is {found}"
            assert self.do_not_text(crm.source, beside) == other, "another record was changed"

    def test_opt_outs_are_read_back(self, tmp_path: Path) -> None:
        """The next pull reads what was written: one value for yes, another for no."""
        with self._filled(tmp_path, 1) as crm:
            read = []
            for value in (True, False):
                _writes(crm.adapter).set_do_not_text(crm.people[0].external_id, self.flag, value)
                (change,) = changes_of(crm.adapter.pull(None))
                assert self.flag in change.properties, f"{self.flag} is not among {short_list(change.properties)}"
                read.append(change.properties[self.flag])
            assert read[0] != read[1], f"{self.flag} is {read[0]!r} after writing True and after writing False"

    def test_a_record_that_is_not_there_is_gone(self, tmp_path: Path) -> None:
        """A record that was deleted or never existed is named in the error, and nothing is written."""
        with self._filled(tmp_path, 2) as crm:
            deleted = crm.people[1].external_id
            self.delete(crm.source, deleted)
            for external_id in ("no-such-record", deleted) if self.deletes else ("no-such-record",):
                for write in self._write_calls(crm.adapter, external_id).values():
                    _assert_gone(external_id, write)
                assert self.logged(crm.source, external_id) == [], f"a text was logged for {external_id}"

    def test_writing_to_a_broken_source_is_an_adapter_error(self, tmp_path: Path) -> None:
        """A write to a broken source raises an error that says whether to try again, and holds no secrets."""
        with self._filled(tmp_path, 1) as crm, short_waits():
            self.break_source(crm.source)
            for write in self._write_calls(crm.adapter, crm.people[0].external_id).values():
                assert_for_people(error_of(write), self.names_of(crm.source), self.secrets(crm.source))

    @SPEAKS_HTTP
    def test_each_failure_of_a_write_is_told(self, tmp_path: Path) -> None:
        """However the CRM fails, a write raises the error that fits, and shows no secret."""
        with self._filled(tmp_path, 1) as crm, short_waits():
            secrets = self.secrets(crm.source)
            for what, write in self._write_calls(crm.adapter, crm.people[0].external_id).items():
                for fault in faults(secrets):
                    if fault.status == 200 and fault.how == "answer":
                        continue  # an odd answer to a write: it may have been done
                    self._proxy(crm.source).fail(fault)
                    try:
                        error = error_of(write)
                        assert isinstance(error, fault.means), f"it raises {error!r}"
                        assert_for_people(error, self.names_of(crm.source), secrets)
                    except AssertionError as complaint:
                        raise AssertionError(f"when the CRM {fault.name}, {what}: {complaint}") from complaint
                    finally:
                        self._proxy(crm.source).repair()

    def _write_calls(self, adapter: Any, external_id: str) -> dict[str, Callable[[], None]]:
        """Return each way to write to a record, by name."""
        return {
            "log_message": lambda: _writes(adapter).log_message(external_id, crm_message(77)),
            "set_do_not_text": lambda: _writes(adapter).set_do_not_text(external_id, self.flag, True),
        }


def _writes(adapter: Any) -> WritesMessages:
    assert isinstance(adapter, WritesMessages), "the adapter class must also inherit WritesMessages"
    return adapter


def _assert_gone(external_id: str, write: Any) -> None:
    error = error_of(write)
    assert isinstance(error, RecordGone), f"writing to {external_id} raises {error!r}, not RecordGone"
    assert external_id in str(error), f"the error does not name the record: {str(error)!r}"
