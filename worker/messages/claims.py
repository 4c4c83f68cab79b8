"""Claims on messages, and how the claims of a worker that vanished end.

A claimed message stays ``queued`` until its request begins, so a lost claim does no harm: it is claimed again. From
``dispatching`` on the request may have been made. The lease owner is the fencing token: a worker that lost its claim
starts nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select, tuple_

from worker.core.clock import CLOCK
from worker.core.states import MessageKind, MessageState
from worker.messages.results import vanished_reason
from worker.messages.states import Ground
from worker.messages.transitions import LEASE, Moved, move
from worker.store.leases import Lease, new_lease
from worker.store.sql import any_of, lock_account
from worker.store.tables import message


@dataclass(frozen=True, slots=True)
class MessageClaim:
    """Messages that only the owner of ``lease`` may dispatch: their ids by conversation, each in order."""

    lease: Lease
    conversations: tuple[tuple[str, ...], ...]

    @property
    def size(self) -> int:
        """The number of claimed messages."""
        return sum(map(len, self.conversations))


def claim_sends(
    connection: Connection,
    now: datetime,
    lease_seconds: float,
    limit: int,
    *,
    account: str,
    message_ids: Collection[str] | None = None,
) -> MessageClaim:
    """Claim up to ``limit`` sends that are due, oldest first; only those of ``message_ids`` when given."""
    due = _due(connection, account, MessageKind.SEND, now, message_ids)
    return _claim(connection, due.order_by(message.c.due_at, message.c.id).limit(limit), now, lease_seconds)


def claim_records(
    connection: Connection,
    now: datetime,
    lease_seconds: float,
    limit: int,
    *,
    account: str,
    message_ids: Collection[str] | None = None,
) -> MessageClaim:
    """Claim up to ``limit`` records that are due: the first of each conversation, in the order of sending.

    A record waits while an earlier one of its conversation waits, and while any of them is being worked on.
    """
    # Without the lock, a new and earlier record could be claimed while another worker claims a later one.
    lock_account(connection, f"records:{account}")
    other = message.alias("other")
    waits = or_(other.c.state == MessageState.DISPATCHING, other.c.state == MessageState.QUEUED)
    earlier = tuple_(other.c.sent_at, other.c.id) < tuple_(message.c.sent_at, message.c.id)
    in_work = or_(other.c.state == MessageState.DISPATCHING, other.c.lease_until > CLOCK.expiry(now))
    blocked = exists().where(
        other.c.account == message.c.account,
        other.c.kind == MessageKind.RECORD,
        other.c.to_number == message.c.to_number,
        other.c.id != message.c.id,
        waits,
        or_(earlier, in_work),
    )
    due = _due(connection, account, MessageKind.RECORD, now, message_ids).where(~blocked)
    return _claim(connection, due.order_by(message.c.sent_at, message.c.id).limit(limit), now, lease_seconds)


def release_unstarted(connection: Connection, owner: str) -> int:
    """Give back the claimed messages that were not started. Returns how many."""
    return LEASE.release(connection, owner, message.c.state == MessageState.QUEUED)


def owned(owner: str, message_id: str) -> ColumnElement[bool]:
    """Return the condition for this message, as long as the claim on it holds."""
    return and_(message.c.id == message_id, LEASE.is_held_by(owner))


def expire_leases(connection: Connection, now: datetime, actor: str = "tick") -> list[Moved]:
    """End the requests of workers that vanished. Returns the sends that became unknown.

    A send may have gone out: it is unknown until an echo or a person resolves it. A record texts nobody: it is due
    again, and ``recording`` decides when it may be repeated.
    """
    left = select(message.c.id, message.c.kind, message.c.attempted_at).where(
        message.c.state == MessageState.DISPATCHING, LEASE.is_free(now)
    )
    unknown: list[Moved] = []
    for row in connection.execute(left.order_by(message.c.id).with_for_update(skip_locked=True)).all():
        this = message.c.id == row.id
        if row.kind == MessageKind.RECORD:
            move(
                connection,
                MessageState.DISPATCHING,
                MessageState.QUEUED,
                this,
                ground=Ground.LOST,
                reason="vanished: the worker that was recording this vanished; it is recorded again",
                actor=actor,
                now=now,
                due_at=now,
                unanswered_at=message.c.attempted_at,
            )
        else:
            unknown += move(
                connection,
                MessageState.DISPATCHING,
                MessageState.UNKNOWN,
                this,
                ground=Ground.LOST,
                reason=vanished_reason(row.id, row.attempted_at),
                actor=actor,
                now=now,
                unanswered_at=message.c.attempted_at,
            )
    return unknown


def _due(
    connection: Connection,
    account: str,
    kind: MessageKind,
    now: datetime,
    message_ids: Collection[str] | None,
) -> Select[tuple[str]]:
    due = select(message.c.id).where(*_is_due(account, kind, now), LEASE.is_free(now))
    return due if message_ids is None else due.where(any_of(connection, message.c.id, message_ids))


def _claim(connection: Connection, due: Select[tuple[str]], now: datetime, lease_seconds: float) -> MessageClaim:
    lease = new_lease(now, lease_seconds)
    rows = LEASE.take_due(connection, due, lease, message.c.id, message.c.to_number, message.c.due_at)
    conversations: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: (row.due_at, row.id)):
        conversations.setdefault(row.to_number, []).append(row.id)
    return MessageClaim(lease, tuple(map(tuple, conversations.values())))


def has_due(connection: Connection, account: str, kind: MessageKind, now: datetime) -> bool:
    """Return True if a worker could claim a message of this kind."""
    return connection.scalar(_due(connection, account, kind, now, None).limit(1)) is not None


def count_due(connection: Connection, account: str, kind: MessageKind, now: datetime) -> int:
    """Return how many messages of this kind a worker could claim."""
    due = _due(connection, account, kind, now, None).subquery()
    return connection.scalar(select(func.count()).select_from(due)) or 0


def oldest_due(connection: Connection, account: str, kind: MessageKind, now: datetime) -> datetime | None:
    """Return when the message that has waited longest became due, claimed or not; None: none is due."""
    due_at = message.c.due_at
    due = select(due_at).where(*_is_due(account, kind, now))
    oldest: datetime | None = connection.scalar(due.order_by(due_at).limit(1))
    return oldest


def _is_due(account: str, kind: MessageKind, now: datetime) -> tuple[ColumnElement[bool], ...]:
    m = message.c
    return m.account == account, m.kind == kind, m.state == MessageState.QUEUED, m.due_at <= now
