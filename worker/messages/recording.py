"""Recording texts that another system sent, in the order in which they were sent. Nothing here can send.

The platform has no field for the time: a recorded text takes its place in the conversation when it is stored. So
within a conversation one record at a time, the oldest first, and a failing one is waited for.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from worker.core.states import MessageState
from worker.messages import dispatch
from worker.messages.claims import Claim, claim_records, expire_leases
from worker.messages.dispatch import Attempt
from worker.messages.results import record_result
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """What one call of ``record_due`` came to, in messages. ``waiting``: why an account was left, by account."""

    recorded: int = 0
    rejected: int = 0
    unknown: int = 0
    requeued: int = 0
    waiting: tuple[tuple[str, str], ...] = ()


def record_due(
    runtime: Runtime,
    *,
    account: str | None = None,
    message_ids: Collection[str] | None = None,
    limit: int | None = None,
) -> RecordingReport:
    """Record what is due, of one account or all, until nothing is, ``limit`` is reached or a stop is asked for."""
    with writing(runtime.engine) as connection:
        expire_leases(connection, utcnow())
    reached: Counter[MessageState] = Counter()
    waiting = []
    for name in [account] if account is not None else list(runtime.settings.accounts):
        left = None if limit is None else limit - reached.total()
        states, reason = dispatch.work_off(
            runtime,
            name,
            partial(claim_records, account=name, message_ids=message_ids),
            partial(_record, runtime, name),
            left,
        )
        reached += states
        if reason:
            waiting.append((name, reason))
    return RecordingReport(
        recorded=reached[MessageState.ACCEPTED],
        rejected=reached[MessageState.REJECTED],
        unknown=reached[MessageState.UNKNOWN],
        requeued=reached[MessageState.QUEUED],
        waiting=tuple(waiting),
    )


def _record(runtime: Runtime, account: str, claim: Claim, message_id: str) -> MessageState | None:
    client = runtime.client(account)
    begun = _begin(runtime, account, claim, message_id)
    if begun is None:
        return None
    outcome = dispatch.request(begun, client.record_message)
    result = record_result(outcome, attempt=begun.number, now=utcnow(), jitter=random.random())
    dispatch.keep(runtime, begun, result)
    return result.state


def _begin(runtime: Runtime, account: str, claim: Claim, message_id: str) -> Attempt | None:
    with writing(runtime.engine) as connection:
        now = utcnow()  # read with the write lock held, which may have been waited for
        row = dispatch.claimed_row(connection, claim.owner, message_id)
        if row is None or not dispatch.in_time(runtime, account, claim, now):
            return None
        return dispatch.begin(connection, account, claim, row, now)
