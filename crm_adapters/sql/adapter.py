"""Reads any SQL database: a table, a view or a query, either whole or by a column with the time of change.

Rows are read in the order of their key, one page per statement, so that no transaction stays open. An incremental run
has a fixed, inclusive lower bound: the newest change that the previous run could see, less an overlap. So nothing is
lost when rows have equal times, are committed late, or when drivers cut microseconds. Rows that are read twice are
skipped by their hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel
from sqlalchemy import (
    Table,
)

from config.fields import FieldMapping
from crm_adapters.base import (
    Adapter,
    CheckReport,
    ContactFields,
    CrmMessage,
    Cursor,
    Page,
    Properties,
    Removals,
    SourceInvalid,
    WritesMessages,
)
from crm_adapters.fields import find_columns, read
from crm_adapters.sql.errors import explained
from crm_adapters.sql.options import SqlOptions
from crm_adapters.sql.reader import SqlReader
from crm_adapters.sql.source import SqlSource, quoted_list
from crm_adapters.sql.values import thaw
from crm_adapters.sql.write import SqlWriter


class SqlAdapter(Adapter, WritesMessages):
    """Reads a database as a CRM, and writes texts and opt-outs to it."""

    name = "sql"
    summary = "Any SQL database: a table, a view or a query, whole or by a column with the time of change."
    Options: ClassVar[type[BaseModel]] = SqlOptions

    options: SqlOptions

    def __init__(self, options: Any, fields: FieldMapping) -> None:
        super().__init__(options, fields)
        if self.options.updated_at is None:
            self.removals = Removals.ABSENT  # type: ignore[misc] # it depends on the options
        elif self.options.deleted is None:
            self.removals = Removals.UNSEEN  # type: ignore[misc]
        self.source = SqlSource(self.options, fields)
        self.reader = SqlReader(self.source, ZoneInfo(self.options.timezone))

    def __repr__(self) -> str:
        return f"SqlAdapter({self.source.where})"

    def check(self) -> CheckReport:
        """Connect and report which columns are used."""
        with self.source.connected():
            columns = find_columns(tuple(self.source.names), self.fields)
            used = [
                f"key {quoted_list(self.source.key)}",
                f"phone {quoted_list(columns.phones) or 'not found: set fields.phone'}",
                f"name {quoted_list(columns.full_name or columns.name_parts) or 'not found'}",
                f"email {quoted_list(columns.emails) or 'not found'}",
            ]
            if self.options.updated_at:
                warning = (
                    "" if self.source.is_indexed(self.options.updated_at) else " (without an index: each run is slow)"
                )
                used.append(f"changed {quoted_list([self.options.updated_at])}{warning}")
            else:
                used.append("every run reads every row")
            if self.options.log_table:
                self._writer.check_log()
                used.append(f"texts go to {quoted_list([self.options.log_table])}")
        return CheckReport(f"{self.source.where}: {', '.join(used)}", tuple(self.source.names))

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield pages by key. The cursor holds the run's bounds and the last key; at the end, the next run's bound."""
        with self.source.connected() as connection:
            if self.options.updated_at is None:
                last = None if cursor is None else [thaw(part) for part in cursor["last"]]
                yield from self.reader.pages(connection, None, last, {})
                yield Page(())  # the next run starts at the first row
                return
            run = dict(cursor) if cursor and "last" in cursor else self.reader.new_run(connection, cursor)
            last = [thaw(part) for part in run["last"]] if run.get("last") else None
            yield from self.reader.pages(connection, thaw(run["since"]), last, run)
            yield Page((), {"watermark": run["watermark"]})

    def contact_fields(self, properties: Properties) -> ContactFields:
        """Read phones, name and email by the mapping or the usual column names."""
        return read(find_columns(tuple(properties), self.fields), properties)

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
