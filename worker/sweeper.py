"""The tick: starts what is due by schedule, and finds work that was left behind by whatever went wrong."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, and_, or_, select

from worker.messages.claims import expire_leases
from worker.messages.expiry import expire_messages
from worker.runtime import Runtime
from worker.schedule import abandoned, claim_due
from worker.store.db import writing
from worker.store.models import MessageKind, MessageState, PushState, utcnow
from worker.store.tables import contact, message


class Hint(NamedTuple):
    """There may be work: the task to tell, and what it is about: an account, or a connection and its slot."""

    task: str
    arguments: tuple[str, ...]


def tick(runtime: Runtime) -> list[Hint]:
    """Claim due schedules, settle what vanished workers left, and say where there is work."""
    now = utcnow()
    with writing(runtime.engine) as db:
        expire_leases(db, now)
        expire_messages(db, now)
        slots = claim_due(db, runtime.settings, now)
        hints = [Hint("vtsync.run_sync", (slot.connection, slot.claimed_until.isoformat())) for slot in slots]
        due = {slot.connection for slot in slots}
        left = [name for name in abandoned(db, runtime.settings, now) if name not in due]
        hints += [Hint("vtsync.run_sync", (name,)) for name in left]
        for account in runtime.settings.accounts:
            if _contacts_wait(db, account):
                hints.append(Hint("vtsync.push_contacts", (account,)))
            for kind, task in (
                (MessageKind.SEND, "vtsync.deliver_messages"),
                (MessageKind.RECORD, "vtsync.record_messages"),
            ):
                if _messages_wait(db, account, kind):
                    hints.append(Hint(task, (account,)))
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
