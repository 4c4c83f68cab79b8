"""Engines and transactions, the same on SQLite and PostgreSQL.

Transactions are short. None is open while we wait for a response from another service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.core.content_cipher import ContentCipher
from worker.core.private_files import close_to_others, private_file, private_folder
from worker.store.clock import follow_store_clock
from worker.store.faults import unify_errors
from worker.store.poolers import support_poolers
from worker.store.sealed import use_cipher
from worker.store.store_key import unlock

LOCK_SECONDS = 20
"""How long a statement waits for a lock. Far longer than any of our transactions, and short enough that a worker that
is asked to stop does so in time."""
STUCK_SECONDS = 60
"""Far longer than any of our transactions stays idle."""
STORE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""The errors of SQLAlchemy that mean: the store cannot be used right now, try again later. See ``store.faults``."""
_AFTER_COMMIT = "vtsync_after_commit"
_SERVER: dict[str, Any] = {
    # These detect a server whose machine has vanished. In seconds; the last one in milliseconds.
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "tcp_user_timeout": 30_000,
    # A standby can lack the latest commits, such as an opt-out. Of several hosts in the URL, the primary is used.
    "target_session_attrs": "read-write",
    # Otherwise a database without an encoding would return bytes instead of text, and could not even be refused.
    "client_encoding": "utf8",
}
"""What a connection to PostgreSQL is opened with, unless the URL says otherwise."""
_LIMITS = f"-cidle_in_transaction_session_timeout={STUCK_SECONDS}s -clock_timeout={LOCK_SECONDS}s"
"""A process that stops in the middle of a transaction (a frozen machine, SIGSTOP) loses the transaction, so others need
not wait for its rows. Nor does anybody wait long for a lock that a person or a program has forgotten."""
_QUIET: dict[str, Any] = {"hide_parameters": True}
"""Error texts end up in logs, and the parameters are people's phone numbers and messages."""


def open_engine(url: str, pool_size: int = 20, cipher: ContentCipher | None = None) -> Engine:
    """Return an engine for ``url``, whose content ``cipher`` encrypts.

    SQLite gets write-ahead logging and takes its lock when a transaction begins.
    """
    parsed = make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    engine = _open_sqlite(parsed, pool_size) if is_sqlite else _open_postgres(parsed, pool_size)
    unify_errors(engine)
    use_cipher(engine, cipher)
    return engine


def _open_sqlite(url: URL, pool_size: int) -> Engine:
    named = url.database or ""
    path = None if named in ("", ":memory:") or named.startswith("file:") else Path(named)
    if path is not None and not path.parent.is_dir():
        private_folder(path.parent)
    engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS}, pool_size=pool_size, max_overflow=50, **_QUIET)
    if path is not None:
        event.listen(engine, "do_connect", lambda *_: _make_private(path))
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_postgres(url: URL, pool_size: int) -> Engine:
    given = url.query.get("options", "")
    # The options of the URL come later, and so override ours.
    options = f"{_LIMITS} {given if isinstance(given, str) else given[0]}".strip()
    engine = create_engine(
        url,
        connect_args={"options": options} | {k: v for k, v in _SERVER.items() if k not in url.query},
        pool_size=pool_size,
        max_overflow=50,
        pool_pre_ping=True,
        **_QUIET,
    )
    support_poolers(engine, has_options=bool(given))
    event.listen(engine, "connect", _prepare_postgres)
    return engine


def _make_private(path: Path) -> None:
    """Create the file, readable only by this user; SQLite gives its other files the same permissions."""
    with suppress(OSError):  # the connection says what is wrong
        private_file(path)
    for suffix in ("-wal", "-shm", "-journal"):
        close_to_others(path.with_name(path.name + suffix))


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
    unlock(engine)
    with engine.connect().execution_options(vtsync_writing=True) as connection:
        follow_store_clock(connection)
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
    unlock(engine)
    with engine.connect() as connection:
        follow_store_clock(connection)
        with connection.begin():
            yield connection


def overwrite_deleted(connection: Connection) -> None:
    """Have SQLite overwrite what rows held, so that it does not stay in the file. PostgreSQL's vacuum does that."""
    if not is_postgres(connection):
        connection.exec_driver_sql("PRAGMA secure_delete=ON")


def is_postgres(connection: Connection | Engine) -> bool:
    """Return True if this is PostgreSQL, so that its own statements may be used."""
    return connection.dialect.name == "postgresql"
