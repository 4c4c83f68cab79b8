"""Reads rows as records, one page per statement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import compress, islice
from operator import eq
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    false,
    func,
    or_,
    select,
)

from crm_adapters.base import (
    ContactChange,
    Cursor,
    Page,
    SourceInvalid,
    UnreadableRecord,
)
from crm_adapters.sql.datetimes import earlier, format_time, parse_time
from crm_adapters.sql.options import SqlOptions
from crm_adapters.sql.source import SqlSource, quoted_list
from crm_adapters.sql.values import external_id, freeze, is_true, thaw, to_json

UNKEYED_SHOWN = 100


@dataclass(frozen=True, slots=True)
class _Positions:
    """The positions of the key, the time of change and the deletion mark in a row."""

    key: tuple[int, ...]
    updated_at: int | None
    deleted: int | None


@dataclass
class SqlReader:
    """Reads the rows of a source as pages of records, in the order of the key."""

    source: SqlSource
    zone: ZoneInfo

    @property
    def _options(self) -> SqlOptions:
        return self.source.options

    def new_run(self, connection: Connection, cursor: Cursor | None) -> dict[str, Any]:
        """Return a run's lower bound (the watermark less the overlap) and the next watermark (the newest change)."""
        since = thaw(cursor["watermark"]) if cursor else None
        try:
            bound = None if since is None else earlier(since, self._options.overlap, self.zone)
        except ValueError as error:
            raise SourceInvalid(f"the column {self._options.updated_at} of {self.source.where}: {error}") from None
        newest = connection.execute(select(func.max(self.source.column(str(self._options.updated_at))))).scalar()
        return {"since": freeze(bound), "watermark": freeze(self._capped(connection, newest, since))}

    def _capped(self, connection: Connection, newest: Any, before: Any) -> Any:
        """Return the next watermark: the newest change, but never in the future; ``before`` if it is not a time."""
        moment = parse_time(newest, self.zone)
        if moment is None:
            return before
        now = parse_time(
            connection.execute(select(func.current_timestamp())).scalar(), ZoneInfo("UTC")
        ) or datetime.now(UTC)
        return format_time(now, newest, self.zone) if moment > now else newest

    def pages(
        self, connection: Connection, since: Any, last: list[Any] | None, run: Mapping[str, Any]
    ) -> Iterator[Page]:
        """Yield pages after the key ``last``, each with ``run`` and its last key as the cursor."""
        statement = self._statement(since)
        size = self._options.page_size
        while True:
            # Read one row more than a page: it shows if the next row has the same key as the last row of the page.
            rows = connection.execute(self._after(statement, last).limit(size + 1)).all()
            page = rows[:size]
            if not page:
                break
            keys = [tuple([row[position] for position in self._positions.key]) for row in rows]
            self._refuse_repeated(keys)
            if (key := list(keys[len(page) - 1])) == last:
                raise SourceInvalid(f"{self.source.where} returns the same rows again: its key cannot be compared")
            last = key
            frozen = {"last": [freeze(part) for part in key]}
            yield Page(self._changes(keys, page), {**run, **frozen})
            if len(rows) <= size:
                break
        yield from self._without_key(connection, since)

    def _statement(self, since: Any) -> Select[Any]:
        chosen = [self.source.rows.columns[name] for name in self.source.names]
        statement = select(*chosen).where(*(self.source.column(name).is_not(None) for name in self.source.key))
        if since is not None:
            statement = statement.where(self._changed_since(since))
        return statement.order_by(*(self.source.column(name) for name in self.source.key))

    def _changed_since(self, since: Any) -> ColumnElement[bool]:
        """Match rows changed at or after ``since``. A row without a time may have changed at any time."""
        changed = self.source.column(str(self._options.updated_at))
        return or_(changed >= since, changed.is_(None))

    def _after(self, statement: Select[Any], last: list[Any] | None) -> Select[Any]:
        if last is None:
            return statement
        columns = [self.source.column(name) for name in self.source.key]
        later: ColumnElement[bool] = false()
        for index, (one, value) in enumerate(zip(columns, last, strict=True)):
            same = [columns[n] == last[n] for n in range(index)]
            later = or_(later, and_(*same, one > value))
        return statement.where(later)

    def _refuse_repeated(self, keys: Sequence[tuple[Any, ...]]) -> None:
        again = next(compress(keys, map(eq, keys, islice(keys, 1, None))), None)
        if again is not None:
            raise SourceInvalid(
                f"{self.source.where} has several rows with the key {external_id(again)}; set key to columns "
                "whose values are all different, or rows would be lost"
            )

    def _changes(self, keys: Sequence[tuple[Any, ...]], page: Sequence[Sequence[Any]]) -> list[ContactChange]:
        """Turn rows into records. A million rows may pass here, so the loop makes few calls."""
        names, zone, source = self.source.names, self.zone, self._options.table or "query"
        updated_at, deleted = self._positions.updated_at, self._positions.deleted
        new = tuple.__new__  # creates a named tuple in half the time of a call
        changes = []
        for key, row in zip(keys, page, strict=False):
            identifier = external_id(key)
            properties = {
                name: value if type(value) is str and value.isascii() else to_json(value)
                for name, value in zip(names, row, strict=True)
            }
            changed = None if updated_at is None else parse_time(row[updated_at], zone)
            gone = deleted is not None and is_true(row[deleted])
            changes.append(new(ContactChange, (identifier, properties, changed, gone, None, f"{source} {identifier}")))
        return changes

    @cached_property
    def _positions(self) -> _Positions:
        o = self._options

        def position(name: str) -> int:
            return self.source.names.index(str(self.source.column(name).key))

        return _Positions(
            tuple(self.source.names.index(name) for name in self.source.key),
            position(o.updated_at) if o.updated_at else None,
            position(o.deleted) if o.deleted else None,
        )

    def _without_key(self, connection: Connection, since: Any) -> Iterator[Page]:
        """Yield rows without a key as unreadable, because nothing identifies them."""
        if isinstance(self.source.rows, Table) and all(
            one.primary_key for one in map(self.source.rows.c.get, self.source.key) if one is not None
        ):
            return
        unkeyed = or_(*(self.source.column(name).is_(None) for name in self.source.key))
        statement = select(*(self.source.rows.columns[name] for name in self.source.names)).where(unkeyed)
        if since is not None:
            statement = statement.where(self._changed_since(since))
        found = [self._unkeyed(row) for row in connection.execute(statement.limit(UNKEYED_SHOWN)).mappings()]
        if found:
            yield Page(found)

    def _unkeyed(self, row: Any) -> UnreadableRecord:
        values = ", ".join(f"{name}={to_json(row[name])}" for name in self.source.names if row[name] is not None)
        printable = "".join(character if character.isprintable() else "?" for character in values)
        return UnreadableRecord(
            f"without key: {printable[:100]}",
            f"It has no value in the key column {quoted_list(self.source.key)}; give it one",
            self.source.where,
            printable[:200],
        )
