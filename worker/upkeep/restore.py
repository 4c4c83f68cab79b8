"""Makes a store that was restored from a backup safe: nothing that was done since the backup is done again.

The restored store does not know what was sent after the backup. So every waiting text is held for a person, every
trigger takes the next complete sync as its baseline, past dates no longer fire, and contacts that may already exist in
VirtualText are looked up before they are created.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, not_, select, update

from worker.contacts.push_rows import PUSH_LEASE
from worker.core.states import MessageKind, MessageState, PushState
from worker.messages.states import Ground
from worker.messages.transitions import has_reason, move, reason_text
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.sql import any_of
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
_RESTORED = "the store was restored from a backup"


class FleetRuns(Exception):
    """Processes of the fleet are still running; the message names them."""


@dataclass(frozen=True, slots=True)
class RestoredAccount:
    """What was done for an account: texts held, and contacts that are looked up before they are created."""

    name: str
    texts_held: int
    contacts_looked_up: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done. ``known_until``: the time of the last event in the store; None: it is empty.

    ``connections`` are those whose next complete sync is a baseline. ``texts_held_before`` are held by an earlier run.
    """

    known_until: datetime | None
    texts_held: int
    triggers: int
    dates: int
    contacts_looked_up: int
    accounts: tuple[RestoredAccount, ...] = ()
    connections: tuple[str, ...] = ()
    texts_held_before: int = 0


class _Rehearsed(Exception):
    """Ends a transaction that must change nothing."""


def after_restore(runtime: Runtime, actor: str, now: datetime) -> Restored:
    """Make the restored store safe, in one transaction. Running it again changes nothing more.

    Raises FleetRuns while a process of the fleet is alive, because it could send texts in the meantime.
    """
    with writing(runtime.engine) as connection:
        done = _make_safe(connection, actor, now)
    forget_tick(runtime)  # after the commit: until then nothing has changed
    return done


def rehearse_restore(runtime: Runtime, actor: str, now: datetime) -> Restored:
    """Return what ``after_restore`` would do. Change nothing. Raises FleetRuns."""
    done = Restored(None, 0, 0, 0, 0)
    with contextlib.suppress(_Rehearsed), writing(runtime.engine) as connection:
        done = _make_safe(connection, actor, now)
        raise _Rehearsed
    return done


def _make_safe(connection: Connection, actor: str, now: datetime) -> Restored:
    _refuse_while_alive(connection, now)
    known_until = _known_until(connection)
    resume_accounts(connection)
    reason = _hold_reason(known_until)
    held_before = _held_by_restore(connection)
    held = _hold(connection, reason, held_before, actor, now)
    active = trigger_state.c.active_since.is_not(None)
    connections = connection.scalars(select(trigger_state.c.connection).where(active).distinct()).all()
    triggers = connection.execute(update(trigger_state).where(active).values(active_since=None)).rowcount
    past = update(date_plan).where(date_plan.c.due_at <= now).values(due_at=None, occurrence="")
    dates = connection.execute(past).rowcount
    looked_up = _look_up(connection, now)
    names = sorted({*held, *looked_up})
    return Restored(
        known_until=known_until,
        texts_held=held.total(),
        triggers=triggers,
        dates=dates,
        contacts_looked_up=looked_up.total(),
        accounts=tuple(RestoredAccount(name, held[name], looked_up[name]) for name in names),
        connections=tuple(sorted(connections)),
        texts_held_before=len(held_before),
    )


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


def _hold_reason(known_until: datetime | None) -> str:
    until = "" if known_until is None else f" that ends at {known_until:%Y-%m-%d %H:%M} UTC"
    return reason_text("approval", f"{_RESTORED}{until}; it may have been sent since")


def _held_by_restore(connection: Connection) -> list[str]:
    """Return the texts that an earlier run has held."""
    held = select(message.c.id, message.c.reason).where(message.c.state == MessageState.HELD, has_reason("approval"))
    ours = reason_text("approval", _RESTORED)
    return [row.id for row in connection.execute(held) if row.reason.startswith(ours)]


def _hold(connection: Connection, reason: str, held: list[str], actor: str, now: datetime) -> Counter[str]:
    """Hold every waiting text, including approved ones, because it may have been sent. Return how many by account.

    ``held`` are held by an earlier run.
    """
    batch = f"restored-{now:%Y%m%d-%H%M%S}"
    sends = (message.c.kind == MessageKind.SEND, not_(any_of(connection, message.c.id, held)))
    return Counter(
        one.account
        for before in (MessageState.HELD, MessageState.QUEUED)  # in this order: no text is held twice
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
    )


def _look_up(connection: Connection, now: datetime) -> Counter[str]:
    """Mark contacts that may exist in VirtualText as unknown, so that its list is read before any is created.

    Return how many by account.
    """
    connection.execute(update(account_state).values(listed_at=None))
    connection.execute(delete(remote_contact))
    c = contact.c
    not_there = (c.virtualtext_id.is_(None), c.push_state.in_((PushState.DUE, PushState.CREATING)))
    by_account = connection.execute(select(c.account, func.count()).where(*not_there).group_by(c.account)).all()
    unknown = {"push_state": PushState.UNKNOWN, "attempted_at": now, **PUSH_LEASE.released}
    connection.execute(update(contact).where(*not_there).values(**unknown))
    return Counter({account: count for account, count in by_account})  # noqa: C416 - Row is no tuple for mypy
