"""Moving messages from state to state: conditional on the state before, and with an event for each move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from worker.core.metrics import messages_moved
from worker.core.states import MessageKind, MessageState
from worker.messages.events import announce_messages, event_of
from worker.messages.states import check
from worker.store.db import after_commit
from worker.store.tables import message, message_event


@dataclass(frozen=True, slots=True)
class Moved:
    """One message that was moved."""

    id: str
    attempt: int
    account: str
    kind: MessageKind


_NEEDED = (message.c.id, message.c.attempts, message.c.account, message.c.kind)


def reason_text(code: str, words: str) -> str:
    """As kept in ``Message.reason``: a code that can be searched for, then words for a person."""
    return f"{code}: {words}" if words else code


def has_reason(code: str) -> ColumnElement[bool]:
    """Messages whose reason carries ``code``."""
    return message.c.reason.startswith(f"{code}:", autoescape=True) | (message.c.reason == code)


def move(
    connection: Connection,
    before: MessageState,
    after: MessageState,
    *where: ColumnElement[bool],
    reason: str,
    actor: str,
    now: datetime,
    keep_lease: bool = False,
    **values: Any,
) -> list[Moved]:
    """Move all messages in state ``before`` that ``where`` holds for, and say which those were.

    The lease ends with the move unless ``keep_lease``. ``values`` are further columns to set.
    """
    check(before, after)
    if not keep_lease:
        values |= {"lease_owner": None, "lease_until": None}
    # Locked in the order of their ids, so that two movers of the same messages wait instead of dead-locking.
    chosen = (
        select(message.c.id)
        .where(message.c.state == before, *where)
        .order_by(message.c.id)
        .with_for_update()
        .cte("chosen")
    )
    told = event_of(before, after) is not None
    rows = connection.execute(
        update(message)
        .where(message.c.id.in_(select(chosen.c.id)), message.c.state == before)
        .values(state=after, reason=reason, **values)
        .returning(*(message.c if told else _NEEDED))
    ).all()
    moved = sorted((Moved(row.id, row.attempts, row.account, row.kind) for row in rows), key=lambda one: one.id)
    add_events(connection, moved, before, after, reason=reason, actor=actor, now=now, rows=rows if told else None)
    return moved


def add_events(
    connection: Connection,
    moved: Iterable[Moved],
    before: MessageState | None,
    after: MessageState,
    *,
    reason: str,
    actor: str,
    now: datetime,
    rows: Sequence[Row[Any]] | None = None,
) -> None:
    """The history of these messages goes on, and others may hear of it. ``before`` is None for their creation.

    ``rows`` are the messages' own, where the caller has them.
    """
    moved = list(moved)
    events = [
        {
            "message_id": one.id,
            "at": now,
            "from_state": before,
            "to_state": after,
            "reason": reason,
            "actor": actor[:80],
            "attempt": one.attempt,
        }
        for one in moved
    ]
    if not events:
        return
    connection.execute(insert(message_event), events)
    for (account, kind), count in Counter((one.account, one.kind) for one in moved).items():
        after_commit(connection, partial(messages_moved, account, kind, before, after, count))
    what = event_of(before, after)
    if what is not None:
        announce_messages(connection, [one.id for one in moved], what, reason, now, rows)
