"""The table, view or query that is read: connection, columns and key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    NullPool,
    Table,
    create_engine,
    inspect,
    text,
)
from sqlalchemy import (
    column as sql_column,
)
from sqlalchemy.sql import FromClause

from config.fields import FieldMapping
from crm_adapters.base import (
    SourceInvalid,
)
from crm_adapters.fields import find_column, missing_columns, nearest_columns
from crm_adapters.sql.errors import explained
from crm_adapters.sql.options import SqlOptions


@dataclass(repr=False)
class SqlSource:
    """The table, view or query to read, with its columns and its key. It connects on first use."""

    options: SqlOptions
    fields: FieldMapping

    @property
    def where(self) -> str:
        """The database and the table, without secrets."""
        try:
            from sqlalchemy import make_url

            url = make_url(self.options.url.get_secret_value())
        except Exception:  # noqa: BLE001 - a wrong URL is reported when it is used
            return "the database"
        name = url.database or url.host or url.drivername
        return f"{name.rsplit('/', 1)[-1]} ({self.options.table or 'query'})"

    @property
    def password(self) -> str | None:
        """The password of the URL, to remove it from errors."""
        from sqlalchemy import make_url

        try:
            return make_url(self.options.url.get_secret_value()).password
        except Exception:  # noqa: BLE001
            return None

    @cached_property
    def engine(self) -> Engine:
        """The engine. It keeps no connections open."""
        return create_engine(self.options.url.get_secret_value(), poolclass=NullPool, hide_parameters=True)

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Connect, check the columns, and turn the database's errors into AdapterErrors.

        Each statement is its own transaction, so that other users of the database never wait for us.
        """
        with explained(self.where, self.password), self.engine.connect() as connection:
            _ = self.names, self.key
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def forget(self) -> None:
        """Drop the engine and what was read of the table. The next use reads it again."""
        for name in ("engine", "rows", "names", "key"):
            self.__dict__.pop(name, None)

    @cached_property
    def rows(self) -> FromClause:
        """The table or the query as SQLAlchemy sees it."""
        if self.options.query is not None:
            names = self._names_of_query(self.options.query)
            return text(self.options.query.strip().rstrip(";")).columns(*map(sql_column, names)).subquery("source")
        schema, _, table = (self.options.table or "").rpartition(".")
        return Table(table, MetaData(), schema=schema or None, autoload_with=self.engine)

    def _names_of_query(self, query: str) -> list[str]:
        with self.engine.connect() as connection:
            wrapped = text(f"SELECT * FROM ({query.strip().rstrip(';')}) AS source WHERE 1 = 0")  # noqa: S608 - the operator's own
            return list(connection.execute(wrapped).keys())

    @cached_property
    def names(self) -> list[str]:
        """The columns to read. Raises SourceInvalid if a column that the options name does not exist."""
        present = tuple(str(one.name) for one in self.rows.columns)
        o = self.options
        mapped = (*self.fields.phone, *self.fields.full_name, *self.fields.email)
        named = [*o.key, *filter(None, (o.updated_at, o.deleted)), *o.columns, *mapped]
        missing = missing_columns(present, named)
        if missing:
            near = nearest_columns(present, missing[0])
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(present[:20])}"
            raise SourceInvalid(f'{self.where} has no column "{missing[0]}"{hint}')
        if not o.columns:
            return list(present)
        wanted = {find_column(present, name) for name in named} | set(self.key)
        return [name for name in present if name in wanted]

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The columns of the key. Raises SourceInvalid if there is none."""
        if self.options.key:
            present = tuple(str(one.name) for one in self.rows.columns)
            return tuple(find_column(present, name) or name for name in self.options.key)
        keys = [one.name for one in self.rows.primary_key] if isinstance(self.rows, Table) else []
        if not keys:
            raise SourceInvalid(f"{self.where} has no primary key; set key to the column that identifies a row")
        return tuple(keys)

    def column(self, name: str) -> ColumnElement[Any]:
        """Return the column called ``name``. Case, spaces and punctuation do not matter."""
        found: Column[Any] | ColumnElement[Any] = self.rows.columns[
            find_column([str(one.name) for one in self.rows.columns], name) or name
        ]
        return found

    def is_indexed(self, name: str) -> bool:
        """Return True if an index begins with this column, and for queries, where it cannot be known."""
        if not isinstance(self.rows, Table):
            return True
        indexes = inspect(self.engine).get_indexes(self.rows.name, schema=self.rows.schema)
        return any(index["column_names"] and index["column_names"][0] == self.column(name).key for index in indexes)


def quoted_list(names: Any) -> str:
    """Return names as text: ``"id", "name"``."""
    return ", ".join(f'"{name}"' for name in names)
