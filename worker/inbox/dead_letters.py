"""Dead letters: messages of the broker that were refused, with the reason and without their content."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, select

from worker.core.shown import require_as_shown
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import dead_letter


class RefusedMessage(NamedTuple):
    """What is told about a refused message. ``key`` is its fingerprint."""

    key: str
    queue: str
    task: str
    message_id: str
    reason: str
    size: int


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter as `vtsync dead-letters` shows it."""

    id: str
    queue: str
    task: str
    message_id: str
    reason: str
    size: int
    first_at: datetime
    last_at: datetime
    times: int


def set_message_aside(runtime: Runtime, refused: RefusedMessage) -> None:
    """Store a dead letter. The same message again only counts."""
    now = utcnow()
    row = refused._asdict()
    with writing(runtime.engine) as db:
        statement = insert(db, dead_letter).values(id=row.pop("key"), first_at=now, last_at=now, times=1, **row)
        again = {"last_at": now, "times": dead_letter.c.times + 1}
        db.execute(statement.on_conflict_do_update(index_elements=["id"], set_=again))


def dead_letters(runtime: Runtime, limit: int) -> list[DeadLetterView]:
    """Return the dead letters, the latest first."""
    with reading(runtime.engine) as db:
        rows = db.execute(select(dead_letter).order_by(dead_letter.c.last_at.desc(), dead_letter.c.id).limit(limit))
        return [DeadLetterView(**row._mapping) for row in rows]


def count_dead_letters(runtime: Runtime) -> int:
    """Return how many dead letters there are."""
    with reading(runtime.engine) as db:
        return db.scalar(select(func.count()).select_from(dead_letter)) or 0


def clear_dead_letters(runtime: Runtime, *, shown: int | None = None, until: datetime | None = None) -> int:
    """Delete dead letters, and return how many.

    ``shown``: how many the person was shown; where more match, none is deleted. ``until``: the newest that they were
    shown; those that came later, or again, stay. Raises NotAsShown.
    """
    old = [] if until is None else [dead_letter.c.last_at <= until]
    with writing(runtime.engine) as db:
        count = db.execute(delete(dead_letter).where(*old)).rowcount
        require_as_shown(count, shown, "dead letter")
        return count
