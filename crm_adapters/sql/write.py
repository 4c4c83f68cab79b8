"""Writes texts and opt-outs into a database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import cached_property
from typing import Any, Literal, get_args

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from crm_adapters.base import CrmMessage, RecordGone, SourceInvalid
from crm_adapters.fields import find_column, nearest_columns
from crm_adapters.sql.columns import as_key
from crm_adapters.sql.values import external_id as id_of

LogColumn = Literal["message_id", "record_id", "direction", "sent_at", "text", "media", "from_number", "to_number"]
COLUMNS: tuple[str, ...] = get_args(LogColumn)


@dataclass
class SqlWriter:
    """Writes to the table of contacts and to the table of texts. ``where`` names the database without secrets."""

    engine: Engine
    table: Table
    key: ColumnElement[Any]
    log_name: str | None
    where: str
    zone: tzinfo
    """The time zone of times that are stored without one."""
    log_columns: Mapping[str, str] = field(default_factory=dict)
    """Maps our names of the log's columns to the table's own, where they differ."""

    def check_log(self) -> None:
        """Check that the log has the columns it needs. Raises SourceInvalid."""
        _ = self._log

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        """Insert the message, unless its id is already in the log."""
        log, key = self._log, self._key_of(external_id)
        row = {
            "message_id": message.id,
            "record_id": key,
            "direction": message.direction,
            "sent_at": self._moment(log["sent_at"], message.at),
            "text": message.text.replace("\x00", ""),
            "media": json.dumps(list(message.media)),
            "from_number": message.from_number,
            "to_number": message.to_number,
        }
        try:
            with self.engine.begin() as connection:
                if connection.execute(select(self.key).where(self.key == key)).first() is None:
                    raise self._gone(external_id)
                if not self._is_logged(connection, message.id):
                    values = {log[name].name: value for name, value in row.items()}
                    connection.execute(insert(log["message_id"].table).values(values))
        except IntegrityError:
            with self.engine.connect() as connection:
                if not self._is_logged(connection, message.id):  # otherwise another process wrote it at the same time
                    raise

    def set_flag(self, external_id: str, name: str, value: bool) -> None:
        """Write yes or no to the column ``name``."""
        found = find_column([str(one.name) for one in self.table.columns], name)
        if found is None:
            near = nearest_columns([str(one.name) for one in self.table.columns], name)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise SourceInvalid(f'{self.where} has no column "{name}" to write opt-outs to{hint}')
        column = self.table.columns[found]
        written: Any = value if isinstance(column.type, Boolean) else "yes" if value else "no"
        if isinstance(column.type, Numeric) or _is_integer(column):
            written = int(value)
        statement = update(self.table).where(self.key == self._key_of(external_id)).values({column.name: written})
        with self.engine.begin() as connection:
            self._require_one(connection, external_id)
            if connection.execute(statement).rowcount == 0:
                raise self._gone(external_id)

    def _require_one(self, connection: Connection, identifier: str) -> None:
        """Check that no other row has a key that the database holds for equal, such as ``a1`` to ``A1``."""
        if _is_integer(self.key):
            return
        keys = connection.execute(select(as_key(self.key)).where(self.key == self._key_of(identifier))).scalars()
        found = {id_of((key,)) for key in keys}
        if found and identifier not in found:
            raise self._gone(identifier)
        if len(found) > 1:
            raise SourceInvalid(
                f"{self.where} holds the keys {' and '.join(map(repr, sorted(found)))} for equal, so nothing can be"
                " written to one of them alone; give these records keys that differ in more than case or spaces"
            )

    def _moment(self, column: Column[Any], at: datetime) -> Any:
        """Return a time as the column stores it: with a zone, without one in the configured zone, or as text."""
        if not isinstance(column.type, DateTime):
            return literal(at.isoformat(), String())  # SQLite has no TIMESTAMPTZ and stores text
        return at if column.type.timezone else at.astimezone(self.zone).replace(tzinfo=None)

    def _is_logged(self, connection: Connection, message_id: str) -> bool:
        column = self._log["message_id"]
        return connection.execute(select(column).where(column == message_id)).first() is not None

    @cached_property
    def _log(self) -> dict[str, Column[Any]]:
        """The log's columns, by our names."""
        if self.log_name is None:
            raise SourceInvalid(f"{self.where}: the option log_table is missing; set it to the table for texts")
        schema, _, name = self.log_name.rpartition(".")
        log = Table(name, MetaData(), schema=schema or None, autoload_with=self.engine)
        names = {column: self.log_columns.get(column, column) for column in COLUMNS}
        missing = [name for name in names.values() if name not in log.columns]
        if missing:
            raise SourceInvalid(
                f'the table "{self.log_name}" of {self.where} has no column "{missing[0]}" for the log of texts; add'
                " it, or name another column in log_columns"
            )
        unique = names["message_id"]
        if not _is_unique(log, unique):
            raise SourceInvalid(
                f'the column "{unique}" of the table "{self.log_name}" of {self.where} is not unique, so a text'
                " could be logged twice; make it the primary key, or add a UNIQUE constraint"
            )
        return {column: log.columns[name] for column, name in names.items()}

    def _key_of(self, external_id: str) -> Any:
        if not _is_integer(self.key):
            return external_id
        try:
            return int(external_id)
        except ValueError:
            raise self._gone(external_id) from None

    def _gone(self, external_id: str) -> RecordGone:
        return RecordGone(f"{self.where} has no record {external_id} any more")


def _is_integer(column: ColumnElement[Any]) -> bool:
    try:
        return column.type.python_type is int
    except NotImplementedError:
        return False


def _is_unique(table: Table, column: str) -> bool:
    """Return True if the database itself refuses two rows with the same value."""
    unique = [
        list(one.columns) for one in table.constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)
    ]
    unique += [list(one.columns) for one in table.indexes if one.unique]
    return any([one.name for one in columns] == [column] for columns in unique)
