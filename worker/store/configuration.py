"""Configuration files that running processes found changed but cannot use, for `vtsync status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from worker.store.sql import insert
from worker.store.tables import configuration_problem

SHOWN_FOR = timedelta(minutes=5)
"""A process reports its problem every minute, so an older report comes from a process that has ended."""

c = configuration_problem.c


@dataclass(frozen=True, slots=True)
class UnusedConfiguration:
    """A changed configuration file that cannot be used; processes keep the configuration they had before."""

    place: str
    problem: str
    since: datetime


def note_problem(db: Connection, place: str, problem: str, now: datetime) -> None:
    """Record that a file cannot be used. ``place`` names the file and its machine."""
    statement = insert(db, configuration_problem)
    values = {"problem": problem, "seen_at": now}
    db.execute(
        statement.on_conflict_do_update(index_elements=["place"], set_=values), {"place": place, "since": now} | values
    )


def clear_problem(db: Connection, place: str) -> None:
    """Record that the file is in use again."""
    db.execute(delete(configuration_problem).where(c.place == place))


def unused_files(db: Connection, now: datetime) -> list[UnusedConfiguration]:
    """Return the files that running processes cannot use."""
    rows = db.execute(select(c.place, c.problem, c.since).where(c.seen_at > now - SHOWN_FOR).order_by(c.place))
    return [UnusedConfiguration(*row) for row in rows]
