"""Record texts that another system sent, in the order in which they were sent. Nothing here can send.

VirtualText has no field for the time of a text: a recorded text takes its position in the conversation when it is
stored. So each conversation records one text at a time, the oldest first, and waits for one that fails. ``echo_wait``
decides when a record is repeated whose response was lost.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Connection, Row

from worker.core.states import MessageKind, MessageState
from worker.messages.attempts import Attempt
from worker.messages.claims import MessageClaim, claim_records, expire_leases, owned
from worker.messages.dispatch import dispatch_due
from worker.messages.echo_wait import echo_outlook, repeat_at
from worker.messages.results import AttemptResult, record_result
from worker.messages.states import Ground
from worker.messages.transitions import move, reason_text
from worker.runtime import Runtime
from worker.store.leases import Lease
from worker.virtualtext.outcomes import MessageBody, Outcome, Receipt

if TYPE_CHECKING:
    from worker.virtualtext.client import VirtualTextClient


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """What one call of ``record_due`` did, in messages. ``waiting``: (account, why it was left early)."""

    recorded: int = 0
    rejected: int = 0
    unknown: int = 0
    requeued: int = 0
    simulated: int = 0
    waiting: tuple[tuple[str, str], ...] = ()


def record_due(
    runtime: Runtime,
    *,
    account: str | None = None,
    message_ids: Collection[str] | None = None,
    limit: int | None = None,
) -> RecordingReport:
    """Record what is due, of one account or all, until nothing is left, ``limit`` is reached or a stop is requested."""
    accounts = list(runtime.settings.accounts) if account is None else [account]
    done = dispatch_due(runtime, [RecordStrategy(runtime, name, message_ids) for name in accounts], limit)
    return RecordingReport(
        recorded=done.states[MessageState.ACCEPTED],
        rejected=done.states[MessageState.REJECTED],
        unknown=done.states[MessageState.UNKNOWN],
        requeued=done.states[MessageState.QUEUED],
        simulated=done.states[MessageState.SIMULATED],
        waiting=done.waiting,
    )


@dataclass(frozen=True)
class RecordStrategy:
    """The records of one account. No policy applies: their texts were sent elsewhere."""

    runtime: Runtime
    account: str
    message_ids: Collection[str] | None = None
    kind: ClassVar[MessageKind] = MessageKind.RECORD

    def claim(self, connection: Connection, now: datetime, lease_seconds: float, limit: int) -> MessageClaim:
        """Claim the first record of each conversation."""
        expire_leases(connection, now)
        return claim_records(connection, now, lease_seconds, limit, account=self.account, message_ids=self.message_ids)

    def lock(self, connection: Connection, row: Row[Any]) -> None:
        """Take no lock: an echo and the next attempt move the same row, so only one of them succeeds."""

    def refuse(self, connection: Connection, lease: Lease, row: Row[Any], now: datetime) -> MessageState | None:
        """Let a record whose response was lost wait for its echo before it is repeated."""
        if row.unanswered_at is None:
            return None
        config = self.runtime.settings.accounts[self.account]
        outlook = echo_outlook(connection, self.account, config, row.to_number, row.unanswered_at, now)
        due_at = repeat_at(row.unanswered_at, now, config.echo_wait, outlook)
        if due_at <= now:
            return None
        explanation = (
            "the response was lost, so it may be in the conversation; it waits for VirtualText's report of it, and is"
            f" recorded again at {due_at:%H:%M:%S} UTC if there is none"
        )
        move(
            connection,
            MessageState.QUEUED,
            MessageState.QUEUED,
            owned(lease.owner, row.id),
            ground=Ground.LOST,
            reason=reason_text("echo_wait", explanation),
            actor="worker",
            now=now,
            due_at=due_at,
        )
        return MessageState.QUEUED

    def request(self, client: VirtualTextClient, body: MessageBody) -> Outcome[Receipt]:
        """Store the text in the conversation. Nobody is texted."""
        return client.record_message(body)

    def result(self, attempt: Attempt, outcome: Outcome[Receipt], now: datetime, jitter: float) -> AttemptResult:
        """Return what the outcome means for the record."""
        return record_result(outcome, attempt=attempt.number, now=now, jitter=jitter)
