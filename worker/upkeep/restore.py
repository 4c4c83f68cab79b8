"""Makes a store that was restored from a backup safe: nothing that was done since the backup is done again.

The restored store does not know what was sent after the backup. So every waiting text is held for a person, every
trigger takes the next complete sync as its baseline, past dates no longer fire, and contacts that may already exist in
VirtualText are looked up before they are created.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update

from worker.contacts.push_rows import PUSH_LEASE
from worker.core.states import MessageKind, MessageState, PushState
from worker.messages.states import Ground
from worker.messages.transitions import move, reason_text
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.tables import (
    account_state,
    contact,
    date_plan,
    heartbeat,
    message,
    message_event,
    remote_contact,
    sync_run,
    trigger_state,
)
from worker.upkeep.rollback_guard import forget_tick, resume_accounts

SILENT = timedelta(seconds=90)
"""A process without a heartbeat for this long is not running."""


class FleetRuns(Exception):
    """Processes of the fleet are still running; the message names them."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done. ``known_until``: the time of the last event in the store; None: it is empty."""

    known_until: datetime | None
    texts_held: int
    triggers: int
    dates: int
    contacts_looked_up: int


def after_restore(runtime: Runtime, actor: str, now: datetime) -> Restored:
    """Make the restored store safe, in one transaction. Running it again changes nothing more.

    Raises FleetRuns while a process of the fleet is alive, because it could send texts in the meantime.
    """
    with writing(runtime.engine) as connection:
        _refuse_while_alive(connection, now)
        known_until = _known_until(connection)
        resume_accounts(connection)
        done = Restored(
            known_until=known_until,
            texts_held=_hold(connection, known_until, actor, now),
            triggers=connection.execute(
                update(trigger_state).where(trigger_state.c.active_since.is_not(None)).values(active_since=None)
            ).rowcount,
            dates=connection.execute(
                update(date_plan).where(date_plan.c.due_at <= now).values(due_at=None, occurrence="")
            ).rowcount,
            contacts_looked_up=_look_up(connection, now),
        )
    forget_tick(runtime)  # after the commit: until then nothing has changed
    return done


def _refuse_while_alive(connection: Connection, now: datetime) -> None:
    alive = select(heartbeat.c.id).where(heartbeat.c.role != "tick", heartbeat.c.seen_at > now - SILENT)
    names = connection.scalars(alive.order_by(heartbeat.c.id)).all()
    if names:
        raise FleetRuns(
            f"{', '.join(names)} still run, or did a minute ago; stop every worker, scheduler and HTTP API first"
        )


def _known_until(connection: Connection) -> datetime | None:
    last = (func.max(heartbeat.c.seen_at), func.max(message_event.c.at), func.max(sync_run.c.started_at))
    return max((at for one in last if (at := connection.scalar(select(one))) is not None), default=None)


def _hold(connection: Connection, known_until: datetime | None, actor: str, now: datetime) -> int:
    """Hold every waiting text, including approved ones, because it may have been sent."""
    until = "" if known_until is None else f" that ends at {known_until:%Y-%m-%d %H:%M} UTC"
    reason = reason_text("approval", f"the store was restored from a backup{until}; it may have been sent since")
    batch = f"restored-{now:%Y%m%d-%H%M%S}"
    sends = (message.c.kind == MessageKind.SEND, message.c.reason != reason)
    held = [
        one.id
        for before in (MessageState.QUEUED, MessageState.HELD)
        for one in move(
            connection,
            before,
            MessageState.HELD,
            *sends,
            ground=Ground.PERSON,
            reason=reason,
            actor=actor,
            now=now,
            approved_at=None,
            batch_id=func.coalesce(message.c.batch_id, batch),
        )
    ]
    return len(held)


def _look_up(connection: Connection, now: datetime) -> int:
    """Mark contacts that may exist in VirtualText as unknown, so that its list is read before any is created."""
    connection.execute(update(account_state).values(listed_at=None))
    connection.execute(delete(remote_contact))
    c = contact.c
    not_there = (c.virtualtext_id.is_(None), c.push_state.in_((PushState.DUE, PushState.CREATING)))
    unknown = {"push_state": PushState.UNKNOWN, "attempted_at": now, **PUSH_LEASE.released}
    return connection.execute(update(contact).where(*not_there).values(**unknown)).rowcount
