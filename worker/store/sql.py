"""The few statements that SQLite and PostgreSQL spell differently."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Table,
    any_,
    cast,
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
        return of == any_(cast(literal(list(values), ARRAY(of.type)), ARRAY(of.type)))
    members = func.json_each(orjson.dumps(list(values)).decode()).table_valued("value")
    return of.in_(select(column("value")).select_from(members))


def insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT."""
    return postgresql.insert(table) if is_postgres(connection) else sqlite.insert(table)


def lock_account(connection: Connection, account: str) -> None:
    """Let one transaction at a time decide about an account's contacts, until it ends.

    Two syncs that meet the same new phone would otherwise both read "no such contact" on their own snapshots.
    SQLite has one writer anyway.
    """
    if is_postgres(connection):
        key = int.from_bytes(hashlib.blake2b(account.encode(), digest_size=8).digest(), "big", signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
