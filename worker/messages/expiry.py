"""Expire texts that are too late: they are not sent at all."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from worker.core.states import MessageState
from worker.messages.states import Ground
from worker.messages.transitions import move, reason_text
from worker.store.tables import message

_ANY_LATE = (
    select(message.c.id)
    .where(message.c.state.in_((MessageState.HELD, MessageState.QUEUED)), message.c.expires_at <= bindparam("now"))
    .limit(1)
)


def expire_messages(connection: Connection, now: datetime, actor: str = "tick") -> int:
    """Expire queued and held messages that have passed their ``expires_at``. Returns how many."""
    if connection.execute(_ANY_LATE, {"now": now}).first() is None:  # the usual case; this runs before each claim
        return 0
    late = message.c.expires_at <= now
    reasons = {
        MessageState.HELD: "nobody approved it before it expired",
        MessageState.QUEUED: "it could not be sent before it expired",
    }
    return sum(
        len(
            move(
                connection,
                before,
                MessageState.EXPIRED,
                late,
                ground=Ground.POLICY,
                reason=reason_text("expired", why),
                actor=actor,
                now=now,
            )
        )
        for before, why in reasons.items()
    )
