"""Who works on a message: claims with a lease, and what becomes of a claim whose worker vanished.

A claimed message stays ``queued`` until the moment of its request, so losing a claim costs nothing. From
``dispatching`` on it is different: the request may have been made. The lease owner is the fencing token: a
worker whose claim was taken away starts nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, or_, select, tuple_, update

from worker.core.states import MessageKind, MessageState
from worker.messages.results import vanished_reason
from worker.messages.transitions import Moved, move
from worker.store.db import new_lease_owner
from worker.store.sql import any_of, lock_account
from worker.store.tables import message


@dataclass(frozen=True, slots=True)
class Claim:
    """Messages that only ``owner`` may dispatch until ``until``: their ids by conversation, each in order."""

    owner: str
    until: datetime
    conversations: tuple[tuple[str, ...], ...]


def claim_sends(
    connection: Connection,
    now: datetime,
    lease_seconds: float,
    limit: int,
    *,
    account: str,
    message_ids: Collection[str] | None = None,
) -> Claim:
    """Claim up to ``limit`` sends that are due, oldest first; only those of ``message_ids`` when given."""
    due = _due(connection, account, MessageKind.SEND, now, message_ids)
    return _lease(connection, due.order_by(message.c.due_at, message.c.id).limit(limit), now, lease_seconds)


def claim_records(
    connection: Connection,
    now: datetime,
    lease_seconds: float,
    limit: int,
    *,
    account: str,
    message_ids: Collection[str] | None = None,
) -> Claim:
    """Claim the first record of each conversation in the order in which the texts were sent.

    A record waits while an earlier one of its conversation waits, and while any of it is being worked on.
    """
    lock_account(connection, f"records:{account}")  # or a new, earlier record could be claimed beside a later one
    other = message.alias("other")
    waits = or_(other.c.state == MessageState.DISPATCHING, other.c.state == MessageState.QUEUED)
    earlier = tuple_(other.c.sent_at, other.c.id) < tuple_(message.c.sent_at, message.c.id)
    in_work = or_(other.c.state == MessageState.DISPATCHING, other.c.lease_until > now)
    blocked = exists().where(
        other.c.account == message.c.account,
        other.c.kind == MessageKind.RECORD,
        other.c.to_number == message.c.to_number,
        other.c.id != message.c.id,
        waits,
        or_(earlier, in_work),
    )
    due = _due(connection, account, MessageKind.RECORD, now, message_ids).where(~blocked)
    return _lease(connection, due.order_by(message.c.sent_at, message.c.id).limit(limit), now, lease_seconds)


def release(connection: Connection, owner: str) -> int:
    """Give back what was claimed and not started."""
    given_back = connection.execute(
        update(message)
        .where(message.c.lease_owner == owner, message.c.state == MessageState.QUEUED)
        .values(lease_owner=None, lease_until=None)
    )
    return given_back.rowcount


def owned(owner: str, message_id: str) -> ColumnElement[bool]:
    """This message, as long as the claim holds."""
    return and_(message.c.id == message_id, message.c.lease_owner == owner)


def expire_leases(connection: Connection, now: datetime, actor: str = "tick") -> list[Moved]:
    """Settle what vanished workers left in mid-request. Returns the sends that became unknown.

    A send may have gone out: unknown, for a person or an echo to settle. A record texts nobody: tried again.
    """
    left = select(message.c.id, message.c.kind, message.c.attempted_at).where(
        message.c.state == MessageState.DISPATCHING,
        or_(message.c.lease_until.is_(None), message.c.lease_until <= now),
    )
    unknown: list[Moved] = []
    for row in connection.execute(left.order_by(message.c.id).with_for_update(skip_locked=True)).all():
        this = message.c.id == row.id
        if row.kind == MessageKind.RECORD:
            reason = "vanished: the worker that was recording this vanished; it is recorded again"
            move(
                connection,
                MessageState.DISPATCHING,
                MessageState.QUEUED,
                this,
                reason=reason,
                actor=actor,
                now=now,
                due_at=now,
            )
        else:
            unknown += move(
                connection,
                MessageState.DISPATCHING,
                MessageState.UNKNOWN,
                this,
                reason=vanished_reason(row.id, row.attempted_at),
                actor=actor,
                now=now,
            )
    return unknown


def _due(
    connection: Connection,
    account: str,
    kind: MessageKind,
    now: datetime,
    message_ids: Collection[str] | None,
) -> Select[tuple[str]]:
    due = select(message.c.id).where(
        message.c.account == account,
        message.c.kind == kind,
        message.c.state == MessageState.QUEUED,
        message.c.due_at <= now,
        or_(message.c.lease_until.is_(None), message.c.lease_until <= now),
    )
    return due if message_ids is None else due.where(any_of(connection, message.c.id, message_ids))


def _lease(connection: Connection, due: Select[tuple[str]], now: datetime, lease_seconds: float) -> Claim:
    owner, until = new_lease_owner(), now + timedelta(seconds=lease_seconds)
    # As a CTE, since PostgreSQL may run a plain subquery with FOR UPDATE LIMIT more than once.
    chosen = due.with_for_update(skip_locked=True).cte("chosen")
    rows = connection.execute(
        update(message)
        .where(message.c.id.in_(select(chosen.c.id)))
        .values(lease_owner=owner, lease_until=until)
        .returning(message.c.id, message.c.to_number, message.c.due_at)
    ).all()
    conversations: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: (row.due_at, row.id)):
        conversations.setdefault(row.to_number, []).append(row.id)
    return Claim(owner, until, tuple(map(tuple, conversations.values())))


def has_due(connection: Connection, account: str, kind: MessageKind, now: datetime) -> bool:
    """Return whether a worker could claim a message of this kind."""
    return connection.scalar(_due(connection, account, kind, now, None).limit(1)) is not None


def oldest_due(connection: Connection, account: str, kind: MessageKind, now: datetime) -> datetime | None:
    """Return since when the message is due that has waited longest, claimed or not; None: none is due."""
    m = message.c
    due = (m.account == account, m.kind == kind, m.state == MessageState.QUEUED, m.due_at <= now)
    oldest: datetime | None = connection.scalar(select(m.due_at).where(*due).order_by(m.due_at).limit(1))
    return oldest
