"""Stores all content in the way that the configuration asks for: encrypts it, or with a new key, or decrypts it.

It works on portions while the fleet runs. A row that another process has changed meanwhile is left for the next round:
that process has stored it as the configuration asks for, or it is rewritten then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Row,
    Table,
    TableClause,
    and_,
    bindparam,
    case,
    column,
    exists,
    func,
    not_,
    or_,
    select,
    table,
    text,
    tuple_,
    update,
)

from worker.core.clock import utcnow
from worker.core.content_cipher import ContentCipher
from worker.store import tables
from worker.store.db import overwrite_deleted, reading, writing
from worker.store.sealed import Sealed, cipher_of
from worker.store.store_key import note_rewritten

PORTION = 500
"""Rows per transaction, which takes some milliseconds. SQLite's other writers wait for that time."""
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class ContentTable:
    """A table with content, as the driver sees it, and the types of its columns with content by name."""

    raw: TableClause
    key: tuple[str, ...]
    types: Mapping[str, Sealed[Any]]

    def outdated(self, cipher: ContentCipher, dialect: Dialect) -> ColumnElement[bool]:
        """Return the condition for rows that the cipher would store in another way."""
        return or_(*(type_.is_outdated(cipher, dialect, self.raw.c[name]) for name, type_ in self.types.items()))

    def encrypted_with_others(self, dialect: Dialect, ids: Sequence[str]) -> ColumnElement[bool]:
        """Return the condition for rows with a value that is encrypted, and with none of the keys ``ids``."""
        return or_(
            *(
                and_(type_.is_encrypted(dialect, raw), not_(or_(*(type_.has_key(dialect, raw, one) for one in ids))))
                for raw, type_ in ((self.raw.c[name], type_) for name, type_ in self.types.items())
            )
        )


@dataclass(frozen=True, slots=True)
class Outdated:
    """How many rows of a table are not stored as the configuration asks for.

    ``old_key`` of them are encrypted with a key that is not the first one, ``unknown_key`` with one that is missing.
    """

    table: str
    rows: int
    old_key: int
    unknown_key: int


@dataclass(frozen=True, slots=True)
class Rewriting:
    """The progress of one table: rows that were rewritten in this round."""

    table: str
    rows: int


@cache
def content_tables() -> tuple[ContentTable, ...]:
    """Return the tables with content."""
    return tuple(
        ContentTable(
            table(one.name, *(column(c.name, _raw_type(c)) for c in one.c if c.primary_key or _is_content(c))),
            tuple(c.name for c in one.primary_key),
            {c.name: cast("Sealed[Any]", c.type) for c in one.c if _is_content(c)},
        )
        for one in vars(tables).values()
        if isinstance(one, Table) and any(map(_is_content, one.c))
    )


def _is_content(one: Column[Any]) -> bool:
    return isinstance(one.type, Sealed)


def _raw_type(one: Column[Any]) -> Any:
    return one.type.impl_instance if isinstance(one.type, Sealed) else one.type


def count_outdated(connection: Connection) -> list[Outdated]:
    """Count the rows of each table that are not stored as the configuration asks for. Reads the tables whole."""
    cipher, dialect = _cipher(connection), connection.dialect
    found = []
    for one in content_tables():
        old = one.encrypted_with_others(dialect, [cipher.key_id])
        unknown = one.encrypted_with_others(dialect, cipher.key_ids)
        counts = (func.count(), func.sum(case((old, 1), else_=0)), func.sum(case((unknown, 1), else_=0)))
        rows, old_key, unknown_key = connection.execute(
            select(*counts).select_from(one.raw).where(or_(one.outdated(cipher, dialect), unknown))
        ).one()
        if rows:
            found.append(Outdated(one.raw.name, rows, old_key, unknown_key))
    return found


def rewrite_content(engine: Engine) -> Iterator[Rewriting]:
    """Rewrite the rows that are not stored as the configuration asks for, and yield the progress after each portion.

    When none is left, note that the first key alone is enough. It may be interrupted, and run again. Raises
    ContentUnreadable.
    """
    with reading(engine) as connection:
        cipher = _cipher(connection)
    for _ in range(ROUNDS):
        for one in content_tables():
            rows = 0
            for more in _rewrite_table(engine, one, cipher):
                rows += more
                yield Rewriting(one.raw.name, rows)
        if not _any_outdated(engine, cipher):
            with writing(engine) as connection:
                note_rewritten(connection, cipher, utcnow())
            return


def _any_outdated(engine: Engine, cipher: ContentCipher) -> bool:
    with reading(engine) as connection:
        return any(
            connection.scalar(select(exists(select(one.raw).where(one.outdated(cipher, connection.dialect)))))
            for one in content_tables()
        )


def _rewrite_table(engine: Engine, one: ContentTable, cipher: ContentCipher) -> Iterator[int]:
    outdated, key = one.outdated(cipher, engine.dialect), tuple_(*(one.raw.c[name] for name in one.key))
    last: tuple[Any, ...] | None = None
    while True:
        further = () if last is None else (key > tuple_(*last),)
        chosen = select(one.raw).where(outdated, *further).order_by(*(one.raw.c[name] for name in one.key))
        # Read in a transaction of its own, which blocks nobody; the writing one compares.
        with reading(engine) as connection:
            found: Sequence[Row[Any]] = connection.execute(chosen.limit(PORTION)).all()
        if not found:
            return
        last = tuple(found[-1]._mapping[name] for name in one.key)
        changes = [_change(one, cipher, row) for row in found]
        with writing(engine) as connection:
            overwrite_deleted(connection)
            rows: int = connection.execute(_compare_and_set(one), changes).rowcount
        yield rows


def _change(one: ContentTable, cipher: ContentCipher, row: Row[Any]) -> dict[str, Any]:
    stored = row._mapping
    change = {f"key_{name}": stored[name] for name in one.key}
    for name, type_ in one.types.items():
        before = stored[name]
        change[f"old_{name}"] = change[f"new_{name}"] = before
        if before is not None and not type_.is_current(cipher, before):
            (change[f"new_{name}"],) = type_.store_many(cipher, [type_.load(cipher, before)])
    return change


def _compare_and_set(one: ContentTable) -> Any:
    c = one.raw.c
    return (
        update(one.raw)
        .where(
            *(c[name] == bindparam(f"key_{name}", type_=c[name].type) for name in one.key),
            *(c[name].is_not_distinct_from(bindparam(f"old_{name}", type_=c[name].type)) for name in one.types),
        )
        .values({name: bindparam(f"new_{name}", type_=c[name].type) for name in one.types})
    )


def vacuum(engine: Engine) -> None:
    """Rewrite the files of the database, so that nothing remains in them of rows that were changed or deleted.

    Nobody else can use the tables meanwhile.
    """
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for one in content_tables():
                connection.execute(text(f'VACUUM (FULL, ANALYZE) "{one.raw.name}"'))
        return
    with closing(engine.raw_connection()) as raw, closing(raw.cursor()) as cursor:  # outside of any transaction
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _cipher(connection: Connection) -> ContentCipher:
    cipher = cipher_of(connection.dialect)
    if cipher is None:
        raise LookupError("the configuration has no store.encryption_key")
    return cipher
