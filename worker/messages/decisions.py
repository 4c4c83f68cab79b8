"""What people decide about messages: approve, cancel, resolve, retry. Each is conditional and kept with its actor."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, case, select

from worker.messages.moves import Moved, has_reason, move, reason_text
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import MessageState, utcnow
from worker.store.sql import any_of
from worker.store.tables import message


class NothingChosen(ValueError):
    """Neither a batch, messages nor a trigger was named: that would decide about everything."""


class WrongState(ValueError):
    """The message is not in a state in which this may be decided."""


def approve(
    runtime: Runtime,
    *,
    batch_id: str | None = None,
    message_ids: Collection[str] | None = None,
    trigger: str | None = None,
    actor: str,
) -> int:
    """Let held texts go: those that wait for approval now, not later ones of the same batch or trigger.

    The policy is asked again before each is sent. Returns how many were released.
    """
    now = utcnow()
    with writing(runtime.engine) as connection:
        chosen = _chosen(connection, batch_id, message_ids, trigger)
        reason = reason_text("approved", f"by {actor}")
        released = move(
            connection,
            MessageState.HELD,
            MessageState.QUEUED,
            *chosen,
            has_reason("approval"),
            reason=reason,
            actor=actor,
            now=now,
            due_at=now,
        )
    return len(released)


def cancel(
    runtime: Runtime,
    *,
    batch_id: str | None = None,
    message_ids: Collection[str] | None = None,
    trigger: str | None = None,
    actor: str,
) -> int:
    """Drop what has not been started. Returns how many messages that were."""
    now = utcnow()
    cancelled: list[Moved] = []
    with writing(runtime.engine) as connection:
        chosen = _chosen(connection, batch_id, message_ids, trigger)
        for before in (MessageState.HELD, MessageState.QUEUED):
            reason = reason_text("cancelled", f"by {actor}")
            cancelled += move(connection, before, MessageState.CANCELLED, *chosen, reason=reason, actor=actor, now=now)
    return len(cancelled)


def resolve(runtime: Runtime, message_id: str, verdict: Literal["sent", "resend"], actor: str) -> None:
    """Settle an unknown message after a look at the conversation: it was sent, or it is to be sent again.

    Raises WrongState when it is not unknown (any more), LookupError when there is no such message.
    """
    now = utcnow()
    this = message.c.id == message_id
    with writing(runtime.engine) as connection:
        row = connection.execute(select(message.c.state).where(this)).one_or_none()
        if row is None:
            raise LookupError(f"there is no message {message_id}; `vtsync messages` lists them")
        if verdict == "sent":
            after, values = MessageState.CONFIRMED, {}
            reason = reason_text("resolved", f"{actor} found it in the conversation")
        else:
            after, values = MessageState.QUEUED, _due_again(runtime, now)
            reason = reason_text("resend", f"{actor} asked to send it again")
        moved = move(connection, MessageState.UNKNOWN, after, this, reason=reason, actor=actor, now=now, **values)
    if not moved:
        raise WrongState(f"message {message_id} is {row.state}; only an unknown one can be resolved")


def retry(runtime: Runtime, message_ids: Collection[str], actor: str) -> int:
    """Try rejected and failed messages again. Returns how many; others are left as they are."""
    now = utcnow()
    again: list[Moved] = []
    with writing(runtime.engine) as connection:
        chosen = any_of(connection, message.c.id, message_ids)
        for before in (MessageState.REJECTED, MessageState.FAILED):
            reason = reason_text("retry", f"{actor} asked to try it again")
            values = _due_again(runtime, now)
            again += move(
                connection, before, MessageState.QUEUED, chosen, reason=reason, actor=actor, now=now, **values
            )
    return len(again)


def _due_again(runtime: Runtime, now: datetime) -> dict[str, Any]:
    """Due now; one that has expired meanwhile gets new time, since a person wants it now."""
    late = now + runtime.settings.policy.expires_after
    return {"due_at": now, "expires_at": case((message.c.expires_at <= now, late), else_=message.c.expires_at)}


def _chosen(
    connection: Connection, batch_id: str | None, message_ids: Collection[str] | None, trigger: str | None
) -> list[ColumnElement[bool]]:
    """All that are given must hold."""
    chosen: list[ColumnElement[bool]] = []
    if batch_id is not None:
        chosen.append(message.c.batch_id == batch_id)
    if message_ids is not None:
        chosen.append(any_of(connection, message.c.id, message_ids))
    if trigger is not None:
        chosen.append(message.c.trigger == trigger)
    if not chosen:
        raise NothingChosen("name a batch, messages or a trigger")
    return chosen
