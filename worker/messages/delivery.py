"""Sending what is due. Nothing here can record, and nothing is sent twice without a person's word."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from worker.core.states import MessageState
from worker.messages import dispatch
from worker.messages.claims import Claim, claim_sends, expire_leases, owned
from worker.messages.dispatch import Attempt
from worker.messages.expiry import expire_messages
from worker.messages.policy_facts import fresh_view, lock_recipient, state_after
from worker.messages.results import send_result
from worker.messages.transitions import move
from worker.policy.decide import Go, decide
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one call of ``deliver_due`` came to, in messages. ``waiting``: why an account was left, by account."""

    accepted: int = 0
    rejected: int = 0
    unknown: int = 0
    requeued: int = 0
    suppressed: int = 0
    expired: int = 0
    held: int = 0
    waiting: tuple[tuple[str, str], ...] = ()


def deliver_due(
    runtime: Runtime,
    *,
    account: str | None = None,
    message_ids: Collection[str] | None = None,
    limit: int | None = None,
) -> DeliveryReport:
    """Send what is due, of one account or all, until nothing is, ``limit`` is reached or a stop is asked for.

    May run in any number of processes at once: each message is sent by one of them, once.
    """
    reached: Counter[MessageState] = Counter()
    waiting = []

    def claim(connection: Connection, now: datetime, seconds: float, most: int, *, account: str) -> Claim:
        expire_leases(connection, now)
        reached[MessageState.EXPIRED] += expire_messages(connection, now)
        return claim_sends(connection, now, seconds, most, account=account, message_ids=message_ids)

    for name in [account] if account is not None else list(runtime.settings.accounts):
        left = None if limit is None else limit - (reached.total() - reached[MessageState.EXPIRED])
        states, reason = dispatch.work_off(
            runtime,
            name,
            partial(claim, account=name),
            partial(_deliver, runtime, name),
            left,
        )
        reached += states
        if reason:
            waiting.append((name, reason))
    return DeliveryReport(
        accepted=reached[MessageState.ACCEPTED],
        rejected=reached[MessageState.REJECTED],
        unknown=reached[MessageState.UNKNOWN],
        requeued=reached[MessageState.QUEUED],
        suppressed=reached[MessageState.SUPPRESSED],
        expired=reached[MessageState.EXPIRED],
        held=reached[MessageState.HELD],
        waiting=tuple(waiting),
    )


def _deliver(runtime: Runtime, account: str, claim: Claim, message_id: str) -> MessageState | None:
    """Where the message went; None when it was left as it was."""
    client = runtime.client(account)
    begun = _begin(runtime, account, claim, message_id)
    if not isinstance(begun, Attempt):
        return begun
    outcome = dispatch.request(begun, client.send_message)
    result = send_result(
        outcome,
        message_id=message_id,
        attempt=begun.number,
        expires_at=begun.expires_at,
        now=utcnow(),
        jitter=random.random(),
    )
    dispatch.keep(runtime, begun, result)
    return result.state


def _begin(runtime: Runtime, account: str, claim: Claim, message_id: str) -> Attempt | MessageState | None:
    """Ask the policy again, with fresh data, and commit that the request is being made.

    The state instead when the policy says otherwise; None when the message is left as it was.
    """
    with writing(runtime.engine) as connection:
        row = dispatch.claimed_row(connection, claim.owner, message_id)
        if row is None:
            return None
        lock_recipient(connection, account, row.to_number, runtime.settings.policy)
        now = utcnow()  # read with the locks held, which may have been waited for
        if not dispatch.in_time(runtime, account, claim, now):
            return None
        decision = decide(fresh_view(connection, row._asdict(), runtime.settings, now), now)
        if isinstance(decision, Go):
            return dispatch.begin(connection, account, claim, row, now)
        after = state_after(decision, row.due_at)
        state: MessageState = after.pop("state")
        move(
            connection,
            MessageState.QUEUED,
            state,
            owned(claim.owner, message_id),
            actor="policy",
            now=now,
            **after,
        )
        return state
