"""Writes texts and opt-outs into a database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Engine, MetaData, Numeric, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from crm_adapters.base import CrmMessage, RecordGone, SourceInvalid
from crm_adapters.usual_names import find_column, nearest

COLUMNS = ("message_id", "record_id", "direction", "sent_at", "text", "media", "from_number", "to_number")


@dataclass
class SqlWriter:
    """Writes to the table of contacts and to the log beside it. ``where`` names the database without secrets."""

    engine: Engine
    table: Table
    key: ColumnElement[Any]
    log_name: str | None
    where: str

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        """Insert, unless the message's id is there."""
        log = self._log
        row = {
            "message_id": message.id,
            "record_id": self._key_of(external_id),
            "direction": message.direction,
            "sent_at": message.at if not self._keeps_text(log, "sent_at") else message.at.isoformat(),
            "text": message.text.replace("\x00", ""),
            "media": json.dumps(list(message.media)),
            "from_number": message.from_number,
            "to_number": message.to_number,
        }
        with self.engine.begin() as connection:
            if connection.execute(select(self.key).where(self.key == row["record_id"])).first() is None:
                raise self._gone(external_id)
            if connection.execute(select(log.c.message_id).where(log.c.message_id == message.id)).first() is not None:
                return
            try:
                connection.execute(insert(log).values(row))
            except IntegrityError as error:
                if "message_id" not in str(error.orig):  # somebody else has just written it
                    raise

    def set_flag(self, external_id: str, name: str, value: bool) -> None:
        """Write a yes or a no."""
        found = find_column([str(one.name) for one in self.table.columns], name)
        if found is None:
            near = nearest([str(one.name) for one in self.table.columns], name)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise SourceInvalid(f'{self.where} has no column "{name}" to write opt-outs to{hint}')
        column = self.table.columns[found]
        written: Any = value if isinstance(column.type, Boolean) else "yes" if value else "no"
        if isinstance(column.type, Numeric) or _is_integer(column):
            written = int(value)
        statement = update(self.table).where(self.key == self._key_of(external_id)).values({column.name: written})
        with self.engine.begin() as connection:
            if connection.execute(statement).rowcount == 0:
                raise self._gone(external_id)

    @cached_property
    def _log(self) -> Table:
        if self.log_name is None:
            raise SourceInvalid(f"{self.where}: the option log_table names no table that texts are written to")
        schema, _, name = self.log_name.rpartition(".")
        log = Table(name, MetaData(), schema=schema or None, autoload_with=self.engine)
        missing = [column for column in COLUMNS if column not in log.columns]
        if missing:
            raise SourceInvalid(f'the table "{self.log_name}" of {self.where} has no column "{missing[0]}"')
        return log

    def _key_of(self, external_id: str) -> Any:
        if not _is_integer(self.key):
            return external_id
        try:
            return int(external_id)
        except ValueError:
            raise self._gone(external_id) from None

    def _keeps_text(self, log: Table, name: str) -> bool:
        try:
            return log.columns[name].type.python_type is str
        except NotImplementedError:
            return False

    def _gone(self, external_id: str) -> RecordGone:
        return RecordGone(f"{self.where} has no record {external_id} any more")


def _is_integer(column: ColumnElement[Any]) -> bool:
    try:
        return column.type.python_type is int
    except NotImplementedError:
        return False
