"""Reads rows as records, one page per statement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    func,
    or_,
    select,
)

from crm_adapters.base import (
    CONTACT,
    ContactChange,
    Cursor,
    Page,
    SourceInvalid,
    UnreadableRecord,
)
from crm_adapters.clock import current_time
from crm_adapters.sql.columns import as_compared, as_stored
from crm_adapters.sql.datetimes import before_all_times, earlier, format_time, parse_time
from crm_adapters.sql.drivers import BeyondTime
from crm_adapters.sql.notes import DroppedValues
from crm_adapters.sql.options import SqlOptions
from crm_adapters.sql.paging import KeyedRow, KeyedRows, UnreadRow
from crm_adapters.sql.source import SqlSource, quoted_list
from crm_adapters.sql.values import freeze, is_true, thaw, to_json

UNKEYED_SHOWN = 100
IDS_PER_STATEMENT = 10_000


@dataclass(frozen=True, slots=True)
class _Positions:
    """The positions of the time of change and the deletion mark among the columns that are read."""

    updated_at: int | None
    deleted: int | None


@dataclass
class SqlReader:
    """Reads the rows of a source as pages of records, in the order of the key."""

    source: SqlSource
    zone: ZoneInfo
    dropped: DroppedValues
    rows: KeyedRows

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
        return {"since": freeze(bound), "watermark": freeze(self._next_watermark(connection, since))}

    def newest_change(self, connection: Connection) -> Any:
        """Return the newest time of change that is a time, as stored, or else the largest value of its column."""
        changed = as_stored(self.source.column(str(self._options.updated_at)))
        newest = self.rows.value(connection, select(func.max(changed)))
        if newest is None or parse_time(newest, self.zone) is not None:
            return newest
        # Something that is no time comes last: infinity, or a text such as "soon". In SQLite all texts follow numbers.
        for end in (datetime(9999, 1, 1, tzinfo=UTC),) if isinstance(newest, BeyondTime) else ("9999-", ""):
            before = self.rows.value(connection, select(func.max(changed)).where(changed < end))
            if parse_time(before, self.zone) is not None:
                return before
        return newest

    def _next_watermark(self, connection: Connection, before: Any) -> Any:
        """Return the newest change, but never a time in the future; ``before`` if it is not a time."""
        newest = self.newest_change(connection)
        moment = parse_time(newest, self.zone)
        if moment is None:
            if newest is not None:
                self.dropped.say(
                    f'the largest value in "{self._options.updated_at}" of {self.source.where} is no time'
                    f" ({newest!s:.40}), so runs read more rows than they need to; correct it, or set updated_at to"
                    " another column"
                )
            return before
        now = self._now(connection)
        return format_time(now, newest, self.zone) if moment > now else newest

    def _now(self, connection: Connection) -> datetime:
        """Return the database's time, by which it sets times of change."""
        mysql = connection.dialect.name in ("mysql", "mariadb")  # its CURRENT_TIMESTAMP is a local time
        now = func.utc_timestamp() if mysql else func.current_timestamp()
        return parse_time(connection.execute(select(now)).scalar(), ZoneInfo("UTC")) or current_time()

    def pages(
        self, connection: Connection, since: Any, last: list[Any] | None, run: Mapping[str, Any]
    ) -> Iterator[Page]:
        """Yield pages after the key ``last``, each with ``run`` and its last key as the cursor."""
        where = [] if since is None else [self._changed_since(since)]
        names, size = self.source.names, self._options.page_size
        for rows, key in self.rows.pages(connection, names, where, last, size):
            yield Page(self._changes(rows), {**run, "last": [freeze(part) for part in key]})
        yield from self._without_key(connection, where)

    def live_ids(self, connection: Connection) -> Iterator[Sequence[str]]:
        """Yield the ids of the rows that are not marked as deleted."""
        mark = self._options.deleted
        for rows, _key in self.rows.pages(connection, [mark] if mark else [], [], None, IDS_PER_STATEMENT):
            yield [
                identifier
                for identifier, values in rows
                if isinstance(values, UnreadRow) or mark is None or not is_true(values[0])
            ]

    def _changed_since(self, since: Any) -> ColumnElement[bool]:
        """Match rows changed at or after ``since``. A row without a time may have changed at any time."""
        name = str(self._options.updated_at)
        changed = as_compared(self.source.column(name), self.source.engine.dialect)
        return or_(changed >= since, changed.is_(None), changed < before_all_times(since))

    def _changes(self, rows: Sequence[KeyedRow]) -> list[ContactChange | UnreadableRecord]:
        """Turn rows into records. A million rows may pass here, so the loop makes few calls."""
        names, zone, source = self.source.names, self.zone, self._options.table or "query"
        updated_at, deleted = self._positions.updated_at, self._positions.deleted
        new = tuple.__new__  # creates a named tuple in half the time of a call
        changes: list[ContactChange | UnreadableRecord] = []
        dropped: list[Any] = []
        for identifier, row in rows:
            where = f"{source} {identifier}"
            if isinstance(row, UnreadRow):
                changes.append(self._unreadable(identifier, where))
                continue
            properties = {
                name: value if type(value) is str and value.isascii() else to_json(value, dropped)
                for name, value in zip(names, row, strict=False)  # the key may follow
            }
            changed = None if updated_at is None else parse_time(row[updated_at], zone)
            gone = deleted is not None and is_true(row[deleted])
            changes.append(new(ContactChange, (identifier, properties, changed, gone, None, where, CONTACT, None)))
        if dropped:
            self.dropped.add(names, [(one, row) for one, row in rows if not isinstance(row, UnreadRow)])
        return changes

    def _unreadable(self, identifier: str, where: str) -> UnreadableRecord:
        reason = "The database driver cannot read a value of this row; correct the row in the CRM"
        return UnreadableRecord(identifier, reason, where)

    @property
    def _positions(self) -> _Positions:
        o = self._options

        def position(name: str) -> int:
            return self.source.names.index(str(self.source.column(name).key))

        return _Positions(
            position(o.updated_at) if o.updated_at else None,
            position(o.deleted) if o.deleted else None,
        )

    def _without_key(self, connection: Connection, where: Sequence[ColumnElement[bool]]) -> Iterator[Page]:
        """Yield rows without a key as unreadable, because nothing identifies them."""
        if isinstance(self.source.rows, Table) and all(
            one.primary_key for one in map(self.source.rows.c.get, self.source.key) if one is not None
        ):
            return
        rows = self.rows.without_key(connection, self.source.names, where, UNKEYED_SHOWN)
        if rows:
            yield Page([self._unkeyed(row) for row in rows])

    def _unkeyed(self, row: Sequence[Any]) -> UnreadableRecord:
        pairs = zip(self.source.names, row, strict=True)
        values = ", ".join(f"{name}={to_json(value)}" for name, value in pairs if value is not None)
        printable = "".join(character if character.isprintable() else "?" for character in values)
        return UnreadableRecord(
            f"without key: {printable[:100]}",
            f"It has no value in the key column {quoted_list(self.source.key)}; give it one",
            self.source.where,
            printable[:200],
        )
