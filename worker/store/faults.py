"""Says what an error of the database means: try again later, the rows conflict, or the statement is a mistake.

A server can be reached and still store nothing: it became a standby, its disk is full, somebody holds a lock. Drivers
report these as errors of many classes. Here each is one of three faults, and the classes of SQLAlchemy follow:

* *away*: an ``OperationalError``, so that ``STORE_AWAY`` catches it. The work is tried again later.
* *conflict*: the rows that are stored do not allow the change. The caller decides.
* *mistake*: the statement or a value is wrong. Trying again does not help.
"""

from __future__ import annotations

import sqlite3
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError


class StoreFault(StrEnum):
    """What an error of the database means."""

    AWAY = "away"
    CONFLICT = "conflict"
    MISTAKE = "mistake"


_BY_SQLSTATE = {
    "08": StoreFault.AWAY,  # the connection
    "22": StoreFault.MISTAKE,  # a value
    "23": StoreFault.CONFLICT,  # a constraint
    "25006": StoreFault.AWAY,  # read-only: a standby, or a server that is being switched over
    "25P03": StoreFault.AWAY,  # the transaction was idle for too long, for example while the machine was frozen
    "25P04": StoreFault.AWAY,
    "3D": StoreFault.AWAY,  # the database or the schema is missing: it is being restored, or the URL is wrong
    "3F": StoreFault.AWAY,
    "40": StoreFault.AWAY,  # serialization failure, deadlock
    "42": StoreFault.MISTAKE,
    "42501": StoreFault.AWAY,  # a permission was taken away
    "42703": StoreFault.AWAY,  # a column or a table is missing: not migrated yet, or being restored
    "42P01": StoreFault.AWAY,
    "53": StoreFault.AWAY,  # disk, memory, connections
    "54": StoreFault.MISTAKE,  # too large or too complex
    "55": StoreFault.AWAY,  # a lock, or an object in use
    "57": StoreFault.AWAY,  # cancelled, shutting down, starting up
    "58": StoreFault.AWAY,  # the operating system, such as an I/O error
    "72": StoreFault.AWAY,
    "XX": StoreFault.AWAY,  # an internal error, or a damaged file
}
"""PostgreSQL's codes. The longest beginning of a code counts."""

_BY_SQLITE_MESSAGE = (
    ("no such table", StoreFault.AWAY),
    ("no such column", StoreFault.AWAY),
    ("has no column named", StoreFault.AWAY),
    ("readonly database", StoreFault.AWAY),
    ("disk i/o error", StoreFault.AWAY),
    ("is full", StoreFault.AWAY),
    ("is locked", StoreFault.AWAY),
    ("locking protocol", StoreFault.AWAY),
    ("unable to open", StoreFault.AWAY),
    ("is malformed", StoreFault.AWAY),
    ("not a database", StoreFault.AWAY),
    ("out of memory", StoreFault.AWAY),
    ("access permission denied", StoreFault.AWAY),
    ("interrupted", StoreFault.AWAY),
    ("constraint failed", StoreFault.CONFLICT),
    ("syntax error", StoreFault.MISTAKE),
    ("no such function", StoreFault.MISTAKE),
    ("wrong number of arguments", StoreFault.MISTAKE),
    ("too many", StoreFault.MISTAKE),
    ("too big", StoreFault.MISTAKE),
    ("mismatch", StoreFault.MISTAKE),
)
"""Parts of SQLite's messages, in lower case. The first that occurs counts."""

_CONNECTION_IS_SPOILT = ("08", "25006", "25P03", "25P04", "57P", "58", "XX")
_FILE_IS_SPOILT = ("readonly database", "disk i/o error", "unable to open", "is malformed", "not a database")
"""A connection that SQLite opened for a read-only file stays read-only."""


def judge_error(error: DBAPIError) -> StoreFault:
    """Return what an error of the database means. Pure. What is not listed is judged by its class."""
    code, message = _sqlstate(error), str(error.orig).lower()
    if code:
        for length in range(len(code), 1, -1):
            if code[:length] in _BY_SQLSTATE:
                return _BY_SQLSTATE[code[:length]]
    elif isinstance(error.orig, sqlite3.Error):
        for part, fault in _BY_SQLITE_MESSAGE:
            if part in message:
                return fault
    if isinstance(error, OperationalError | InterfaceError):
        return StoreFault.AWAY
    return StoreFault.MISTAKE


def spoils_connection(error: DBAPIError) -> bool:
    """Return whether the connections of the pool must not be used again. Pure.

    Otherwise a fleet would keep its connections to a server that is now a standby.
    """
    if code := _sqlstate(error):
        return code.startswith(_CONNECTION_IS_SPOILT)
    message = str(error.orig).lower()
    return isinstance(error.orig, sqlite3.Error) and any(part in message for part in _FILE_IS_SPOILT)


def unify_errors(engine: Engine) -> None:
    """Make the errors of this engine have the classes that the module's text names."""
    event.listen(engine, "handle_error", _unify, retval=True)


def _unify(context: Any) -> BaseException | None:
    error = context.sqlalchemy_exception
    if not isinstance(error, DBAPIError):
        return None
    if spoils_connection(error):
        context.is_disconnect = True
    fault = judge_error(error)
    if fault is StoreFault.AWAY and not isinstance(error, OperationalError | InterfaceError):
        return _as_class(OperationalError, error)
    if fault is StoreFault.MISTAKE and isinstance(error, OperationalError):
        return _as_class(ProgrammingError, error)
    return None


def _as_class(wanted: type[DBAPIError], error: DBAPIError) -> DBAPIError:
    assert error.orig is not None  # noqa: S101 - errors of a driver always have it
    return wanted(error.statement, error.params, error.orig, error.hide_parameters)


def _sqlstate(error: DBAPIError) -> str:
    """Return PostgreSQL's code; empty if the driver has none."""
    return getattr(error.orig, "sqlstate", None) or ""
