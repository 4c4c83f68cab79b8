"""What people have paused: connections, which are not read, and triggers, whose texts are held. One row for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, exists, select

from worker.core.states import PauseKind
from worker.store.sql import insert
from worker.store.tables import pause


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when something is paused, by whom and why. ``reason`` may be empty."""

    since: datetime
    actor: str
    reason: str

    def __str__(self) -> str:
        """Return it for a person: ``paused since 2027-03-01 14:30 UTC by ana (the CRM is moved)``."""
        why = f" ({self.reason})" if self.reason else ""
        return f"paused since {self.since:%Y-%m-%d %H:%M} UTC by {self.actor}{why}"


# Built once, because it is read before every text of a trigger, and building a statement takes as long as running it.
_FIND = select(pause).where(pause.c.kind == bindparam("kind"), pause.c.name == bindparam("name"))


def find_pause(connection: Connection, kind: PauseKind, name: str) -> Pause | None:
    """Return the pause of this connection or trigger; None: it is not paused."""
    row = connection.execute(_FIND, {"kind": kind, "name": name}).first()
    return None if row is None else _read(row)


def all_pauses(connection: Connection, kind: PauseKind) -> Mapping[str, Pause]:
    """Return everything of this kind that is paused, by name, also what is not configured any more."""
    rows = connection.execute(select(pause).where(pause.c.kind == kind).order_by(pause.c.name))
    return {row.name: _read(row) for row in rows}


def is_paused(kind: PauseKind, name: ColumnElement[str] | str) -> ColumnElement[bool]:
    """Return the condition for rows whose connection or trigger is paused."""
    return exists().where(pause.c.kind == kind, pause.c.name == name)


def add_pause(
    connection: Connection, kind: PauseKind, name: str, *, reason: str, actor: str, now: datetime
) -> Pause | None:
    """Store that something is paused, and return the pause. None: it was paused before, and that pause stays."""
    row = {"kind": kind, "name": name, "since": now, "actor": actor[:80], "reason": reason}
    stored = insert(connection, pause).values(row).on_conflict_do_nothing().returning(pause.c.name)
    return None if connection.execute(stored).first() is None else Pause(now, actor[:80], reason)


def end_pause(connection: Connection, kind: PauseKind, name: str) -> Pause | None:
    """Delete a pause and return it. None: there was none."""
    found = find_pause(connection, kind, name)
    connection.execute(delete(pause).where(pause.c.kind == kind, pause.c.name == name))
    return found


def _read(row: Row[tuple[object, ...]]) -> Pause:
    return Pause(row.since, row.actor, row.reason)
