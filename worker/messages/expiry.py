"""Texts that come too late are not sent at all."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from worker.core.states import MessageState
from worker.messages.transitions import move, reason_text
from worker.store.tables import message

_ANY_LATE = (
    select(message.c.id)
    .where(message.c.state.in_((MessageState.HELD, MessageState.QUEUED)), message.c.expires_at <= bindparam("now"))
    .limit(1)
)


def expire_messages(connection: Connection, now: datetime, actor: str = "tick") -> int:
    """End what waits, queued or held, and has passed its ``expires_at``. Returns how many messages that were."""
    if connection.execute(_ANY_LATE, {"now": now}).first() is None:  # nearly always: and asked before each claim
        return 0
    late = message.c.expires_at <= now
    words = {
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
                reason=reason_text("expired", why),
                actor=actor,
                now=now,
            )
        )
        for before, why in words.items()
    )
