"""The table, view or query that is read: connection, columns and key."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    NullPool,
    Select,
    Table,
    create_engine,
    event,
    inspect,
    literal_column,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import SAWarning
from sqlalchemy.sql import FromClause

from config.fields import FieldMapping, is_expression
from crm_adapters.base import SourceInvalid
from crm_adapters.fields import find_column, find_columns, fold, missing_columns, nearest_columns
from crm_adapters.sql.columns import mark_json
from crm_adapters.sql.drivers import prepare
from crm_adapters.sql.errors import explained
from crm_adapters.sql.options import SqlOptions
from crm_adapters.sql.queries import as_table

# A column of a type that SQLAlchemy does not know, such as a point on a map, is read as the driver returns it.
warnings.filterwarnings("ignore", "Did not recognize type", SAWarning)

CONNECT_SECONDS = 15
_TAKES_A_TIMEOUT = ("psycopg", "psycopg2", "pymysql", "mysqldb")
_LISTED = 20


@dataclass(repr=False)
class SqlSource:
    """The table, view or query to read, with its columns and its key. It connects on first use.

    ``wanted`` names the fields that the configuration uses; None: all.
    """

    options: SqlOptions
    fields: FieldMapping
    wanted: frozenset[str] | None = None

    @property
    def where(self) -> str:
        """The database and the table, without secrets."""
        try:
            url = self._url
        except Exception:  # noqa: BLE001 - a wrong URL is reported when it is used
            return "the database"
        name = url.database or url.host or url.drivername
        return f"{name.rsplit('/', 1)[-1]} ({self.options.table or 'query'})"

    @property
    def password(self) -> str | None:
        """The password of the URL, to remove it from errors."""
        try:
            return self._url.password
        except Exception:  # noqa: BLE001
            return None

    @property
    def _url(self) -> URL:
        return make_url(self.options.url.get_secret_value())

    @cached_property
    def engine(self) -> Engine:
        """The engine. It keeps no connections open."""
        url = self._url
        driver = url.get_dialect().driver
        limited = driver in _TAKES_A_TIMEOUT and "connect_timeout" not in url.query
        arguments = {"connect_timeout": CONNECT_SECONDS} if limited else {}
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)
        event.listen(engine, "connect", lambda connection, _record: prepare(connection, driver), insert=True)
        return engine

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Connect, and turn the database's errors into AdapterErrors.

        Each statement is its own transaction, so that other users of the database never wait for us.
        """
        with explained(self.where, self.password), self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def forget(self) -> None:
        """Drop the engine and what was read of the table. The next use reads it again."""
        for name in ("engine", "rows", "present", "names", "key", "is_unique"):
            self.__dict__.pop(name, None)

    @cached_property
    def rows(self) -> FromClause:
        """The table or the query as SQLAlchemy sees it."""
        with self.engine.connect() as connection:
            if self.options.query is not None:
                whole = as_table(self.options.query, [], self.engine.dialect)
                nothing: Select[Any] = select(literal_column("*")).select_from(whole).where(text("1 = 0"))
                names = list(connection.execute(nothing).keys())
                return as_table(self.options.query, names, self.engine.dialect)
            schema, _, name = (self.options.table or "").rpartition(".")
            found = Table(name, MetaData(), schema=schema or None, autoload_with=connection, resolve_fks=False)
            mark_json(found, connection)
            return found

    @cached_property
    def present(self) -> tuple[str, ...]:
        """All columns of the table or the query."""
        return tuple(str(one.name) for one in self.rows.columns)

    @cached_property
    def names(self) -> list[str]:
        """The columns to read. Raises SourceInvalid if one is missing that the options, or a contact, need."""
        o = self.options
        mapped = [*self.fields.phone, *self.fields.full_name, *self.fields.email]
        columns = [name for name in mapped if not is_expression(name)]
        named = [*o.key, *filter(None, (o.updated_at, o.deleted)), *o.columns, *columns]
        if missing := missing_columns(self.present, named):
            near = nearest_columns(self.present, missing[0])
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; it has {self._listed()}"
            raise SourceInvalid(f'{self.where} has no column "{missing[0]}"{hint}')
        names = self._chosen(named)
        if not self.fields.phone and not find_columns(tuple(names), self.fields).phones:
            among = "among its columns that are read (option columns)" if o.columns else "with a usual name"
            raise SourceInvalid(
                f"{self.where} has no column {among} for a phone number; name it in the connection's fields.phone."
                f" It has {self._listed()}"
            )
        return names

    def _chosen(self, named: Iterable[str]) -> list[str]:
        wanted = self.wanted
        if wanted is None and not self.options.columns:
            return list(self.present)
        chosen = {find_column(self.present, name) for name in named} | set(self.key)
        if not self.options.columns:
            chosen |= find_columns(self.present, self.fields).all
        folded = {fold(name) for name in wanted or ()} - {""}
        return [name for name in self.present if name in chosen or (wanted and name in wanted) or fold(name) in folded]

    def _listed(self) -> str:
        more = len(self.present) - _LISTED
        return ", ".join(self.present[:_LISTED]) + (f" and {more} more" if more > 0 else "")

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The columns of the key. Raises SourceInvalid if there is none."""
        if self.options.key:
            return tuple(find_column(self.present, name) or name for name in self.options.key)
        keys = [one.name for one in self.rows.primary_key] if isinstance(self.rows, Table) else []
        if not keys:
            raise SourceInvalid(f"{self.where} has no primary key; set key to the column that identifies a row")
        return tuple(keys)

    @cached_property
    def is_unique(self) -> bool:
        """True if the database itself allows no two rows whose keys it holds for equal."""
        if not isinstance(self.rows, Table):
            return False
        if {one.name for one in self.rows.primary_key} == set(self.key):
            return True
        inspector = inspect(self.engine)
        unique = inspector.get_unique_constraints(self.rows.name, schema=self.rows.schema)
        indexes = inspector.get_indexes(self.rows.name, schema=self.rows.schema)
        whole = [
            one
            for one in indexes
            if one["unique"] and not any(name.endswith("_where") for name in one.get("dialect_options", {}))
        ]
        columns: list[Iterable[str | None]] = [one["column_names"] for one in unique]
        columns += [one["column_names"] for one in whole]
        return any(set(one) == set(self.key) for one in columns)

    def column(self, name: str) -> ColumnElement[Any]:
        """Return the column called ``name``. Case, spaces and punctuation do not matter."""
        found: ColumnElement[Any] = self.rows.columns[find_column(self.present, name) or name]
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
