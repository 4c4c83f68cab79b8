"""Engines and transactions, the same on SQLite and PostgreSQL.

Transactions are short. None is open while we wait for a response from another service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

SQLITE_BUSY_SECONDS = 60
STUCK_SECONDS = 60
"""Far longer than any of our transactions stays idle."""
STORE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""The errors of SQLAlchemy that mean: the store cannot be used right now, try again later."""
_AFTER_COMMIT = "vtsync_after_commit"
_PATIENCE = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "tcp_user_timeout": 30_000}
"""These detect a PostgreSQL server whose machine has vanished. In seconds; the last one in milliseconds."""
_QUIET: dict[str, Any] = {"hide_parameters": True}
"""Error texts end up in logs, and the parameters are people's phone numbers and messages."""


def open_engine(url: str, pool_size: int = 20) -> Engine:
    """Return an engine for ``url``. SQLite gets write-ahead logging and takes its lock when a transaction begins."""
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
    given = parsed.query.get("options", "")
    # A process that stops in the middle of a transaction (a frozen machine, SIGSTOP) loses the transaction, so others
    # need not wait for its rows. The options of the URL come later and override this.
    options = f"-cidle_in_transaction_session_timeout={STUCK_SECONDS}s {given if isinstance(given, str) else given[0]}"
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

    # ``insert_many`` sends whole columns as arrays; in binary format they need no quoting.
    dbapi_connection.adapters.register_dumper(list, ListBinaryDumper)


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # Otherwise Python's sqlite3 begins transactions by itself, late, and fails when it upgrades the lock.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # A committed intent must survive a power failure, or a text could be sent twice.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writing_ = connection.get_execution_options().get("vtsync_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing_ else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Run the block in a transaction that may write: committed at the end, rolled back when the block raises."""
    with engine.connect().execution_options(vtsync_writing=True) as connection:
        connection.info.pop(_AFTER_COMMIT, None)
        with connection.begin():
            yield connection
        for call in connection.info.pop(_AFTER_COMMIT, ()):
            call()


def after_commit(connection: Connection, call: Callable[[], None]) -> None:
    """Call ``call`` after the ``writing`` transaction is committed; never when it is rolled back."""
    connection.info.setdefault(_AFTER_COMMIT, []).append(call)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Run the block in a transaction that reads one consistent state."""
    with engine.connect() as connection, connection.begin():
        yield connection


def is_postgres(connection: Connection | Engine) -> bool:
    """Return True if this is PostgreSQL, so that its own statements may be used."""
    return connection.dialect.name == "postgresql"
