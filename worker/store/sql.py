"""The few statements that SQLite and PostgreSQL spell differently."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Engine,
    Table,
    bindparam,
    column,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from worker.store.db import is_postgres


def any_of(connection: Connection, of: ColumnElement[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """``of IN values`` with the values as one parameter, however many: no statement text grows or is compiled anew."""
    if is_postgres(connection):
        return of.in_(select(func.unnest(literal(list(values), ARRAY(of.type)))))
    members = func.json_each(orjson.dumps(list(values)).decode()).table_valued("value")
    return of.in_(select(column("value")).select_from(members))


def insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT."""
    return postgresql.insert(table) if is_postgres(connection) else sqlite.insert(table)


def insert_many(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    unique: Sequence[str],
    update: Collection[str] = (),
) -> None:
    """Insert ``rows`` (all with the same keys); where ``unique`` columns meet a stored row, ``update`` these of it.

    PostgreSQL gets each column as one array, which is several times as fast as a statement a row. No two rows may
    have the same ``unique`` values.
    """
    if not rows:
        return
    columns = [table.c[name] for name in rows[0]]
    statement = insert(connection, table)
    parameters: Any = rows
    if is_postgres(connection):
        arrays = [func.unnest(bindparam(column.name, type_=ARRAY(column.type))) for column in columns]
        statement = statement.from_select(columns, select(*arrays))
        parameters = {column.name: [row[column.name] for row in rows] for column in columns}
    connection.execute(
        statement.on_conflict_do_update(index_elements=unique, set_={name: statement.excluded[name] for name in update})
        if update
        else statement.on_conflict_do_nothing(index_elements=unique),
        parameters,
    )


def analyse(engine: Engine, *tables: str) -> None:
    """Let PostgreSQL count these tables now; by itself it does so a minute later, with the wrong plans until then."""
    if is_postgres(engine):
        with engine.connect() as connection, connection.begin():
            connection.execute(text(f"ANALYZE {', '.join(tables)}"))


def lock_account(connection: Connection, *names: str) -> None:
    """Let one transaction at a time decide about an account's contacts, until it ends.

    Two syncs that meet the same new phone would otherwise both read "no such contact" on their own snapshots.
    SQLite has one writer anyway. Several ``names`` are locked in one order, so that nobody waits in a circle.
    """
    if names and is_postgres(connection):
        digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
        keys = sorted(int.from_bytes(digest, "big", signed=True) for digest in digests)
        locks = text("SELECT count(pg_advisory_xact_lock(key)) FROM unnest(CAST(:keys AS bigint[])) AS key")
        connection.execute(locks, {"keys": keys})
