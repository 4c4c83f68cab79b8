"""The state of every trigger, for `vtsync triggers list`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from worker.core.states import MessageState, PauseKind
from worker.messages.trigger_history import DAY, texts_of
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.pauses import Pause, all_pauses
from worker.store.tables import date_plan, message, trigger_state
from worker.triggers.rules import compile_rules


@dataclass(frozen=True, slots=True)
class TriggerStatus:
    """One trigger on one connection.

    ``state``: ``active``, ``paused``, ``waits for baseline`` or ``off``. ``held``: its texts that wait for a person.
    ``planned``: how many records have a coming date, and ``next_at`` the first of them. The counts are of all
    connections.
    """

    trigger: str
    on: str
    connection: str
    state: str
    active_since: datetime | None
    last_made_at: datetime | None
    texts_today: int
    held: int
    planned: int
    next_at: datetime | None
    pause: Pause | None = None


def trigger_overview(runtime: Runtime) -> list[TriggerStatus]:
    """Read the state of all configured triggers."""
    settings, now = runtime.settings, utcnow()
    rules = {(rule.name, name): rule for name, several in compile_rules(settings).items() for rule in several}
    found = []
    with reading(runtime.engine) as db:
        pauses = all_pauses(db, PauseKind.TRIGGER)
        for name, trigger in settings.triggers.items():
            last, today, held = _texts(db, name, now)
            for connection in dict.fromkeys(trigger.connections):
                rule = rules.get((name, connection))
                since = _active_since(db, name, connection, "" if rule is None else rule.fingerprint)
                planned, next_at = _planned(db, name, connection)
                waits = rule is not None and not rule.planned_by_date and since is None
                pause = pauses.get(name)
                running = "active" if pause is None else "paused"
                state = "off" if rule is None else "waits for baseline" if waits else running
                status = (name, trigger.on, connection, state, since, last, today, held, planned, next_at, pause)
                found.append(TriggerStatus(*status))
    return found


def _texts(db: Connection, trigger: str, now: datetime) -> tuple[datetime | None, int, int]:
    m = message.c
    last = db.scalar(select(func.max(m.created_at)).where(m.trigger == trigger))
    today = select(func.count()).where(*texts_of(trigger, rehearsed=True), m.created_at > now - DAY)
    # Few texts are held, and many have this trigger: the index over the triggers is kept out of it.
    held = select(func.count()).where(func.coalesce(m.trigger, "") == trigger, m.state == MessageState.HELD)
    return last, db.scalar(today) or 0, db.scalar(held) or 0


def _active_since(db: Connection, trigger: str, connection: str, fingerprint: str) -> datetime | None:
    t = trigger_state.c
    mine = (t.trigger == trigger, t.connection == connection, t.fingerprint == fingerprint)
    found: datetime | None = db.scalar(select(t.active_since).where(*mine))
    return found


def _planned(db: Connection, trigger: str, connection: str) -> tuple[int, datetime | None]:
    p = date_plan.c
    mine = (p.trigger == trigger, p.connection == connection, p.due_at.is_not(None))
    row = db.execute(select(func.count(), func.min(p.due_at)).where(*mine)).one()
    return int(row[0]), row[1]
