"""Pause and resume connections and triggers for a person, with a line in the audit trail in the same transaction.

The commands, the HTTP API and the pages call these functions. A decision about the texts that a pause has held is a
transaction of its own, with its own line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from worker.contacts import connection_gate
from worker.contacts.connection_gate import PausedConnection
from worker.core.text import counted
from worker.messages import trigger_pause
from worker.messages.decisions import approve, cancel
from worker.messages.trigger_pause import PAUSED, PausedTrigger
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.pauses import Pause
from worker.web import audit

LONGEST_REASON = 500
Held: TypeAlias = Literal["keep", "approve", "cancel"]
"""What happens to the texts that a pause has held: they stay held, or all of them are approved or cancelled."""


@dataclass(frozen=True, slots=True)
class EndedPause:
    """A trigger that is resumed. ``pause``: the pause that ended; None: it was not paused.

    ``held``: texts that the pause has held and that still wait for a decision. ``held_otherwise``: its texts that wait
    for an approval for another reason. ``approved``, ``cancelled``: what was decided with the resumption.
    """

    pause: Pause | None
    held: int
    held_otherwise: int
    approved: int
    cancelled: int


def pause_reason(text: str) -> str:
    """Return a person's reason as it is stored, on one line. Raises ValueError if it is too long."""
    reason = " ".join(text.split())
    if len(reason) > LONGEST_REASON:
        raise ValueError(f"the reason has {len(reason)} characters, and at most {LONGEST_REASON} are stored")
    return reason


def pause_connection(runtime: Runtime, name: str, *, reason: str, actor: str, address: str = "") -> PausedConnection:
    """Pause a connection. ``address``: where the person is, for the audit trail."""
    now = utcnow()
    with writing(runtime.engine) as db:
        done = connection_gate.pause_reading(db, name, reason=reason, actor=actor, now=now)
        if done.changed:
            audit.note(db, actor, "paused_connection", now=now, about=name, detail=reason, address=address)
    return done


def resume_connection(runtime: Runtime, name: str, *, actor: str, address: str = "") -> Pause | None:
    """Resume a connection, and return the pause that ended; None: it was not paused."""
    now = utcnow()
    with writing(runtime.engine) as db:
        ended = connection_gate.resume_reading(db, name, now)
        if ended is not None:
            audit.note(db, actor, "resumed_connection", now=now, about=name, detail=f"it was {ended}", address=address)
    return ended


def pause_trigger(runtime: Runtime, name: str, *, reason: str, actor: str, address: str = "") -> PausedTrigger:
    """Pause a trigger, and hold its queued texts."""
    now = utcnow()
    with writing(runtime.engine) as db:
        done = trigger_pause.pause_texts(db, name, reason=reason, actor=actor, now=now)
        if done.changed:
            audit.note(db, actor, "paused_trigger", now=now, about=name, detail=reason, address=address)
    return done


def resume_trigger(runtime: Runtime, name: str, *, held: Held = "keep", actor: str, address: str = "") -> EndedPause:
    """Resume a trigger, and decide about the texts that the pause has held."""
    now = utcnow()
    with writing(runtime.engine) as db:
        done = trigger_pause.resume_texts(db, name)
        if done.pause is not None:
            detail = f"it was {done.pause}"
            audit.note(db, actor, "resumed_trigger", now=now, about=name, detail=detail, address=address)
    decided = 0
    if held != "keep" and done.held:
        decision = approve if held == "approve" else cancel
        decided = decision(runtime, trigger=name, codes=(PAUSED,), actor=actor)
        with writing(runtime.engine) as db:
            audit.note(db, actor, held, now=now, about=name, detail=counted(decided, "text"), address=address)
    approved, cancelled = (decided, 0) if held == "approve" else (0, decided)
    return EndedPause(done.pause, done.held - decided, done.held_otherwise, approved, cancelled)
