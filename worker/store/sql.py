"""The few statements that differ between SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import orjson
from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    LargeBinary,
    Table,
    any_,
    bindparam,
    column,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from worker.store.db import is_postgres
from worker.store.sealed import Sealed, cipher_of


def any_of(connection: Connection, of: ColumnElement[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """Return ``of IN values`` with all values in one parameter, so the statement is the same for any number of them."""
    if is_postgres(connection):
        # Not a join with unnest(): before its first ANALYZE, PostgreSQL would read the whole table for it.
        return of == any_(literal(list(values), ARRAY(of.type)))
    members = func.json_each(orjson.dumps(list(values)).decode()).table_valued("value")
    return of.in_(select(column("value")).select_from(members))


def insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that supports ON CONFLICT."""
    return postgresql.insert(table) if is_postgres(connection) else sqlite.insert(table)


def insert_many(
    connection: Connection,
    table: Table,
    columns: Mapping[str, Sequence[Any]],
    *,
    unique: Sequence[str],
    update: Collection[str] = (),
) -> None:
    """Insert rows, given as the values of each column. Where the ``unique`` columns are there already, set ``update``.

    PostgreSQL gets each column as one array, or as one value where all rows have the same. SQLite gets the rows of its
    driver. This is several times as fast as rows that pass through SQLAlchemy one by one. No two rows may have the same
    ``unique`` values, and each must name every column that has no default in the database.
    """
    rows = len(next(iter(columns.values()), ()))
    if not rows:
        return
    dialect = connection.dialect
    names = tuple(column.name for column in table.c if column.name in columns)
    stored = {name: _as_stored(dialect, table.c[name], columns[name]) for name in names}
    shared: frozenset[str] = frozenset()
    parameters: Any
    if is_postgres(connection):
        shared = frozenset(name for name, values in stored.items() if values.count(values[0]) == rows)
        parameters = {name: values[0] if name in shared else values for name, values in stored.items()}
    else:
        parameters = list(zip(*stored.values(), strict=True))
    connection.exec_driver_sql(_insert_text(dialect, table, names, shared, tuple(unique), tuple(update)), parameters)


def by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows, all with the same keys, as the values of each column."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


@lru_cache
def _insert_text(
    dialect: Dialect,
    table: Table,
    names: tuple[str, ...],
    shared: frozenset[str],
    unique: tuple[str, ...],
    update: tuple[str, ...],
) -> str:
    """Return the statement of ``insert_many`` for the driver, with its parameters in the order of ``names``."""
    statement: postgresql.Insert | sqlite.Insert
    if dialect.name == "postgresql":
        values = [
            bindparam(name, type_=table.c[name].type)
            if name in shared
            else func.unnest(bindparam(name, type_=ARRAY(table.c[name].type)))
            for name in names
        ]
        statement = postgresql.insert(table).from_select(names, select(*values), include_defaults=False)
    else:
        statement = sqlite.insert(table)
    statement = (
        statement.on_conflict_do_update(index_elements=unique, set_={name: statement.excluded[name] for name in update})
        if update
        else statement.on_conflict_do_nothing(index_elements=unique)
    )
    return str(statement.compile(dialect=dialect, column_keys=names))


def _as_stored(dialect: Dialect, column: Column[Any], values: Sequence[Any]) -> Sequence[Any]:
    """Convert values for the driver, each only once, however many rows share it."""
    if isinstance(
        column.type, Sealed
    ):  # equal values are encrypted differently, so that nobody sees that they are equal
        return cast("Sequence[Any]", column.type.store_many(cipher_of(dialect), values))
    convert = column.type.dialect_impl(dialect).bind_processor(dialect)
    if convert is None or isinstance(column.type, LargeBinary):  # drivers take bytes without a wrapper, too
        return values
    converted = {value: convert(value) for value in set(values)}
    return [converted[value] for value in values]


def analyse(engine: Engine, *tables: str) -> None:
    """Have PostgreSQL analyse these tables now. By itself it does so a minute later, and uses bad plans until then."""
    if is_postgres(engine):
        with engine.connect() as connection, connection.begin():
            connection.execute(text(f"ANALYZE {', '.join(tables)}"))


def lock_account(connection: Connection, *names: str) -> None:
    """Let one transaction at a time decide about an account's contacts, until the transaction ends.

    Otherwise two syncs that find the same new phone would both read "no such contact" in their own snapshots. SQLite
    has only one writer. Several ``names`` are locked in a fixed order, which prevents deadlocks.
    """
    if names and is_postgres(connection):
        keys = sorted(map(_lock_key, names))
        locks = text("SELECT count(pg_advisory_xact_lock(key)) FROM unnest(CAST(:keys AS bigint[])) AS key")
        connection.execute(locks, {"keys": keys})


def share_lock(connection: Connection, name: str) -> None:
    """Keep others from taking the lock ``name`` alone, until the transaction ends. Any number may share it."""
    if is_postgres(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _lock_key(name)})


def _lock_key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
