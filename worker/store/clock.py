"""Measures the store's clock, by which the whole fleet goes (``worker.core.clock``).

PostgreSQL is asked for its time. An SQLite file has no server, so the clock of its file system takes that place: the
time that the operating system gives to a file that was just written. All processes that share the store share that
clock too, even when their own ones differ, as in containers and virtual machines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, text

from worker.core.clock import CLOCK, Measured, file_system_seconds, steady_seconds

LOOKS = 3
"""The quickest answer of so many is the most exact one."""
FILE_ERROR_SECONDS = 0.02
"""The operating system moves the time of files on with its own timer, up to a hundredth of a second late."""


def follow_store_clock(connection: Connection) -> None:
    """Measure the store's clock if it is time to. Call it before the connection begins a transaction.

    Raises the errors of SQLAlchemy. While the store cannot be reached, the last measurement holds.
    """
    if not CLOCK.is_due():
        return
    if connection.dialect.name == "postgresql":
        CLOCK.follow(_measured(lambda: connection.execute(_NOW).scalar_one().timestamp()))
        connection.rollback()
    elif database := connection.engine.url.database:
        with suppress(OSError), tempfile.TemporaryFile(dir=Path(database).absolute().parent, buffering=0) as file:
            measured = _measured(lambda: file_system_seconds(file.fileno()))
            CLOCK.follow(Measured(measured.ahead, measured.error + FILE_ERROR_SECONDS))


_NOW = text("SELECT clock_timestamp()")


def _measured(look: Callable[[], float]) -> Measured:
    """Return the best of some looks at a clock. The true time of a look lies between our asking and the answer."""
    found = []
    for _ in range(LOOKS):
        asked = steady_seconds()
        theirs = look()
        answered = steady_seconds()
        found.append(Measured(theirs - (asked + answered) / 2, (answered - asked) / 2))
    return min(found, key=lambda one: one.error)
