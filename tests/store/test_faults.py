"""What the errors of each database mean. A new row is one more error that an operator has met."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from worker.store.db import STORE_AWAY, open_engine, reading, writing
from worker.store.faults import StoreFault, judge_error, spoils_connection
from worker.store.migrate import ensure_writable, migrate, try_write

AWAY, CONFLICT, MISTAKE = StoreFault

POSTGRES = [
    # SQLSTATE, what it means, whether the connection must be thrown away
    ("08006", AWAY, True),  # connection failure
    ("22001", MISTAKE, False),  # string too long
    ("22P05", MISTAKE, False),  # a character that the encoding does not have
    ("23502", CONFLICT, False),  # not null
    ("23505", CONFLICT, False),  # unique
    ("25006", AWAY, True),  # read-only: a standby
    ("25P03", AWAY, True),  # idle in transaction for too long
    ("3D000", AWAY, False),  # no such database
    ("40001", AWAY, False),  # serialization failure
    ("40P01", AWAY, False),  # deadlock
    ("42501", AWAY, False),  # permission denied
    ("42601", MISTAKE, False),  # syntax
    ("42703", AWAY, False),  # no such column: not migrated
    ("42883", MISTAKE, False),  # no such function
    ("42P01", AWAY, False),  # no such table: not migrated
    ("53100", AWAY, False),  # disk full
    ("53200", AWAY, False),  # out of memory
    ("53300", AWAY, False),  # too many connections
    ("54000", MISTAKE, False),  # a limit of the program
    ("55006", AWAY, False),  # object in use
    ("55P03", AWAY, False),  # lock not available
    ("57014", AWAY, False),  # cancelled, such as by statement_timeout
    ("57P01", AWAY, True),  # shut down by the administrator
    ("57P02", AWAY, True),  # crash
    ("57P03", AWAY, True),  # cannot connect now
    ("58030", AWAY, True),  # I/O error
    ("XX001", AWAY, True),  # data corrupted
]

SQLITE = [
    # The driver's class and message, what it means, whether the connection must be thrown away
    (sqlite3.OperationalError, "attempt to write a readonly database", AWAY, True),
    (sqlite3.OperationalError, "disk I/O error", AWAY, True),
    (sqlite3.OperationalError, "database or disk is full", AWAY, False),
    (sqlite3.OperationalError, "database is locked", AWAY, False),
    (sqlite3.OperationalError, "database table is locked: message", AWAY, False),
    (sqlite3.OperationalError, "unable to open database file", AWAY, True),
    (sqlite3.OperationalError, "locking protocol", AWAY, False),
    (sqlite3.OperationalError, "no such table: message", AWAY, False),
    (sqlite3.OperationalError, "no such column: message.new", AWAY, False),
    (sqlite3.OperationalError, "table message has no column named new", AWAY, False),
    (sqlite3.OperationalError, 'near "SELEC": syntax error', MISTAKE, False),
    (sqlite3.OperationalError, "no such function: unnest", MISTAKE, False),
    (sqlite3.OperationalError, "too many SQL variables", MISTAKE, False),
    (sqlite3.DatabaseError, "database disk image is malformed", AWAY, True),
    (sqlite3.DatabaseError, "file is not a database", AWAY, True),
    (sqlite3.DataError, "string or blob too big", MISTAKE, False),
    (sqlite3.IntegrityError, "UNIQUE constraint failed: message.id", CONFLICT, False),
    (sqlite3.IntegrityError, "datatype mismatch", MISTAKE, False),
]


def wrapped(error: Exception) -> DBAPIError:
    family = psycopg.Error if isinstance(error, psycopg.Error) else sqlite3.Error
    found = DBAPIError.instance("SELECT 1", {}, error, family)
    assert isinstance(found, DBAPIError)
    return found


@pytest.mark.parametrize(("code", "fault", "spoilt"), POSTGRES)
def test_codes_of_postgresql(code: str, fault: StoreFault, spoilt: bool) -> None:
    error = wrapped(psycopg.errors.lookup(code)("the server's words"))
    assert (judge_error(error), spoils_connection(error)) == (fault, spoilt)


@pytest.mark.parametrize(("kind", "words", "fault", "spoilt"), SQLITE)
def test_messages_of_sqlite(kind: type[Exception], words: str, fault: StoreFault, spoilt: bool) -> None:
    error = wrapped(kind(words))
    assert (judge_error(error), spoils_connection(error)) == (fault, spoilt)


def test_an_error_without_a_code_is_judged_by_its_class() -> None:
    assert judge_error(wrapped(psycopg.OperationalError("connection refused"))) is AWAY
    assert judge_error(wrapped(psycopg.ProgrammingError("wrong"))) is MISTAKE


def test_what_is_away_is_caught_as_such_and_what_is_not_is_not(engine: Engine) -> None:
    for statement, kind in (
        ("SELECT * FROM a_table_that_is_not_there", OperationalError),
        ("SELEC 1", ProgrammingError),
        ("INSERT INTO heartbeat (id) VALUES (NULL)", IntegrityError),
    ):
        with pytest.raises(kind), writing(engine) as db:
            db.execute(text(statement))
    assert OperationalError in STORE_AWAY


@pytest.mark.postgres
def test_the_pool_lets_go_of_a_server_that_takes_no_writes(postgres: Engine) -> None:
    engine = open_engine(postgres.url.render_as_string(hide_password=False))

    def backend() -> int:
        with reading(engine) as db:
            return int(db.scalar(text("SELECT pg_backend_pid()")) or 0)

    def write_to_a_standby() -> None:
        with writing(engine) as db:
            db.execute(text("SET TRANSACTION READ ONLY"))
            db.execute(text("DELETE FROM heartbeat"))

    before = backend()
    with pytest.raises(STORE_AWAY):
        write_to_a_standby()
    assert backend() != before
    engine.dispose()


def test_a_file_that_is_read_only(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    made = open_engine(f"sqlite:///{path}")
    migrate(made)
    made.dispose()
    engine = open_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    for write in (ensure_writable, try_write):
        with pytest.raises(STORE_AWAY, match="readonly"):
            write(engine)
    engine.dispose()


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'store.sqlite3'}", pool_size=1)
    migrate(engine)
    try_write(engine)
    with writing(engine) as db:
        pages = db.scalar(text("PRAGMA page_count"))
        db.execute(text(f"PRAGMA max_page_count = {pages}"))

    def fill() -> None:
        with writing(engine) as db:
            for _ in range(10_000):
                db.execute(
                    text(
                        "INSERT INTO heartbeat (id, role, version, started_at, seen_at)"
                        " VALUES (hex(randomblob(30)), 'x', '', '2026-01-01', '2026-01-01')"
                    )
                )

    with pytest.raises(STORE_AWAY, match="full"):
        fill()
    engine.dispose()
