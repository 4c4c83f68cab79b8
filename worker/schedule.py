"""When connections are due. The next run is a column in the store, claimed by a conditional update.

So two schedulers, or a backlog of ticks, start nothing twice; a missed slot runs once; and a schedule that changes in
the configuration counts from the next tick on.
"""

from __future__ import annotations

from datetime import UTC, datetime

from celery.schedules import crontab
from sqlalchemy import Connection, and_, select, update

from config.models import Settings
from config.types import parse_duration
from worker.store.sql import insert
from worker.store.tables import connection_state

c = connection_state.c


def next_run(schedule: str, after: datetime) -> datetime:
    """The first time after ``after``: a duration ("15m") later, or by a cron line in UTC. Pure."""
    fields = schedule.split()
    if len(fields) != 5:
        return after + parse_duration(schedule)
    minute, hour, day, month, weekday = fields
    line = crontab(minute, hour, day_of_month=day, month_of_year=month, day_of_week=weekday, nowfun=lambda: after)
    line.tz = UTC
    wait: datetime = after + line.remaining_estimate(after)
    return wait.replace(microsecond=0)


def claim_due(db: Connection, settings: Settings, now: datetime) -> list[str]:
    """The connections that are due, each claimed by this call and no other; their next run is set."""
    due = []
    for name, connection in settings.connections.items():
        if not connection.enabled:
            continue
        _note_schedule(db, name, connection.schedule, now)
        following = next_run(connection.schedule, now) if connection.schedule else None
        waiting = and_(c.connection == name, c.next_run_at <= now)
        if db.execute(update(connection_state).where(waiting).values(next_run_at=following)).rowcount == 1:
            due.append(name)
    return due


def abandoned(db: Connection, settings: Settings, now: datetime) -> list[str]:
    """Connections whose run was left open by a worker that vanished."""
    rows = db.scalars(select(c.connection).where(c.run_id.is_not(None), c.lease_until < now))
    return [name for name in rows if name in settings.connections and settings.connections[name].enabled]


def _note_schedule(db: Connection, name: str, schedule: str | None, now: datetime) -> None:
    """Remember the schedule; a new connection is due at once, a changed schedule counts from now."""
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
