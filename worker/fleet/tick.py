"""The tick: starts what is due by schedule, and finds work that was left behind by whatever went wrong."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, and_, or_, select

from config.models import Settings
from worker.core.states import DeliveryState, InboxState, MessageKind, MessageState, PushState
from worker.fleet.schedule import abandoned, claim_due
from worker.messages.claims import expire_leases
from worker.messages.date_plans import fire_due_dates
from worker.messages.decisions import reconsider
from worker.messages.expiry import expire_messages
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, reading, writing
from worker.store.models import utcnow
from worker.store.tables import carrier_state, contact, delivery, inbox_event, message, public_event
from worker.upkeep.retention import pruning_due

log = structlog.get_logger(__name__)


class Hint(NamedTuple):
    """There may be work: the task to tell, and what it is about: an account, or a connection and its slot."""

    task: str
    arguments: tuple[str, ...]


def tick(runtime: Runtime) -> list[Hint]:
    """Claim due schedules, settle what vanished workers left, and say where there is work.

    A part that fails is said in the log and costs the others nothing. Raises where the store cannot be used.
    """
    now = utcnow()
    hints: list[Hint] = []
    for part in (_fire_dates, _ask_policy_again, _settle, _start_schedules, _find_work):
        try:
            hints += part(runtime, now)
        except STORE_AWAY:
            raise
        except Exception:
            log.exception("a part of the tick failed; the others go on", part=part.__name__.strip("_"))
    return hints


def _fire_dates(runtime: Runtime, now: datetime) -> list[Hint]:
    fire_due_dates(runtime, now)
    return []


def _ask_policy_again(runtime: Runtime, _now: datetime) -> list[Hint]:
    reconsider(runtime)
    return []


def _settle(runtime: Runtime, now: datetime) -> list[Hint]:
    """What vanished workers left, and what is too late."""
    with writing(runtime.engine) as db:
        expire_leases(db, now)
        expire_messages(db, now)
    return []


def _start_schedules(runtime: Runtime, now: datetime) -> list[Hint]:
    """Connections that are due, and those whose reader has vanished."""
    with writing(runtime.engine) as db:
        slots = claim_due(db, runtime.settings, now)
        due = {slot.connection for slot in slots}
        left = [name for name in abandoned(db, runtime.settings, now) if name not in due]
    hints = [Hint("vtsync.run_sync", (slot.connection, slot.claimed_until.isoformat())) for slot in slots]
    return hints + [Hint("vtsync.run_sync", (name,)) for name in left]


def _find_work(runtime: Runtime, now: datetime) -> list[Hint]:
    """Rows that are due."""
    hints = []
    with reading(runtime.engine) as db:
        for account in runtime.settings.accounts:
            if _contacts_wait(db, account):
                hints.append(Hint("vtsync.push_contacts", (account,)))
            for kind, task in (
                (MessageKind.SEND, "vtsync.deliver_messages"),
                (MessageKind.RECORD, "vtsync.record_messages"),
            ):
                if _messages_wait(db, account, kind):
                    hints.append(Hint(task, (account,)))
        if _inbox_waits(db, now):
            hints.append(Hint("vtsync.process_inbox", ()))
        if _events_wait(db, now):
            hints.append(Hint("vtsync.forward_events", ()))
        if _polls_wait(db, runtime.settings, now):
            hints.append(Hint("vtsync.poll_carriers", ()))
        if pruning_due(db, now):
            hints.append(Hint("vtsync.prune", ()))
    return hints


def _contacts_wait(db: Connection, account: str) -> bool:
    now = utcnow()
    c = contact.c
    due = and_(c.push_state == PushState.DUE, c.next_attempt_at <= now)
    lapsed = and_(c.push_state.in_((PushState.CREATING, PushState.UPDATING)), c.lease_until < now)
    waits = or_(due, lapsed, c.push_state == PushState.UNKNOWN)
    return db.scalar(select(c.id).where(c.account == account, waits).limit(1)) is not None


def _messages_wait(db: Connection, account: str, kind: MessageKind) -> bool:
    now = utcnow()
    m = message.c
    free = or_(m.lease_until.is_(None), m.lease_until <= now)
    due = and_(m.state == MessageState.QUEUED, m.due_at <= now, free)
    return db.scalar(select(m.id).where(m.account == account, m.kind == kind, due).limit(1)) is not None


def _inbox_waits(db: Connection, now: datetime) -> bool:
    e = inbox_event.c
    free = or_(e.lease_until.is_(None), e.lease_until <= now)
    return db.scalar(select(e.id).where(e.state == InboxState.NEW, e.due_at <= now, free).limit(1)) is not None


def _events_wait(db: Connection, now: datetime) -> bool:
    """Something happened that is not handed out yet, or somebody is still to be told."""
    f = delivery.c
    due = and_(f.state == DeliveryState.DUE, f.due_at <= now)
    left = and_(f.state == DeliveryState.SENDING, f.lease_until <= now)
    return (
        db.scalar(select(public_event.c.id).limit(1)) is not None
        or db.scalar(select(f.id).where(or_(due, left)).limit(1)) is not None
    )


def _polls_wait(db: Connection, settings: Settings, now: datetime) -> bool:
    """Some carrier's list of sent texts is to be read."""
    polled = [name for name, carrier in settings.carriers.items() if carrier.poll_every is not None]
    if not polled:
        return False
    s = carrier_state.c
    later = select(s.name).where(s.name.in_(polled), or_(s.next_poll_at > now, s.lease_until > now))
    return len(db.scalars(later).all()) < len(polled)
