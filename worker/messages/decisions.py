"""What people decide about messages: approve, cancel, resolve, retry. Each is conditional and kept with its actor."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, case, delete, or_, select

from worker.core.states import MessageState
from worker.messages.opt_outs import add_opt_out
from worker.messages.transitions import Moved, has_reason, move, reason_text
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.sql import any_of
from worker.store.tables import message, number_review


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
    """Let held texts go: those that wait for approval now, of a large sync or of a trigger that was stopped.

    Later ones of the same batch or trigger are not approved with them. The policy is asked again before each is sent:
    all but the blast guard and the breaker. Returns how many were released.
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
            or_(has_reason("approval"), has_reason("breaker")),
            reason=reason,
            actor=actor,
            now=now,
            due_at=_not_before(now),
            approved_at=now,
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


def resolve(runtime: Runtime, message_id: str, verdict: Literal["sent", "resend", "drop"], actor: str) -> None:
    """Settle an unknown message after a look at the conversation: it was sent, or it is to be sent again, or dropped.

    Raises WrongState when it is not unknown (any more), LookupError when there is no such message.
    """
    now = utcnow()
    this = message.c.id == message_id
    values: dict[str, Any] = {}
    with writing(runtime.engine) as connection:
        if verdict == "sent":
            after = MessageState.CONFIRMED
            reason = reason_text("resolved", f"{actor} found it in the conversation")
        elif verdict == "drop":
            after = MessageState.CANCELLED
            reason = reason_text(
                "dropped", f"{actor} did not find it in the conversation and does not want it any more"
            )
        else:
            after, values = MessageState.QUEUED, _due_again(runtime, now)
            reason = reason_text("resend", f"{actor} asked to send it again")
        moved = move(connection, MessageState.UNKNOWN, after, this, reason=reason, actor=actor, now=now, **values)
        # Read afterwards: whoever settled it first was waited for.
        state = connection.scalar(select(message.c.state).where(this))
    if state is None:
        raise LookupError(f"there is no message {message_id}; `vtsync messages` lists them")
    if not moved:
        raise WrongState(f"message {message_id} is {state}; only an unknown one can be resolved")


def retry(runtime: Runtime, message_ids: Collection[str], actor: str) -> int:
    """Try rejected and failed messages again. Returns how many; others are left as they are.

    So are those whose words were pruned: there is nothing to send.
    """
    now = utcnow()
    again: list[Moved] = []
    with writing(runtime.engine) as connection:
        chosen = any_of(connection, message.c.id, message_ids)
        says_something = or_(message.c.text != "", message.c.media != "[]")
        for before in (MessageState.REJECTED, MessageState.FAILED):
            reason = reason_text("retry", f"{actor} asked to try it again")
            values = _due_again(runtime, now)
            again += move(
                connection,
                before,
                MessageState.QUEUED,
                chosen,
                says_something,
                reason=reason,
                actor=actor,
                now=now,
                **values,
            )
    return len(again)


def settle_review(
    runtime: Runtime, phone: str, verdict: Literal["continue", "opt_out"], actor: str, *, source: str = "cli"
) -> int:
    """Say what somebody's own words meant: go on texting them, or never again. Returns how many texts that releases.

    Also after ``opt_out`` they are released: the policy then suppresses each with its reason. ``source`` is kept with
    the opt-out (``cli``, ``http``). Raises LookupError when the number is not under review (any more).
    """
    now = utcnow()
    words = "go on texting" if verdict == "continue" else "opted out"
    with writing(runtime.engine) as connection:
        ended = end_review(
            connection, phone, words=f"{actor} read what the person wrote: {words}", actor=actor, now=now
        )
        if ended is None:
            raise LookupError(f"{phone} is not under review")
        excerpt, released = ended
        if verdict == "opt_out":
            detail = f'read as an opt-out: "{excerpt}"' if excerpt else "read as an opt-out"
            add_opt_out(connection, phone, source=source, detail=detail, now=now, actor=actor)
    return released


def end_review(connection: Connection, phone: str, *, words: str, actor: str, now: datetime) -> tuple[str, int] | None:
    """Nobody has to read what ``phone`` wrote any more; its texts are asked about again.

    Returns what the person wrote and how many texts that releases; None when the number was not under review.
    """
    this = number_review.c.phone == phone
    review = connection.execute(delete(number_review).where(this).returning(number_review.c.excerpt)).first()
    if review is None:
        return None
    held, reason = message.c.to_number == phone, reason_text("reviewed", words)
    return review.excerpt, release_holds(connection, "review", held, reason=reason, actor=actor, now=now)


def opt_out_number(runtime: Runtime, phone: str, *, source: str, detail: str, actor: str) -> bool:
    """Text ``phone`` (E.164) no more, on a person's word; this also settles its review. False: known already."""
    now = utcnow()
    with writing(runtime.engine) as connection:
        end_review(connection, phone, words=f"{actor} opted the number out", actor=actor, now=now)
        return add_opt_out(connection, phone, source=source, detail=detail, now=now, actor=actor)


def release_holds(
    connection: Connection, code: str, *where: ColumnElement[bool], reason: str, actor: str, now: datetime
) -> int:
    """Put the texts that are held with this code back into the queue, for the policy to ask about again."""
    released = move(
        connection,
        MessageState.HELD,
        MessageState.QUEUED,
        has_reason(code),
        *where,
        reason=reason,
        actor=actor,
        now=now,
        due_at=_not_before(now),
    )
    return len(released)


RECONSIDER_EVERY = timedelta(hours=1)
_reconsidered: dict[str, datetime] = {}


def reconsider(runtime: Runtime) -> int:
    """Ask again about texts whose time zone was not known. Returns how many.

    The configuration may say more when a process starts, and the CRM from time to time; so this does something once a
    process, then once an hour, and is cheap to call at every tick.
    """
    now, store = utcnow(), runtime.settings.database_url()
    if store in _reconsidered and now - _reconsidered[store] < RECONSIDER_EVERY:
        return 0
    with writing(runtime.engine) as connection:
        reason = reason_text("reconsidered", "its time zone is looked for again")
        released = release_holds(connection, "time_zone", reason=reason, actor="tick", now=now)
    _reconsidered[store] = now
    return released


def _not_before(now: datetime) -> ColumnElement[datetime]:
    """Due now, unless it was not to go yet anyway."""
    return case((message.c.due_at > now, message.c.due_at), else_=now)


def _due_again(runtime: Runtime, now: datetime) -> dict[str, Any]:
    """Due now; one that has expired meanwhile gets new time, since a person wants it now."""
    late = now + runtime.settings.policy.expires_after
    expires_at = case((message.c.expires_at <= now, late), else_=message.c.expires_at)
    return {"due_at": now, "expires_at": expires_at, "approved_at": now}


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
