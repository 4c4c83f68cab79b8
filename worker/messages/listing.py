"""Finds messages for people: by state, trigger, number or batch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.tables import message


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """One message as a list shows it."""

    id: str
    account: str
    kind: str
    state: str
    reason: str
    to_number: str
    from_number: str
    text: str
    segments: int
    source: str
    trigger: str | None
    batch_id: str | None
    created_at: datetime
    due_at: datetime
    attempts: int
    virtualtext_message_id: str | None
    reference_code: str


def find_messages(
    runtime: Runtime,
    *,
    message_id: str | None = None,
    state: str | None = None,
    trigger: str | None = None,
    number: str | None = None,
    batch_id: str | None = None,
    accounts: Collection[str] = (),
    before: str | None = None,
    limit: int = 50,
) -> list[ListedMessage]:
    """The newest messages that fit all that is given; ``before``: only those older than the one with this id."""
    m = message.c
    wanted = ((m.id, message_id), (m.state, state), (m.trigger, trigger), (m.to_number, number), (m.batch_id, batch_id))
    columns = [m[name] for name in ListedMessage.__dataclass_fields__]
    statement = select(*columns).where(*(column == value for column, value in wanted if value is not None))
    if accounts:
        statement = statement.where(m.account.in_(accounts))
    if before is not None:
        statement = statement.where(m.id < before)  # ids are in the order of time
    with reading(runtime.engine) as db:
        return [ListedMessage(*row) for row in db.execute(statement.order_by(m.id.desc()).limit(limit))]


def is_message_id(runtime: Runtime, text: str) -> bool:
    """Whether a message has this id (batches have ids of the same shape)."""
    with reading(runtime.engine) as db:
        return db.scalar(select(message.c.id).where(message.c.id == text)) is not None
