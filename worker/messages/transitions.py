"""Move messages from state to state, by the table in ``states`` only, and write one event for each move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from worker.core.metrics import messages_moved
from worker.core.states import MessageKind, MessageState
from worker.messages.events import event_of, publish_messages
from worker.messages.states import Ground, check_initial, kinds_that_may
from worker.store.db import after_commit
from worker.store.leases import LeaseColumns
from worker.store.tables import message, message_event

LEASE = LeaseColumns(message)


@dataclass(frozen=True, slots=True)
class Moved:
    """A message that was moved, or created."""

    id: str
    attempt: int
    account: str
    kind: MessageKind


_NEEDED = (message.c.id, message.c.attempts, message.c.account, message.c.kind)


def reason_text(code: str, explanation: str) -> str:
    """Return a reason as ``Message.reason`` stores it: a stable code, then an explanation for a person."""
    return f"{code}: {explanation}" if explanation else code


def reason_code(reason: str) -> str:
    """Return the code of a reason; empty for no reason."""
    return reason.partition(":")[0]


def has_reason(code: str, reason: ColumnElement[str] = message.c.reason) -> ColumnElement[bool]:
    """Return the condition for rows whose ``reason`` has this code."""
    return reason.startswith(f"{code}:", autoescape=True) | (reason == code)


def move(
    connection: Connection,
    before: MessageState,
    after: MessageState,
    *where: ColumnElement[bool],
    ground: Ground,
    reason: str,
    actor: str,
    now: datetime,
    keep_lease: bool = False,
    **values: Any,
) -> list[Moved]:
    """Move all messages in state ``before`` for which ``where`` holds, and return them.

    Messages of a kind that may not make this move on this ``ground`` stay as they are. The lease ends with the move
    unless ``keep_lease``. ``values`` are further columns to set. Raises IllegalMove.
    """
    kinds = kinds_that_may(before, after, ground)
    if len(kinds) < len(MessageKind):
        where = (*where, message.c.kind.in_(sorted(kinds)))
    if not keep_lease:
        values |= LEASE.released
    # Locked in the order of their ids, so that two transactions that move the same messages wait and do not deadlock.
    chosen = (
        select(message.c.id)
        .where(message.c.state == before, *where)
        .order_by(message.c.id)
        .with_for_update()
        .cte("chosen")
    )
    published = event_of(before, after) is not None
    rows = connection.execute(
        update(message)
        .where(message.c.id.in_(select(chosen.c.id)), message.c.state == before)
        .values(state=after, reason=reason, **values)
        .returning(*(message.c if published else _NEEDED))
    ).all()
    moved = sorted((Moved(row.id, row.attempts, row.account, row.kind) for row in rows), key=lambda one: one.id)
    _add_events(connection, moved, before, after, reason=reason, actor=actor, now=now, rows=rows if published else None)
    return moved


def add_first_events(
    connection: Connection, created: Sequence[Moved], state: MessageState, *, reason: str, actor: str, now: datetime
) -> None:
    """Begin the history of new messages that start in ``state``. Raises IllegalMove."""
    for kind in {one.kind for one in created}:
        check_initial(kind, state)
    _add_events(connection, created, None, state, reason=reason, actor=actor, now=now)


def _add_events(
    connection: Connection,
    moved: Sequence[Moved],
    before: MessageState | None,
    after: MessageState,
    *,
    reason: str,
    actor: str,
    now: datetime,
    rows: Sequence[Row[Any]] | None = None,
) -> None:
    """Write the history, count the moves, publish events. ``rows``: the messages' rows, where the caller has them."""
    if not moved:
        return
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
    connection.execute(insert(message_event), events)
    for (account, kind), count in Counter((one.account, one.kind) for one in moved).items():
        after_commit(connection, partial(messages_moved, account, kind, before, after, count))
    event = event_of(before, after)
    if event is not None:
        publish_messages(connection, [one.id for one in moved], event, reason, now, rows)
