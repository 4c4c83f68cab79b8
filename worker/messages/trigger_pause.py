"""Pause and resume a trigger. While it is paused, its texts are held, and none of them begins.

The transaction in which a text begins shares the lock of its trigger, and a pause takes the lock alone. So what has not
begun when the pause commits finds the pause. Resuming sends nothing: the held texts wait until a person approves or
cancels them, or until they expire.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, or_, select

from worker.core.states import MessageKind, MessageState, PauseKind
from worker.messages.states import Ground
from worker.messages.transitions import has_reason, move, reason_text
from worker.store.pauses import Pause, add_pause, end_pause, find_pause
from worker.store.sql import lock_account, share_lock
from worker.store.tables import message

PAUSED = "paused"
"""The code of the reason for which the texts of a paused trigger are held."""
APPROVABLE = ("approval", "breaker", PAUSED)
"""The codes of the reasons for which a held text waits for an approval. Other held texts wait for something else."""


@dataclass(frozen=True, slots=True)
class PausedTrigger:
    """A paused trigger. ``changed``: False if it was paused before.

    ``held``: its texts that are held because of the pause. ``going``: its texts whose request has begun, and which
    still go.
    """

    pause: Pause
    changed: bool
    held: int
    going: int


@dataclass(frozen=True, slots=True)
class ResumedTrigger:
    """A trigger that is not paused any more. ``pause``: the pause that ended; None: it was not paused.

    ``held``: its texts that were held because of a pause and wait for a decision. ``held_otherwise``: those that wait
    for an approval for another reason.
    """

    pause: Pause | None
    held: int
    held_otherwise: int


def pause_texts(connection: Connection, trigger: str, *, reason: str, actor: str, now: datetime) -> PausedTrigger:
    """Pause a trigger, and hold its texts that are queued. One that is paused keeps its first pause."""
    lock_account(connection, _lock(trigger))
    added = add_pause(connection, PauseKind.TRIGGER, trigger, reason=reason, actor=actor, now=now)
    found = added or find_pause(connection, PauseKind.TRIGGER, trigger)
    assert found is not None  # noqa: S101 - it was added, or was there; the lock keeps it
    move(
        connection,
        MessageState.QUEUED,
        MessageState.HELD,
        message.c.trigger == trigger,
        ground=Ground.PERSON,
        reason=reason_text(PAUSED, why_held(trigger, found)),
        actor=actor,
        now=now,
    )
    _, going = pause_effect(connection, trigger)
    return PausedTrigger(found, added is not None, held_by_pause(connection, trigger), going)


def resume_texts(connection: Connection, trigger: str) -> ResumedTrigger:
    """End the pause of a trigger. Its held texts stay held."""
    lock_account(connection, _lock(trigger))
    ended = end_pause(connection, PauseKind.TRIGGER, trigger)
    others = [code for code in APPROVABLE if code != PAUSED]
    return ResumedTrigger(ended, held_by_pause(connection, trigger), _held(connection, trigger, *others))


def pause_effect(connection: Connection, trigger: str) -> tuple[int, int]:
    """Return how many texts a pause would hold now, and how many would still go because their request has begun."""
    queued = _count(connection, trigger, message.c.state == MessageState.QUEUED)
    return queued, _count(connection, trigger, message.c.state == MessageState.DISPATCHING)


def waits_for(connection: Connection, trigger: str, accounts: Collection[str]) -> bool:
    """Return True if texts of the trigger wait in these accounts: a connection may have changed its account."""
    m = message.c
    waiting = m.state.in_((MessageState.QUEUED, MessageState.HELD, MessageState.DISPATCHING))
    mine = (m.account.in_(accounts), m.kind == MessageKind.SEND, func.coalesce(m.trigger, "") == trigger)
    return connection.scalar(select(m.id).where(*mine, waiting).limit(1)) is not None


def held_by_pause(connection: Connection, trigger: str) -> int:
    """Return how many texts of a trigger are held because of a pause that lasts or has ended."""
    return _held(connection, trigger, PAUSED)


def lock_trigger(connection: Connection, trigger: str | None) -> None:
    """Keep the trigger from being paused until this transaction ends. Take it before ``why_paused``."""
    if trigger is not None:
        share_lock(connection, _lock(trigger))


def why_paused(connection: Connection, trigger: str | None) -> str:
    """Return why the texts of a trigger are held because it is paused, for a person; "" if it is not paused."""
    found = None if trigger is None else find_pause(connection, PauseKind.TRIGGER, trigger)
    return "" if trigger is None or found is None else why_held(trigger, found)


def why_held(trigger: str, pause: Pause) -> str:
    """Return why a text of a paused trigger is held and what to do, for a person. It holds after the pause, too."""
    return (
        f"its trigger was {pause}; after `vtsync resume trigger {trigger}`, `vtsync approve --trigger {trigger}` sends"
        f" it and `vtsync cancel --trigger {trigger}` ends it"
    )


def _held(connection: Connection, trigger: str, *codes: str) -> int:
    return _count(connection, trigger, message.c.state == MessageState.HELD, or_(*map(has_reason, codes)))


def _count(connection: Connection, trigger: str, *where: ColumnElement[bool]) -> int:
    # Few texts have such a state, and many have this trigger: the index over the triggers is kept out of it.
    mine = (func.coalesce(message.c.trigger, "") == trigger, message.c.kind == MessageKind.SEND)
    return connection.scalar(select(func.count()).where(*mine, *where)) or 0


def _lock(trigger: str) -> str:
    return f"pause:{trigger}"
