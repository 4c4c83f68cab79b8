"""The tick: starts what is due by schedule, and finds work that was left behind for any reason."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, or_, update

from worker.fleet.schedule import abandoned, claim_due
from worker.messages.claims import expire_leases
from worker.messages.date_plans import fire_due_dates
from worker.messages.expiry import expire_messages
from worker.messages.holds import reconsider
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, reading, writing
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import maintenance_lock
from worker.work.registry import SYNC, WORK, TaskCall

_LOCK = "tick"

log = structlog.get_logger(__name__)


def begin_tick(db: Connection, every: timedelta, now: datetime) -> bool:
    """Return whether a tick should run now: not if another one began less than half an interval ago.

    A backlog of ticks ends here. Ticks do not expire in the broker, because that compares the clocks of two machines.
    """
    lock = maintenance_lock.c
    db.execute(insert(db, maintenance_lock).values(name=_LOCK).on_conflict_do_nothing())
    # A time beyond the interval was stored before somebody set the store's clock back.
    due = or_(lock.next_run_at.is_(None), lock.next_run_at <= now, lock.next_run_at > now + every)
    begun = update(maintenance_lock).where(lock.name == _LOCK, due).values(next_run_at=now + every / 2)
    return db.execute(begun).rowcount == 1


def tick(runtime: Runtime) -> list[TaskCall]:
    """Run the steps of a tick and return the tasks that have work.

    One failing step is logged and does not stop the others. Raises if the store cannot be used.
    """
    now = utcnow()
    calls: list[TaskCall] = []
    for step in (_fire_dates, _reconsider_holds, _expire, _start_syncs, _find_work):
        try:
            calls += step(runtime, now)
        except STORE_AWAY:
            raise
        except Exception:
            log.exception("a step of the tick failed; the other steps continue", step=step.__name__.strip("_"))
    return calls


def _fire_dates(runtime: Runtime, now: datetime) -> list[TaskCall]:
    fire_due_dates(runtime, now)
    return []


def _reconsider_holds(runtime: Runtime, _now: datetime) -> list[TaskCall]:
    reconsider(runtime)
    return []


def _expire(runtime: Runtime, now: datetime) -> list[TaskCall]:
    """End the leases of workers that vanished, and expire messages that are too late."""
    with writing(runtime.engine) as db:
        expire_leases(db, now)
        expire_messages(db, now)
    return []


def _start_syncs(runtime: Runtime, now: datetime) -> list[TaskCall]:
    """Claim the connections that are due, and find those whose worker has vanished."""
    with writing(runtime.engine) as db:
        slots = claim_due(db, runtime.settings, now)
        due = {slot.connection for slot in slots}
        left = [name for name in abandoned(db, runtime.settings, now) if name not in due]
    calls = [TaskCall(SYNC.task, (slot.connection, slot.claimed_until.isoformat())) for slot in slots]
    return calls + [TaskCall(SYNC.task, (name,)) for name in left]


def _find_work(runtime: Runtime, _now: datetime) -> list[TaskCall]:
    """Find rows that are due, including those that the previous steps made due."""
    now = utcnow()
    with reading(runtime.engine) as db:
        return [call for kind in WORK for call in kind.waiting(db, runtime.settings, now)]
