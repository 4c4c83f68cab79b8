"""Texts that come too late are not sent at all."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from worker.messages.moves import move, reason_text
from worker.store.models import MessageState
from worker.store.tables import message


def expire_messages(connection: Connection, now: datetime, actor: str = "sweeper") -> int:
    """End what waits, queued or held, and has passed its ``expires_at``. Returns how many messages that were."""
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
