"""The hooks of the conformance tests."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from crm_adapters.base import (
    Adapter,
    AdapterError,
    ContactChange,
    Cursor,
    Page,
)
from crm_adapters.testing.assertions import (
    changes_of,
    error_of,
    through_storage,
)
from crm_adapters.testing.samples import SampleContact, contact, contacts


class AdapterHooks(ABC):
    """The hooks that an adapter's test class fills in, and helpers of the tests."""

    repeats: ClassVar[bool] = False
    """Set to True if the CRM itself lists a record twice in one complete pull."""
    late_by: ClassVar[timedelta] = timedelta(seconds=2)
    """How long after its own time a change may be committed. The next pull must still see it."""

    @abstractmethod
    def make_source(self, folder: Path) -> Any:
        """Return an empty CRM. ``folder`` is an empty folder to use freely."""

    @abstractmethod
    def put(self, source: Any, contact: SampleContact) -> None:
        """Create the record, or overwrite the record with the same id."""

    def put_all(self, source: Any, contacts: Iterable[SampleContact]) -> None:
        """Create many records. Override it if one at a time is slow."""
        for one in contacts:
            self.put(source, one)

    def put_at(self, source: Any, contacts: Iterable[SampleContact], moment: datetime) -> None:  # noqa: ARG002 - see below
        """Create the records as changed at this moment. Override it if the CRM stores a time of change."""
        self.put_all(source, contacts)

    @abstractmethod
    def delete(self, source: Any, external_id: str) -> None:
        """Remove the record."""

    @abstractmethod
    def adapter(self, source: Any) -> Adapter:
        """Return a new adapter that reads this source."""

    @abstractmethod
    def break_source(self, source: Any) -> None:
        """Make every later reading fail: remove the file, stop the server, revoke the token."""

    def secrets(self, source: Any) -> tuple[str, ...]:  # noqa: ARG002 - for those that override it
        """Return the secrets in the adapter's options. They must never be shown."""
        return ()

    def names_of(self, source: Any) -> tuple[str, ...]:
        """Return the names of this source. Every error must contain one of them, in upper or lower case."""
        return (self.adapter(source).name,)

    def _many(self, adapter: Adapter) -> int:
        """Return the number of records that fill three pages and begin a fourth."""
        return 3 * adapter.page_size + 1

    @contextmanager
    def _filled(self, folder: Path, count: int | None = None) -> Iterator[tuple[Any, Adapter]]:
        source = self.make_source(folder)
        with self._open(source) as adapter:
            self.put_all(source, contacts(self._many(adapter) if count is None else count))
            yield source, adapter

    @contextmanager
    def _open(self, source: Any) -> Iterator[Adapter]:
        adapter = self.adapter(source)
        try:
            yield adapter
        finally:
            adapter.close()

    def _errors(self, source: Any) -> list[AdapterError]:
        """Return the error of each way to use the adapter after its source broke."""
        with self._open(source) as adapter:
            self.break_source(source)
            return [error_of(adapter.check), error_of(lambda: list(adapter.pull(None)))]

    def _assert_seen_after(self, source: Any, cursor: Cursor | None, moment: datetime, what: str) -> None:
        new = contact(7)
        self.put_at(source, [new], moment)
        seen = {change.external_id for change in self._pull(source, cursor)}
        assert new.external_id in seen, f"{what} is lost"

    def _first_page(self, source: Any, cursor: Cursor | None) -> tuple[list[ContactChange], Cursor | None]:
        """Return the first page of a run and its cursor. Pages without a cursor cannot end a run: return all."""
        with self._open(source) as adapter:
            pages = adapter.pull(through_storage(cursor))
            first = next(pages, Page((), cursor))
            if first.cursor is None:
                return list(changes_of(chain([first], pages))), None
            return list(changes_of([first])), first.cursor

    def _pull(self, source: Any, cursor: Cursor | None) -> list[ContactChange]:
        """Return all changes after a stored cursor, read by a new adapter."""
        with self._open(source) as adapter:
            return list(changes_of(adapter.pull(through_storage(cursor))))
