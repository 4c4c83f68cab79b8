"""The delivery loop: claim what is due, then work through the claimed conversations in parallel.

For each message the loop commits that the request is being made, makes it and stores its result. ``delivery`` sends
and ``recording`` records; each is a ``DispatchStrategy`` that says what to claim, what to check before a request,
which request to make and what its outcome means.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Row, select

from worker.core.logs import carrying_on, working_on
from worker.core.progress import Progress, untold
from worker.core.states import MessageKind, MessageState
from worker.limits.account_gate import permitted
from worker.limits.limiter import IN_FLIGHT_WAIT_SECONDS, NO_ROOM
from worker.messages.attempts import Attempt, begin_attempt, make_request, store_result
from worker.messages.claims import MessageClaim, count_due, owned, release_unstarted
from worker.messages.results import AttemptResult
from worker.messages.simulation import simulate
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.leases import Lease
from worker.store.models import utcnow
from worker.store.tables import message
from worker.virtualtext.outcomes import MessageBody, Outcome, Receipt

if TYPE_CHECKING:
    from worker.virtualtext.client import VirtualTextClient

# Enough to keep every thread busy, few enough that the messages of a vanished worker are free again soon.
BATCH_PER_THREAD = 8
# No request starts unless its longest duration and this margin fit into the lease.
LEASE_MARGIN_SECONDS = 5.0


class DispatchStrategy(Protocol):
    """What differs between sending and recording the messages of one account."""

    @property
    def account(self) -> str:
        """The account."""

    @property
    def kind(self) -> MessageKind:
        """The only kind of message that this strategy requests."""

    def claim(self, connection: Connection, now: datetime, lease_seconds: float, limit: int) -> MessageClaim:
        """Claim up to ``limit`` messages that are due."""

    def lock(self, connection: Connection, row: Row[Any]) -> None:
        """Take the locks that ``refuse`` needs, before anything else is read."""

    def refuse(self, connection: Connection, lease: Lease, row: Row[Any], now: datetime) -> MessageState | None:
        """Move a message that must not be requested now, and return its new state. None: make the request."""

    def request(self, client: VirtualTextClient, body: MessageBody) -> Outcome[Receipt]:
        """Make the request."""

    def result(self, attempt: Attempt, outcome: Outcome[Receipt], now: datetime, jitter: float) -> AttemptResult:
        """Return what the outcome means for the message."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """How many messages reached which state, and why accounts were left early: (account, reason)."""

    states: Counter[MessageState]
    waiting: tuple[tuple[str, str], ...]


def dispatch_due(
    runtime: Runtime, strategies: Iterable[DispatchStrategy], limit: int | None, progress: Progress = untold
) -> Dispatched:
    """Work through what is due, account by account, until nothing is left, ``limit`` is reached or a stop is requested.

    May run in any number of processes at once: each message is requested by one of them, once. ``progress`` counts the
    messages of one account.
    """
    states: Counter[MessageState] = Counter()
    waiting = []
    for strategy in strategies:
        left = None if limit is None else limit - states.total()
        with working_on(account=strategy.account):
            reached, reason = _dispatch_account(runtime, strategy, left, progress)
        states += reached
        if reason:
            waiting.append((strategy.account, reason))
    return Dispatched(states, tuple(waiting))


def _dispatch_account(
    runtime: Runtime, strategy: DispatchStrategy, limit: int | None, progress: Progress
) -> tuple[Counter[MessageState], str]:
    """Return how many messages reached which state, and why the account waits; "" when it does not."""
    account = strategy.account
    reached: Counter[MessageState] = Counter()
    size = runtime.settings.accounts[account].concurrency * BATCH_PER_THREAD
    total = 0
    if progress is not untold:
        with reading(runtime.engine) as connection:
            total = count_due(connection, account, strategy.kind, utcnow())
    while not runtime.stop.requested:
        permit = permitted(runtime.engine, account, runtime.stop.wait)
        if not permit:
            return reached, permit.reason
        most = size if limit is None else min(size, limit - reached.total())
        if most <= 0:
            break
        with runtime.in_flight(account, "text") as slots:
            if slots:
                with writing(runtime.engine) as connection:
                    seconds = runtime.lease_seconds(account)
                    claim = strategy.claim(connection, utcnow(), seconds, 1 if permit.probe else most)
                batch = _ClaimedBatch(runtime, strategy, claim, permit.ceiling)
                states = batch.work_through(slots)
        if not slots:
            runtime.stop.wait(IN_FLIGHT_WAIT_SECONDS)
            continue
        reached += states
        progress(reached.total(), total)
        if not states:
            return reached, NO_ROOM.format(account=account) if batch.held_back else ""
    return reached, ""


@dataclass
class _ClaimedBatch:
    """The messages of one claim. ``held_back``: the rate limits stopped some of them."""

    runtime: Runtime
    strategy: DispatchStrategy
    claim: MessageClaim
    ceiling: float | None
    held_back: bool = False

    def work_through(self, at_once: int) -> Counter[MessageState]:
        """Dispatch the conversations in parallel, each in its order; give back what was not started."""
        conversations = self.claim.conversations
        reached: Counter[MessageState] = Counter()
        if not conversations:
            return reached
        self.runtime.limiter.note(self.strategy.account, self.claim.size)
        threads = min(at_once, len(conversations))
        try:
            if threads == 1:  # usually one text alone, which does not have to wait for a thread to start
                for ids in conversations:
                    reached.update(self._conversation(ids))
                return reached
            with ThreadPoolExecutor(threads, thread_name_prefix=f"messages-{self.strategy.account}") as pool:
                for states in pool.map(carrying_on(self._conversation), conversations):
                    reached.update(states)
        finally:
            with writing(self.runtime.engine) as connection:
                release_unstarted(connection, self.claim.lease.owner)
        return reached

    def _conversation(self, ids: tuple[str, ...]) -> list[MessageState]:
        states = []
        for message_id in ids:
            if not self.runtime.turn(self.strategy.account, "text", self.ceiling, self.runtime.stop):
                self.held_back = True
                break
            with working_on(message=message_id):
                state = self._dispatch(message_id)
            if state is not None:
                states.append(state)
        return states

    def _dispatch(self, message_id: str) -> MessageState | None:
        """Return the new state of the message; None when it stays as it was."""
        client = self.runtime.client(self.strategy.account)
        begun = self._begin(message_id)
        if not isinstance(begun, Attempt):
            return begun
        outcome = make_request(begun, partial(self.strategy.request, client))
        result = self.strategy.result(begun, outcome, utcnow(), random.random())
        store_result(self.runtime, begun, outcome, result)
        return result.state

    def _begin(self, message_id: str) -> Attempt | MessageState | None:
        """Check the message again with fresh data, and commit that the request is being made."""
        lease = self.claim.lease
        with writing(self.runtime.engine) as connection:
            row = self._claimed_row(connection, message_id)
            if row is None:
                return None
            self.strategy.lock(connection, row)
            now = utcnow()  # read with the locks held, after any wait for them
            if not self._in_time():
                return None
            refused = self.strategy.refuse(connection, lease, row, now)
            if refused is not None:
                return refused
            only_numbers = self.runtime.only_numbers(self.strategy.account)
            simulated = simulate(connection, lease, row, only_numbers, now)
            return simulated or begin_attempt(connection, self.strategy.account, lease, row, now)

    def _claimed_row(self, connection: Connection, message_id: str) -> Row[Any] | None:
        """Read the message as it is now; None when the claim on it is lost or it was started."""
        mine = select(message).where(
            owned(self.claim.lease.owner, message_id),
            message.c.kind == self.strategy.kind,
            message.c.state == MessageState.QUEUED,
        )
        return connection.execute(mine).one_or_none()

    def _in_time(self) -> bool:
        """Return True if a request may start: no stop is requested, and its longest duration fits into the lease."""
        longest = self.runtime.request_seconds(self.strategy.account) + LEASE_MARGIN_SECONDS
        return not self.runtime.stop.requested and self.claim.lease.lasts(longest)
