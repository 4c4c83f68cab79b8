"""Send the texts that are due. Nothing here can record, and no text is sent twice unless a person asks for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Connection, Row

from config.policy_levels import policy_for
from worker.core.progress import Progress, untold
from worker.core.states import MessageKind, MessageState
from worker.messages.attempts import Attempt
from worker.messages.claims import MessageClaim, claim_sends, expire_leases, owned
from worker.messages.dispatch import dispatch_due
from worker.messages.expiry import expire_messages
from worker.messages.policy_facts import load_facts, lock_recipient, state_after
from worker.messages.results import AttemptResult, send_result
from worker.messages.states import Ground
from worker.messages.transitions import move
from worker.messages.trigger_pause import lock_trigger
from worker.policy.decide import Go, decide
from worker.runtime import Runtime
from worker.store.leases import Lease
from worker.virtualtext.outcomes import MessageBody, Outcome, Receipt

if TYPE_CHECKING:
    from worker.virtualtext.client import VirtualTextClient


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one call of ``deliver_due`` did, in messages. ``waiting``: (account, why it was left early)."""

    accepted: int = 0
    rejected: int = 0
    unknown: int = 0
    requeued: int = 0
    suppressed: int = 0
    expired: int = 0
    held: int = 0
    simulated: int = 0
    waiting: tuple[tuple[str, str], ...] = ()


def deliver_due(
    runtime: Runtime,
    *,
    account: str | None = None,
    message_ids: Collection[str] | None = None,
    limit: int | None = None,
    progress: Progress = untold,
) -> DeliveryReport:
    """Send what is due, of one account or all, until nothing is left, ``limit`` is reached or a stop is requested.

    May run in any number of processes at once: each message is sent by one of them, once. ``progress`` counts the texts
    of one account.
    """
    accounts = list(runtime.settings.accounts) if account is None else [account]
    sends = [SendStrategy(runtime, name, message_ids) for name in accounts]
    done = dispatch_due(runtime, sends, limit, progress)
    return DeliveryReport(
        accepted=done.states[MessageState.ACCEPTED],
        rejected=done.states[MessageState.REJECTED],
        unknown=done.states[MessageState.UNKNOWN],
        requeued=done.states[MessageState.QUEUED],
        suppressed=done.states[MessageState.SUPPRESSED],
        expired=done.states[MessageState.EXPIRED] + sum(one.expired for one in sends),
        held=done.states[MessageState.HELD],
        simulated=done.states[MessageState.SIMULATED],
        waiting=done.waiting,
    )


@dataclass
class SendStrategy:
    """The sends of one account. The policy decides again before each request."""

    runtime: Runtime
    account: str
    message_ids: Collection[str] | None = None
    expired: int = 0
    kind: ClassVar[MessageKind] = MessageKind.SEND

    def claim(self, connection: Connection, now: datetime, lease_seconds: float, limit: int) -> MessageClaim:
        """Claim sends that are due, once those that are too late have expired."""
        expire_leases(connection, now)
        self.expired += expire_messages(connection, now)
        return claim_sends(connection, now, lease_seconds, limit, account=self.account, message_ids=self.message_ids)

    def lock(self, connection: Connection, row: Row[Any]) -> None:
        """Let one worker at a time decide about texts to the recipient, and nobody pause the trigger meanwhile."""
        lock_trigger(connection, row.trigger)
        lock_recipient(connection, self.account, row.to_number, policy_for(self.runtime.settings, account=self.account))

    def refuse(self, connection: Connection, lease: Lease, row: Row[Any], now: datetime) -> MessageState | None:
        """Ask the policy with fresh data, and move a text that may not go now."""
        decision = decide(load_facts(connection, row._asdict(), self.runtime.settings, now), now)
        if isinstance(decision, Go):
            return None
        after = state_after(decision, row.due_at)
        state: MessageState = after.pop("state")
        mine = owned(lease.owner, row.id)
        move(connection, MessageState.QUEUED, state, mine, ground=Ground.POLICY, actor="policy", now=now, **after)
        return state

    def request(self, client: VirtualTextClient, body: MessageBody) -> Outcome[Receipt]:
        """Send the text."""
        return client.send_message(body)

    def result(self, attempt: Attempt, outcome: Outcome[Receipt], now: datetime, jitter: float) -> AttemptResult:
        """Return what the outcome means for the send."""
        return send_result(
            outcome,
            message_id=attempt.message_id,
            attempt=attempt.number,
            expires_at=attempt.expires_at,
            now=now,
            jitter=jitter,
        )
