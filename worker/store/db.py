"""Engines and transactions, the same on SQLite and PostgreSQL.

A transaction is short and never open while a request to somebody else is on the wire.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

SQLITE_BUSY_SECONDS = 60
STUCK_SECONDS = 60
"""Far longer than any transaction of ours stands still."""
STORE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""What SQLAlchemy raises where the store cannot be used just now: try again later."""
_AFTER_COMMIT = "vtsync_after_commit"
_PATIENCE = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "tcp_user_timeout": 30_000}
"""A PostgreSQL whose machine vanished says nothing, not even that it is gone. Seconds; the last one milliseconds."""
_QUIET: dict[str, Any] = {"hide_parameters": True}
"""What errors say ends in logs; the values are people's numbers and words."""


def open_engine(url: str, pool_size: int = 20) -> Engine:
    """An engine for ``url``. SQLite gets write-ahead logging and takes its write lock when a transaction begins."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            parsed, connect_args={"timeout": SQLITE_BUSY_SECONDS}, pool_size=pool_size, max_overflow=50, **_QUIET
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    said = parsed.query.get("options", "")
    # Whoever stands still in the middle of a transaction (a frozen machine, a stopped process) loses it, and with it
    # the rows that others wait for. What the URL says comes later and counts.
    options = f"-cidle_in_transaction_session_timeout={STUCK_SECONDS}s {said if isinstance(said, str) else said[0]}"
    engine = create_engine(
        parsed,
        connect_args={"options": options.strip()} | {k: v for k, v in _PATIENCE.items() if k not in parsed.query},
        pool_size=pool_size,
        max_overflow=50,
        pool_pre_ping=True,
        **_QUIET,
    )
    event.listen(engine, "connect", _prepare_postgres)
    return engine


def _prepare_postgres(dbapi_connection: Any, _record: Any) -> None:
    from psycopg.types.array import ListBinaryDumper

    # Whole columns travel as arrays, see ``insert_many``; in binary nothing of them needs quoting.
    dbapi_connection.adapters.register_dumper(list, ListBinaryDumper)


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # Python's sqlite3 would otherwise begin transactions by itself, late, and fail on the lock upgrade.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a committed intent must survive a power cut: it prevents a second text
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writing_ = connection.get_execution_options().get("vtsync_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing_ else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One committed transaction that may write; rolled back when the block raises."""
    with engine.connect().execution_options(vtsync_writing=True) as connection:
        connection.info.pop(_AFTER_COMMIT, None)
        with connection.begin():
            yield connection
        for call in connection.info.pop(_AFTER_COMMIT, ()):
            call()


def after_commit(connection: Connection, call: Callable[[], None]) -> None:
    """Have ``call`` made once what ``writing`` does is committed, and not when it is rolled back."""
    connection.info.setdefault(_AFTER_COMMIT, []).append(call)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent reading transaction."""
    with engine.connect() as connection, connection.begin():
        yield connection


def is_postgres(connection: Connection | Engine) -> bool:
    """Whether PostgreSQL's own statements may be used."""
    return connection.dialect.name == "postgresql"


def new_lease_owner() -> str:
    """A name for one claim. It is the fencing token: results are written only while the row still carries it."""
    return uuid.uuid4().hex
