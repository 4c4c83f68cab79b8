"""What one message carries and went through, and what a number wrote back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import select

from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.tables import inbound_message, message, message_event


@dataclass(frozen=True, slots=True)
class Step:
    """One move of a message. ``before`` is None for its creation."""

    at: datetime
    before: str | None
    after: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Story:
    """What a list of messages leaves out. ``about``: the CRM record (connection, external id), if there is one."""

    media: tuple[str, ...]
    expires_at: datetime | None
    sent_at: datetime | None
    about: tuple[str, str] | None
    carrier: str | None
    carrier_message_id: str | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """A text that the number wrote. ``keyword``: ``stop``, ``start``, ``help``, ``review`` or none of them."""

    account: str
    text: str
    keyword: str
    received_at: datetime


def story(runtime: Runtime, message_id: str) -> Story:
    """The story of a message, its moves oldest first. Raises LookupError when there is no such message."""
    m, e = message.c, message_event.c
    columns = (m.media, m.expires_at, m.sent_at, m.connection, m.external_id, m.carrier, m.carrier_message_id)
    moves = select(e.at, e.from_state, e.to_state, e.reason, e.actor).where(e.message_id == message_id)
    with reading(runtime.engine) as connection:
        row = connection.execute(select(*columns).where(m.id == message_id)).first()
        if row is None:
            raise LookupError(f"there is no message {message_id}")
        steps = tuple(Step(*one) for one in connection.execute(moves.order_by(e.id)))
    return Story(
        media=tuple(orjson.loads(row.media)),
        expires_at=row.expires_at,
        sent_at=row.sent_at,
        about=None if row.connection is None or row.external_id is None else (row.connection, row.external_id),
        carrier=row.carrier,
        carrier_message_id=row.carrier_message_id,
        steps=steps,
    )


def replies(runtime: Runtime, phone: str, *, accounts: Collection[str] = (), limit: int) -> list[Reply]:
    """The newest texts that ``phone`` wrote, to ``accounts`` (empty: to any)."""
    i = inbound_message.c
    statement = select(i.account, i.text, i.keyword, i.received_at).where(i.from_number == phone)
    if accounts:
        statement = statement.where(i.account.in_(accounts))
    with reading(runtime.engine) as connection:
        newest = statement.order_by(i.received_at.desc(), i.id.desc()).limit(limit)
        return [Reply(*row) for row in connection.execute(newest)]
