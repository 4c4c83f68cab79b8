"""One batch of contacts: claimed, pushed by a pool of threads, written back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import structlog

from worker.contacts import push_rows
from worker.contacts.look_ups import Answered, LookUps
from worker.contacts.push_outcome import NO_LOOK_UP, LookUp, failed_result, push_result
from worker.contacts.push_rows import Push, PushClaim, PushResult
from worker.contacts.remote_list import is_unavailable
from worker.core.errors import described
from worker.core.logs import carrying_on, working_on
from worker.limits.account_effect import HALTING_CAUSES, AccountEffect, account_effect, combined, counts_as_failure
from worker.limits.account_gate import Permit, apply_effect
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, writing
from worker.store.leases import Lease, lease_end
from worker.store.models import utcnow
from worker.virtualtext.client import LIST_SECONDS, VirtualTextClient
from worker.virtualtext.outcomes import ContactBody, Outcome, RemoteContact

BATCH, LONGEST_BATCH = 500, 1000
ROUNDS = 10
"""Requests per thread and batch: enough that the two transactions of a batch do not slow fast accounts down."""
LAST_PART = 4
"""Claim the next batch when a quarter of this one is left: early enough even when responses are instant."""

log = structlog.get_logger(__name__)


@dataclass
class PushBatch:
    """One claimed batch. ``halted`` is shared with the batch that it overlaps: what stops one stops the other."""

    runtime: Runtime
    account: str
    permit: Permit
    at_once: int
    halted: threading.Event

    def __post_init__(self) -> None:
        self.only_numbers = self.runtime.only_numbers(self.account)
        self.client: VirtualTextClient = self.runtime.client(self.account)
        self.draining = threading.Event()
        self.breaks = self.held_back = False
        self.results: deque[tuple[Push, Outcome[RemoteContact]]] = deque()
        self.failed: deque[PushResult] = deque()

    def claim(self) -> bool:
        """Claim the next contacts. Return False when none are due."""
        configured = self.runtime.settings.accounts[self.account]
        with writing(self.runtime.engine) as db:
            # Where lost creates cannot be looked up, a crash must leave as few of them as possible.
            few = is_unavailable(db, self.account)
            limit = 1 if self.permit.probe else configured.concurrency if few else batch_size(configured.concurrency)
            # A probe decides about the next batch, and slots in flight are counted for one batch.
            self.overlaps = not (few or self.permit.probe or configured.max_in_flight)
            self.began = utcnow()
            seconds = self.runtime.lease_seconds(self.account)
            self.claimed: PushClaim = push_rows.claim_pushes(
                db, self.account, limit, seconds, self.began, self.only_numbers
            )
        return bool(self.claimed.pushes or self.claimed.in_sync)

    def begin(self, pool: ThreadPoolExecutor, held: ExitStack) -> None:
        """Start the requests as the threads of the pool become free. ``held`` is closed when they have ended."""
        self.held, self.waiting = held, deque(self.claimed.pushes)
        self.few_left = max(self.at_once, len(self.waiting) // LAST_PART)
        self.runtime.limiter.note(self.account, len(self.waiting))
        self.longest = self.runtime.request_seconds(self.account) + 1
        work = carrying_on(self._work_through)
        self.threads: list[Future[None]] = [pool.submit(work) for _ in range(min(self.at_once, len(self.waiting)))]

    def lets_next_begin(self) -> bool:
        """Wait until few requests are left. Return True if the next batch may begin at the same time."""
        if self.threads and self.overlaps:
            self.draining.wait()
        return self.overlaps and not (self.halted.is_set() or self.held_back)

    def finish(self) -> list[PushResult]:
        """Wait for the requests to end, write the results back and release the other contacts.

        Whatever a thread raised is raised when the results of all threads are stored.
        """
        with self.held:
            errors = [error for thread in self.threads if (error := thread.exception()) is not None]
        answered = list(self.results)
        look_ups = LookUps(self.runtime, self.account, answered, self._may_request)
        now, owner = utcnow(), self.claimed.lease.owner
        clear = [push_result(*one, now) for one in answered if one[0].contact_id not in look_ups.questions]
        results = self._write_back([*clear, *self.failed], now)
        with writing(self.runtime.engine) as db:
            if self.waiting:
                push_rows.release_pushes(db, owner, [push.contact_id for push in self.waiting], now)
            if look_ups.questions:  # the look-ups may take as long as a contact list
                until = lease_end(now, self.runtime.lease_seconds(self.account) + LIST_SECONDS)
                push_rows.keep_pushes(db, Lease(owner, until), list(look_ups.questions))
        found = look_ups.results() if look_ups.questions else {}
        now = utcnow()
        results += self._write_back(self._looked_up(answered, look_ups, found, now), now)
        effect = self._account_effect(found)
        rate = self.runtime.limiter.observed_rate(self.account) if effect.lowers_rate else None
        with writing(self.runtime.engine) as db:
            apply_effect(db, self.account, effect, now, began_at=self.began, probe=self.permit.probe, rate=rate)
        if errors:
            raise errors[0]
        return results

    def _write_back(self, results: list[PushResult], now: datetime) -> list[PushResult]:
        """Store the results; if one of them cannot be stored, each alone. Return them as they were stored."""
        try:
            with writing(self.runtime.engine) as db:
                push_rows.write_back(db, self.claimed.lease.owner, results, now)
        except STORE_AWAY:
            raise
        except Exception as error:  # noqa: BLE001 - nothing about one contact stops another
            if len(results) == 1:
                return self._write_back_failed(results[0], error, now)
        else:
            return results
        return [stored for result in results for stored in self._write_back([result], now)]

    def _write_back_failed(self, result: PushResult, error: Exception, now: datetime) -> list[PushResult]:
        """Store that a result cannot be stored, such as an id that the database refuses."""
        push = next(one for one in self.claimed.pushes if one.contact_id == result.contact_id)
        unstored = failed_result(push, error, now, sent=True)
        with writing(self.runtime.engine) as db:
            push_rows.write_back(db, self.claimed.lease.owner, [unstored], now)
        return [unstored]

    def _work_through(self) -> None:
        """Make requests, one after the other, until none are left or the batch halts."""
        try:
            while self._goes_on():
                try:
                    push = self.waiting.popleft()
                except IndexError:
                    return
                if len(self.waiting) <= self.few_left:
                    self.draining.set()
                try:
                    turn = self.runtime.turn(self.account, push.kind, self.permit.ceiling, self.runtime.stop)
                except BaseException:
                    self.waiting.append(push)  # nothing was sent for it
                    raise
                if not (turn and self._goes_on()):
                    self.held_back = True
                    self.waiting.append(push)
                    return
                self._push(push)
        finally:
            self.draining.set()

    def _goes_on(self) -> bool:
        stops = self.runtime.stop.requested or self.halted.is_set()
        return not stops and self.claimed.lease.lasts(self.longest)

    def _push(self, push: Push) -> None:
        body = ContactBody(push.phone, push.full_name or push.phone, push.email)
        if self.runtime.only_numbers(self.account) != self.only_numbers:  # switched to test mode during the batch
            self.client = self.runtime.client(self.account)
        with working_on(contact=push.contact_id):
            try:
                if push.virtualtext_id is None:
                    outcome = self.client.create_contact(body)
                else:
                    outcome = self.client.update_contact(push.virtualtext_id, body)
            except Exception as error:  # noqa: BLE001 - nothing about one contact stops another
                log.warning("the request for a contact failed", error=described(error))
                self.failed.append(failed_result(push, error, utcnow()))
                return
        self.results.append((push, outcome))
        self.breaks |= self.runtime.failures(self.account).add(failed=counts_as_failure(outcome, push.kind))
        if outcome.cause in HALTING_CAUSES or self.breaks:
            self.halted.set()

    def _looked_up(
        self, answered: Answered, look_ups: LookUps, found: Mapping[int, LookUp], now: datetime
    ) -> list[PushResult]:
        """Decide about the responses that left a question open."""
        recreate_after = self.runtime.settings.accounts[self.account].recreate_after
        return [
            push_result(push, outcome, now, found.get(push.contact_id, NO_LOOK_UP), recreate_after)
            for push, outcome in answered
            if push.contact_id in look_ups.questions
        ]

    def _may_request(self) -> bool:
        return self._goes_on() and self.runtime.turn(self.account, "update", self.permit.ceiling, self.runtime.stop)

    def _account_effect(self, found: Mapping[int, LookUp]) -> AccountEffect:
        """Return what the batch means for the account. An id that is missing while others work means nothing."""
        missing = {contact_id for contact_id, one in found.items() if one.others_work or one.listed is False}
        return combined(
            account_effect(outcome, push.kind, probe=self.permit.probe, opens_breaker=self.breaks)
            for push, outcome in self.results
            if push.contact_id not in missing
        )


def batch_size(concurrency: int) -> int:
    """Return how many contacts to claim at once."""
    return min(max(BATCH, ROUNDS * concurrency), LONGEST_BATCH)
