"""Makes a sync due because the CRM reported a change."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, or_, select, update

from config.models import Settings
from worker.store.db import reading, writing
from worker.store.sql import insert
from worker.store.tables import connection_state

EVENT_GAP = timedelta(seconds=30)
"""The shortest time between the starts of two runs that events call for."""

c = connection_state.c


def make_due(engine: Engine, settings: Settings, connection: str, now: datetime) -> bool:
    """Make the connection's next run due now, or ``EVENT_GAP`` after the last one began. Return True if it was later.

    A run that begins within ``worker.lease`` anyway is not moved: a worker may be starting it, and a storm of events
    would take the slot from it again and again. While the connection is paused, waits or is stopped, the run stays due.
    """
    this = c.connection == connection
    with reading(engine) as db:
        began = db.scalar(select(c.started_at).where(this))
        due = now if began is None else max(now, began + EVENT_GAP)
        is_later = or_(c.next_run_at.is_(None), c.next_run_at > due + settings.worker.lease)
        if db.scalar(select(is_later).where(this)) is False:  # most events of a storm need not write
            return False
    with writing(engine) as db:
        row = {"connection": connection, "next_run_at": due}
        new = insert(db, connection_state).on_conflict_do_nothing(index_elements=["connection"])
        if db.execute(new, row).rowcount == 1:
            return True
        return db.execute(update(connection_state).where(this, is_later).values(next_run_at=due)).rowcount == 1
