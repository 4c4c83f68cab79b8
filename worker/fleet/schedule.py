"""The schedules of connections. The next run is a column in the store, claimed by a conditional update.

So two schedulers, or a backlog of ticks, start nothing twice, a missed slot runs once, and a changed schedule applies
from the next tick. A claim only reserves the slot; the slot counts as run when a worker starts it. If no worker does,
because the task was lost, the slot is claimed again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from celery.schedules import crontab
from sqlalchemy import ColumnElement, Connection, and_, not_, or_, select, update

from config.models import Settings
from config.types import parse_duration
from worker.contacts.lease import CONNECTION_LEASE
from worker.core.states import PauseKind
from worker.store.pauses import is_paused
from worker.store.sql import insert
from worker.store.tables import connection_state

c = connection_state.c
_NOT_PAUSED = not_(is_paused(PauseKind.CONNECTION, c.connection))


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
    """Claim the slots that are due, for as long as a task needs to reach a worker.

    The connection whose last run began longest ago is first, so that slow ones do not keep others from running. While
    a connection is paused, or waits because its CRM asked for that or rejected the credentials, its slots stay due.
    """
    until = now + settings.worker.lease
    enabled = {name: connection for name, connection in settings.connections.items() if connection.enabled}
    for name, connection in enabled.items():
        _note_schedule(db, name, connection.schedule, now, settings.worker.lease)
    waited = or_(c.waits_until.is_(None), c.waits_until <= now)
    # A slot that is due during a run, because the CRM has called, waits until that run has ended: it may be wanted for
    # a change that the run has already passed.
    ready = (c.next_run_at <= now, waited, CONNECTION_LEASE.is_free(now), _NOT_PAUSED)
    order = (c.started_at.is_not(None), c.started_at, c.connection)
    due = [name for name in db.scalars(select(c.connection).where(*ready).order_by(*order)) if name in enabled]
    claim = update(connection_state).values(next_run_at=until)
    return [Slot(name, until) for name in due if db.execute(claim.where(c.connection == name, *ready)).rowcount == 1]


def start_slot(db: Connection, settings: Settings, slot: Slot, now: datetime) -> bool:
    """Count the slot as run and set the next one. Return False if another worker started it, or it is no longer due.

    While another run is in progress, or the connection is paused, the slot stays claimed, and is due again when the
    claim ends.
    """
    schedule = settings.connections[slot.connection].schedule
    following = next_run(schedule, now) if schedule else None
    # The run begins here, and not only when it holds the connection: events in between must not make another one due.
    return _move_slot(db, slot, CONNECTION_LEASE.is_free(now), _NOT_PAUSED, next_run_at=following, started_at=now)


def put_back_slot(db: Connection, slot: Slot, now: datetime) -> None:
    """Make the slot due again at the next tick, because this worker has no free thread for it."""
    _move_slot(db, slot, next_run_at=now)


def _move_slot(db: Connection, slot: Slot, *where: ColumnElement[bool], **values: datetime | None) -> bool:
    mine = and_(c.connection == slot.connection, c.next_run_at == slot.claimed_until, *where)
    return db.execute(update(connection_state).where(mine).values(values)).rowcount == 1


def abandoned(db: Connection, settings: Settings, now: datetime) -> list[str]:
    """Return the connections whose run was left open by a worker that vanished, except those that are paused."""
    left = (c.run_id.is_not(None), CONNECTION_LEASE.has_ended(now), _NOT_PAUSED)
    rows = db.scalars(select(c.connection).where(*left))
    return [name for name in rows if name in settings.connections and settings.connections[name].enabled]


def _note_schedule(db: Connection, name: str, schedule: str | None, now: datetime, claim: timedelta) -> None:
    """Store the schedule. A new connection is due at once, a changed schedule counts from now.

    ``claim`` is how long a claimed slot is reserved.
    """
    known = db.execute(select(c.schedule, c.next_run_at).where(c.connection == name)).first()
    if known is None:
        row = {"connection": name, "schedule": schedule, "next_run_at": now if schedule else None}
        db.execute(insert(db, connection_state).on_conflict_do_nothing(index_elements=["connection"]), row)
    elif known.schedule != schedule:
        never = known.schedule is None
        following = None if schedule is None else now if never else next_run(schedule, now)
        db.execute(
            update(connection_state).where(c.connection == name).values(schedule=schedule, next_run_at=following)
        )
    elif (
        schedule
        and known.next_run_at
        and known.next_run_at > now + claim
        and known.next_run_at > (following := next_run(schedule, now))
    ):  # it was stored before somebody set the store's clock back
        db.execute(update(connection_state).where(c.connection == name).values(next_run_at=following))
