"""Reads any SQL database: a table, a view or a query, either whole or by a column with the time of change.

Rows are read in the order of their key, one page per statement, so that no transaction stays open. An incremental run
has a fixed, inclusive lower bound: the newest change that the previous run could see, less an overlap. So nothing is
lost when rows have equal times, are committed late, or when drivers cut microseconds. Rows that are read twice are
skipped by their hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel
from sqlalchemy import Connection, Table

from config.fields import FieldMapping
from crm_adapters.base import (
    Adapter,
    CheckReport,
    CrmField,
    CrmMessage,
    Cursor,
    ListsIds,
    Page,
    Removals,
    Services,
    SourceInvalid,
    WritesMessages,
)
from crm_adapters.fields import find_columns
from crm_adapters.sql.datetimes import parse_time
from crm_adapters.sql.errors import explained
from crm_adapters.sql.notes import DroppedValues
from crm_adapters.sql.options import SqlOptions
from crm_adapters.sql.paging import KeyedRows
from crm_adapters.sql.reader import SqlReader
from crm_adapters.sql.shape import describe_deletion, field_of
from crm_adapters.sql.source import SqlSource, quoted_list
from crm_adapters.sql.values import thaw
from crm_adapters.sql.write import SqlWriter


class SqlAdapter(Adapter, ListsIds, WritesMessages):
    """Reads a database as a CRM, and writes texts and opt-outs to it."""

    name = "sql"
    summary = "Any SQL database: a table, a view or a query, whole or by a column with the time of change."
    Options: ClassVar[type[BaseModel]] = SqlOptions

    options: SqlOptions

    def __init__(self, options: Any, fields: FieldMapping, *, services: Services | None = None) -> None:
        super().__init__(options, fields, services=services)
        if self.options.updated_at is None:
            self.removals = Removals.ABSENT  # type: ignore[misc] # it depends on the options
        elif self.options.deleted is None:
            self.removals = Removals.UNSEEN  # type: ignore[misc]
        self.source = SqlSource(self.options, fields, self.services.wanted)
        self.dropped = DroppedValues(self.services.memory, self.source.where)
        self.rows = KeyedRows(self.source)
        self.reader = SqlReader(self.source, ZoneInfo(self.options.timezone), self.dropped, self.rows)

    def __repr__(self) -> str:
        return f"SqlAdapter({self.source.where})"

    def check(self) -> CheckReport:
        """Connect and report which columns are used, and what was understood."""
        with self.source.connected() as connection:
            columns = find_columns(tuple(self.source.names), self.fields)
            names = columns.full_name or columns.name_parts or columns.bare_name
            used = [
                f"key {quoted_list(self.source.key)}",
                f"phone {quoted_list(columns.phones or self.fields.phone)}",
                f"name {quoted_list(names or self.fields.full_name) or 'not found'}",
                f"email {quoted_list(columns.emails or self.fields.email) or 'not found'}",
                self._check_changed(connection),
                *self._check_deleted(connection),
            ]
            if self.options.log_table:
                self._writer.check_log()
                used.append(f"texts go to {quoted_list([self.options.log_table])}")
        return CheckReport(f"{self.source.where}: {', '.join(used)}")

    def _check_changed(self, connection: Connection) -> str:
        """Say what the time of change is. Raises SourceInvalid if the column holds none."""
        name = self.options.updated_at
        if name is None:
            return "every run reads every row"
        newest = self.reader.newest_change(connection)
        moment = parse_time(newest, self.reader.zone)
        if newest is not None and moment is None:
            raise SourceInvalid(
                f'the column "{name}" of {self.source.where} holds {str(newest)[:40]!r}, which is no time; set'
                " updated_at to the column with the time of change"
            )
        notes = ["no row has one yet" if moment is None else f"newest {moment:%Y-%m-%d %H:%M} UTC"]
        if not self.source.is_indexed(name):
            notes.append("without an index: each run is slow")
        return f"changed {quoted_list([name])} ({'; '.join(notes)})"

    def _check_deleted(self, connection: Connection) -> Iterator[str]:
        """Say which values count as deleted."""
        name = self.options.deleted
        if name is not None:
            values = [row[0] for row in self.rows.sample(connection, [name], rows=1000)]
            yield f"deleted {quoted_list([name])} ({describe_deletion(values)})"

    def describe(self) -> Sequence[CrmField]:
        """Return all columns of the table, with samples from its first rows."""
        with self.source.connected() as connection:
            names = self.source.present
            rows = self.rows.sample(connection, names, rows=20)
            columns = find_columns(names, self.fields)
            return [
                field_of(name, self.source.column(name).type, [row[position] for row in rows], columns)
                for position, name in enumerate(names)
            ]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield pages by key. The cursor holds the run's bounds and the last key; at the end, the next run's bound."""
        with self.source.connected() as connection:
            _ = self.source.names, self.source.key  # raise if one is missing
            if not (cursor and "last" in cursor):
                self.dropped.begin()
            if self.options.updated_at is None:
                last = None if cursor is None else [thaw(part) for part in cursor["last"]]
                yield from self.reader.pages(connection, None, last, {})
                yield Page(())  # the next run starts at the first row
                return
            run = dict(cursor) if cursor and "last" in cursor else self.reader.new_run(connection, cursor)
            last = [thaw(part) for part in run["last"]] if run.get("last") else None
            yield from self.reader.pages(connection, thaw(run["since"]), last, run)
            yield Page((), {"watermark": run["watermark"]})

    def live_ids(self) -> Iterator[Sequence[str]]:
        """Yield the keys of all rows that are not marked as deleted. Only the key is read."""
        with self.source.connected() as connection:
            yield from self.reader.live_ids(connection)

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        """Insert a row into ``log_table``, unless it holds this message's id."""
        with explained(self.source.where, self.source.password):
            self._writer.log_message(external_id, message)

    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        """Write the column according to its type: true or false, 1 or 0, "yes" or "no"."""
        with explained(self.source.where, self.source.password):
            self._writer.set_flag(external_id, field, value)

    @cached_property
    def _writer(self) -> SqlWriter:
        if not isinstance(self.source.rows, Table):
            raise SourceInvalid(f"{self.source.where} is a query, and queries cannot be written to; set table instead")
        if len(self.source.key) != 1:
            raise SourceInvalid(f"{self.source.where} has a key of several columns; writing needs a key of one column")
        return SqlWriter(
            self.source.engine,
            self.source.rows,
            self.source.column(self.source.key[0]),
            self.options.log_table,
            self.source.where,
            self.reader.zone,
            {str(ours): theirs for ours, theirs in self.options.log_columns.items()},
        )

    def close(self) -> None:
        """Forget the engine and all that was read of the tables; connections are closed after each use."""
        self.source.forget()
        self.__dict__.pop("_writer", None)
