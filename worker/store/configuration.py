"""Configuration files that processes found changed and could not use. For `vtsync status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from worker.store.sql import insert
from worker.store.tables import configuration_problem

SHOWN_FOR = timedelta(minutes=5)
"""A process that goes on without its file says so every minute; what is older was said by one that is gone."""

c = configuration_problem.c


@dataclass(frozen=True, slots=True)
class UnusedConfiguration:
    """A configuration file that was changed and cannot be used; processes go on with what it was before."""

    place: str
    problem: str
    since: datetime


def note_problem(db: Connection, place: str, problem: str, now: datetime) -> None:
    """A file (``place`` names it and its machine) cannot be used as it is now."""
    statement = insert(db, configuration_problem)
    words = {"problem": problem, "seen_at": now}
    db.execute(
        statement.on_conflict_do_update(index_elements=["place"], set_=words), {"place": place, "since": now} | words
    )


def clear_problem(db: Connection, place: str) -> None:
    """The file is in force."""
    db.execute(delete(configuration_problem).where(c.place == place))


def unused_files(db: Connection, now: datetime) -> list[UnusedConfiguration]:
    """Every file that a living process does without."""
    rows = db.execute(select(c.place, c.problem, c.since).where(c.seen_at > now - SHOWN_FOR).order_by(c.place))
    return [UnusedConfiguration(*row) for row in rows]
