"""The schedules of connections. The next run is a column in the store, claimed by a conditional update.

So two schedulers, or a backlog of ticks, start nothing twice, a missed slot runs once, and a changed schedule applies
from the next tick. A claim only reserves the slot; the slot counts as run when a worker starts it. If no worker does,
because the task was lost, the slot is claimed again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from celery.schedules import crontab
from sqlalchemy import Connection, and_, select, update

from config.models import Settings
from config.types import parse_duration
from worker.contacts.lease import CONNECTION_LEASE
from worker.store.sql import insert
from worker.store.tables import connection_state

c = connection_state.c


def next_run(schedule: str, after: datetime) -> datetime:
    """Return the first run after ``after``: a duration ("15m") later, or by a cron line in UTC. Pure."""
    fields = schedule.split()
    if len(fields) != 5:
        return after + parse_duration(schedule)
    minute, hour, day, month, weekday = fields
    line = crontab(minute, hour, day_of_month=day, month_of_year=month, day_of_week=weekday, nowfun=lambda: after)
    line.tz = UTC
    wait: datetime = after + line.remaining_estimate(after)
    return wait.replace(microsecond=0)


class Slot(NamedTuple):
    """One due run of a connection. ``claimed_until`` identifies the claim: the slot starts only if it is unchanged."""

    connection: str
    claimed_until: datetime


def claim_due(db: Connection, settings: Settings, now: datetime) -> list[Slot]:
    """Claim the slots that are due, for as long as a task needs to reach a worker."""
    due = []
    until = now + settings.worker.lease
    for name, connection in settings.connections.items():
        if not connection.enabled:
            continue
        _note_schedule(db, name, connection.schedule, now)
        waiting = and_(c.connection == name, c.next_run_at <= now)
        if db.execute(update(connection_state).where(waiting).values(next_run_at=until)).rowcount == 1:
            due.append(Slot(name, until))
    return due


def start_slot(db: Connection, settings: Settings, slot: Slot, now: datetime) -> bool:
    """Count the slot as run and set the next one. Return False if another worker started it, or it is no longer due."""
    schedule = settings.connections[slot.connection].schedule
    following = next_run(schedule, now) if schedule else None
    return _move_slot(db, slot, following)


def put_back_slot(db: Connection, slot: Slot, now: datetime) -> None:
    """Make the slot due again at the next tick, because this worker has no free thread for it."""
    _move_slot(db, slot, now)


def _move_slot(db: Connection, slot: Slot, next_run_at: datetime | None) -> bool:
    mine = and_(c.connection == slot.connection, c.next_run_at == slot.claimed_until)
    return db.execute(update(connection_state).where(mine).values(next_run_at=next_run_at)).rowcount == 1


def abandoned(db: Connection, settings: Settings, now: datetime) -> list[str]:
    """Return the connections whose run was left open by a worker that vanished."""
    rows = db.scalars(select(c.connection).where(c.run_id.is_not(None), CONNECTION_LEASE.has_ended(now)))
    return [name for name in rows if name in settings.connections and settings.connections[name].enabled]


def _note_schedule(db: Connection, name: str, schedule: str | None, now: datetime) -> None:
    """Store the schedule. A new connection is due at once, a changed schedule counts from now."""
    known = db.execute(select(c.schedule).where(c.connection == name)).first()
    if known is None:
        row = {"connection": name, "schedule": schedule, "next_run_at": now if schedule else None}
        db.execute(insert(db, connection_state).on_conflict_do_nothing(index_elements=["connection"]), row)
    elif known.schedule != schedule:
        never = known.schedule is None
        following = None if schedule is None else now if never else next_run(schedule, now)
        db.execute(
            update(connection_state).where(c.connection == name).values(schedule=schedule, next_run_at=following)
        )
