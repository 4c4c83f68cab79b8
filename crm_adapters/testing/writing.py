"""Tests of what an adapter promises when it writes to its CRM."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from crm_adapters.base import (
    AdapterError,
    CrmMessage,
    RecordGone,
    WritesMessages,
)
from crm_adapters.testing.assertions import error_of
from crm_adapters.testing.samples import LOGGED_TEXTS, crm_message


class WritesConformance(ABC):
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

    def test_a_text_is_logged_as_it_is(self: Any, tmp_path: Path) -> None:
        """Every part of a text is logged to the right record, in both directions, whatever its content."""
        with self._filled(tmp_path, 2) as (source, adapter):
            texts = [crm_message(number, text, "out") for number, text in enumerate(LOGGED_TEXTS)]
            texts.append(crm_message(len(texts), "an answer", "in"))
            for one in texts:
                _writes(adapter).log_message("1000", one)
            found = {one.id: one for one in self.logged(source, "1000")}
            for one in texts:
                assert one.id in found, f"the text {one.text[:40]!r} was not logged"
                assert found[one.id] == one, f"{found[one.id]} was logged instead of {one}"
            assert self.logged(source, "1001") == [], "a text is in another record's history"

    def test_a_text_is_logged_once(self: Any, tmp_path: Path) -> None:
        """The response may have been lost: the same adapter, or another one, writes the text again."""
        with self._filled(tmp_path, 1) as (source, adapter):
            for number in (1, 2, 1):
                _writes(adapter).log_message("1000", crm_message(number))
            with self._open(source) as another:
                _writes(another).log_message("1000", crm_message(1))
            ids = sorted(one.id for one in self.logged(source, "1000"))
            assert ids == ["m00000001", "m00000002"], f"these were logged: {', '.join(ids) or 'none'}"

    def test_several_adapters_log_a_text_once(self: Any, tmp_path: Path) -> None:
        """Two workers may write the same text at the same moment."""
        with self._filled(tmp_path, 1) as (source, _adapter):

            def log(_number: int) -> None:
                with self._open(source) as adapter:
                    _writes(adapter).log_message("1000", crm_message(1))

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(log, range(4)))
            count = len(self.logged(source, "1000"))
            assert count == 1, f"four writers at the same time logged it {count} times"

    def test_opt_outs_are_written_and_taken_back(self: Any, tmp_path: Path) -> None:
        """Each write may be repeated, and changes one record only."""
        with self._filled(tmp_path, 2) as (source, adapter):
            other = self.do_not_text(source, "1001")
            for value in (True, True, False, False, True):
                _writes(adapter).set_do_not_text("1000", self.flag, value)
                found = self.do_not_text(source, "1000")
                assert found is value, f"after writing {value} the field is {found}"
            assert self.do_not_text(source, "1001") == other, "another record was changed"

    def test_a_record_that_is_not_there_is_gone(self: Any, tmp_path: Path) -> None:
        """A record that was deleted or never existed is named in the error, and nothing is written."""
        with self._filled(tmp_path, 2) as (source, adapter):
            self.delete(source, "1001")
            for external_id in ("no-such-record", "1001") if self.deletes else ("no-such-record",):
                _assert_gone(external_id, lambda key=external_id: _writes(adapter).log_message(key, crm_message()))
                _assert_gone(
                    external_id, lambda key=external_id: _writes(adapter).set_do_not_text(key, self.flag, True)
                )
                assert self.logged(source, external_id) == [], f"a text was logged for {external_id}"

    def test_writing_to_a_broken_source_is_an_adapter_error(self: Any, tmp_path: Path) -> None:
        """The error tells the worker whether to try again, and holds no secrets."""
        with self._filled(tmp_path, 1) as (source, adapter):
            self.break_source(source)
            errors = [
                error_of(lambda: _writes(adapter).log_message("1000", crm_message())),
                error_of(lambda: _writes(adapter).set_do_not_text("1000", self.flag, True)),
            ]
            for error in errors:
                assert type(error) is not AdapterError, "raise the subclass that says what should be done"
                shown = "".join(traceback.format_exception(error))
                for secret in self.secrets(source):
                    assert secret not in shown, "a secret can be read in the error of a write"


def _writes(adapter: Any) -> WritesMessages:
    assert isinstance(adapter, WritesMessages), "the adapter class must also inherit WritesMessages"
    return adapter


def _assert_gone(external_id: str, write: Any) -> None:
    error = error_of(write)
    assert isinstance(error, RecordGone), f"writing to {external_id} raises {error!r}, not RecordGone"
    assert external_id in str(error), f"the error does not name the record: {str(error)!r}"
