"""Tells VirtualText about contacts that differ from what it was last told: one request a changed contact.

Contacts are claimed in batches; a bounded pool of threads works through them over the process's one session, with no
database session open; results are written back in bulk. The next batch is claimed during the last requests of one, the
results of which are written during the first of the next. A create whose answer is lost is never repeated before
VirtualText's list has shown that it was not carried out.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import get_args

from sqlalchemy import Connection

from worker.contacts import push_rows
from worker.contacts.push_rows import Claim, Push, Result
from worker.contacts.remote_list import Listing, is_unavailable, link, read_list
from worker.core.logs import carrying_on, working_on
from worker.core.metrics import PushResult, contacts_pushed
from worker.core.states import PushState
from worker.limits.account_gate import (
    Permit,
    begin_probe,
    clear_stop,
    close_breaker,
    open_breaker,
    pause_account,
    slow_down,
    stop_account,
)
from worker.messages.dispatch import NO_ROOM, PLACE_SECONDS, permitted
from worker.runtime import Kind, Runtime, StopSignal
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.virtualtext.client import VirtualTextClient
from worker.virtualtext.outcomes import Cause, ContactBody, Outcome, RemoteContact

BATCH, LONGEST_BATCH = 500, 1000
ROUNDS = 10
"""Of a batch: what its two transactions cost must not be felt where many requests are made at once."""
LAST_PART = 4
"""When a quarter of a batch is left the next one is claimed: in time also where answers come at once."""
ID_LOST = "virtualtext_id_lost"
DEFAULT_PAUSE_SECONDS = 30.0
UNREACHABLE_PAUSE_SECONDS = 10.0
LONGEST_BACK_OFF_SECONDS = 3600.0
LIST_FIRST = "VirtualText's contact list could not be read just now; nothing is created before, to make no duplicates"


@dataclass(frozen=True, slots=True)
class PushReport:
    """What came of a push, in contacts. ``deferred`` says why nothing more can be done now, for a person."""

    account: str
    created: int = 0
    updated: int = 0
    adopted: int = 0
    settled: int = 0
    """Adopted and already as wanted: no request."""
    rejected: int = 0
    unknown: int = 0
    retrying: int = 0
    deferred: str = ""

    @property
    def requests_answered(self) -> int:
        """Contacts that VirtualText was told about."""
        return self.created + self.updated


Progress = Callable[[PushReport], None]


def push_account(
    runtime: Runtime,
    account: str,
    *,
    progress: Progress | None = None,
    stop: StopSignal | None = None,
) -> PushReport:
    """Push every contact of the account that is due. Safe to run in any number of workers at once."""
    with working_on(account=account):
        return _push_account(runtime, account, progress, stop)


def _push_account(runtime: Runtime, account: str, progress: Progress | None, stop: StopSignal | None) -> PushReport:
    stop = stop or runtime.stop
    report = PushReport(account)
    with writing(runtime.engine) as db:
        push_rows.expire_claims(db, account, utcnow())
    if not _anything_to_do(runtime, account):
        return report
    if not (permit := permitted(runtime, account, stop)):
        return replace(report, deferred=permit.reason)
    if _creates_wait(runtime, account) and link(runtime, account) is Listing.LATER:
        return replace(report, deferred=permitted(runtime, account, stop).reason or LIST_FIRST)
    settle_unknown(runtime, account)
    with ThreadPoolExecutor(runtime.settings.accounts[account].concurrency, f"push-{account}") as pool:
        return _Pipeline(runtime, account, stop, pool, progress or (lambda _: None), report).run()


@dataclass
class _Pipeline:
    """Batch after batch, of which at most two overlap: the last requests of one and the first of the next."""

    runtime: Runtime
    account: str
    stop: StopSignal
    pool: ThreadPoolExecutor
    progress: Progress
    report: PushReport
    last: _Batch | None = None
    """The one whose results are not in the store yet."""

    def run(self) -> PushReport:
        """Until nothing is due, or nothing more can be done now: the report says why then."""
        deferred: str | None = None
        try:
            while deferred is None and not self.stop.requested:
                if self.last and not self.last.lets_next_begin():
                    deferred = self._finish(self.last)
                else:
                    deferred = self._begin_next()
        finally:  # also where the store was away for a moment: answers are not thrown away
            if self.last:
                deferred = self._finish(self.last) or deferred
        return replace(self.report, deferred=deferred or "")

    def _begin_next(self) -> str | None:
        """Claim a batch and let its requests begin, then end the one before. Returns why not to go on, or None."""
        if not (permit := permitted(self.runtime, self.account, self.stop)):
            return permit.reason
        before = self.last
        with ExitStack() as held:
            places = held.enter_context(self.runtime.places(self.account, "create"))
            if not places:
                self.stop.wait(PLACE_SECONDS)
                return None
            if permit.probe and not _take_probe(self.runtime, self.account):
                return permit.reason
            halted = before.halted if before else threading.Event()
            batch = _Batch(self.runtime, self.account, self.stop, permit, places, halted)
            if batch.claim():
                batch.begin(self.pool, held.pop_all())
                self.last = batch
            elif not before:
                return ""
        return self._finish(before) if before else None

    def _finish(self, batch: _Batch) -> str | None:
        """End a batch. Returns why not to go on after it, or None."""
        if batch is self.last:
            self.last = None
        before, self.report = self.report, batch.finish(self.report)
        _count(before, self.report)
        self.progress(self.report)
        return NO_ROOM.format(account=self.account) if batch.held_back and not batch.results else None


_RESULTS: tuple[PushResult, ...] = get_args(PushResult)


def _count(before: PushReport, after: PushReport) -> None:
    for result in _RESULTS:
        contacts_pushed(after.account, result, getattr(after, result) - getattr(before, result))


def settle_unknown(runtime: Runtime, account: str) -> int:
    """Look lost creates up in a fresh list, at the earliest a cool-down after them; returns how many were settled."""
    before = utcnow() - runtime.settings.accounts[account].lookup_after
    with reading(runtime.engine) as db:
        unknown = push_rows.unsettled(db, account, before)
        if not unknown or is_unavailable(db, account):
            return 0
    if read_list(runtime, account) is not Listing.READ:
        return 0
    with writing(runtime.engine) as db:
        return sum(push_rows.settle(db, account, unknown, before, utcnow()))


def _anything_to_do(runtime: Runtime, account: str) -> bool:
    with reading(runtime.engine) as db:
        return push_rows.has_work(db, account, utcnow())


def _creates_wait(runtime: Runtime, account: str) -> bool:
    with reading(runtime.engine) as db:
        return push_rows.has_creates(db, account)


def _take_probe(runtime: Runtime, account: str) -> bool:
    with writing(runtime.engine) as db:
        return begin_probe(db, account, utcnow(), runtime.lease_seconds(account))


@dataclass
class _Batch:
    """One claimed batch on its way."""

    runtime: Runtime
    account: str
    stop: StopSignal
    permit: Permit
    places: int
    halted: threading.Event
    """Shared with the batch that it overlaps: what stops one stops the other."""

    def __post_init__(self) -> None:
        self.client: VirtualTextClient = self.runtime.client(self.account)
        self.draining = threading.Event()
        self.broken = self.held_back = False
        self.results: deque[tuple[Push, Outcome[RemoteContact]]] = deque()

    def claim(self) -> bool:
        """Claim the next contacts; False when none are due."""
        found = self.runtime.settings.accounts[self.account]
        with writing(self.runtime.engine) as db:
            # Where lost creates cannot be looked up, a crash must leave as few of them as can be.
            few = is_unavailable(db, self.account)
            limit = 1 if self.permit.probe else found.concurrency if few else batch_size(found.concurrency)
            # A probe decides about the next; places in flight are counted for one batch.
            self.overlaps = not (few or self.permit.probe or found.max_in_flight)
            seconds = self.runtime.lease_seconds(self.account)
            self.began = utcnow()
            self.claimed: Claim = push_rows.claim(db, self.account, limit, seconds, self.began)
        return bool(self.claimed.pushes or self.claimed.settled)

    def begin(self, pool: ThreadPoolExecutor, held: ExitStack) -> None:
        """Let the requests be made as the pool's threads get free. ``held`` is closed when they have ended."""
        self.held, self.waiting = held, deque(self.claimed.pushes)
        self.few_left = max(self.places, len(self.waiting) // LAST_PART)
        self.runtime.limiter.note(self.account, len(self.waiting))
        self.last_start = self.claimed.until - timedelta(seconds=self.runtime.request_seconds(self.account) + 1)
        stripe = carrying_on(self._stripe)
        self.stripes: list[Future[None]] = [pool.submit(stripe) for _ in range(min(self.places, len(self.waiting)))]

    def lets_next_begin(self) -> bool:
        """Wait until few of its requests are left. Whether the next batch may begin beside them."""
        if self.stripes and self.overlaps:
            self.draining.wait()
        return self.overlaps and not (self.halted.is_set() or self.held_back)

    def finish(self, report: PushReport) -> PushReport:
        """Wait for the requests to end, write the results back, give the rest back."""
        with self.held:
            for stripe in self.stripes:
                stripe.result()
        results = [self._result(push, outcome) for push, outcome in self.results]
        limited = any(outcome.cause is Cause.RATE_LIMITED for _, outcome in self.results)
        rate = self.runtime.limiter.seen(self.account) if limited else None
        now = utcnow()
        with writing(self.runtime.engine) as db:
            push_rows.write_back(db, self.claimed.owner, results, now)
            push_rows.release(db, self.claimed.owner, [push.contact_id for push in self.waiting], now)
            self._judge_account(db, results, rate, now)
        return self._counted(report, results)

    def _stripe(self) -> None:
        try:
            self._work_through()
        finally:
            self.draining.set()

    def _work_through(self) -> None:
        while self._goes_on():
            try:
                push = self.waiting.popleft()
            except IndexError:
                return
            if len(self.waiting) <= self.few_left:
                self.draining.set()
            kind: Kind = "create" if push.virtualtext_id is None else "update"
            if not (self.runtime.turn(self.account, kind, self.permit.ceiling, self.stop) and self._goes_on()):
                self.held_back = True
                self.waiting.append(push)
                return
            with working_on(contact=push.contact_id):
                outcome = self._request(push)
            self.results.append((push, outcome))
            # What may only be an id that is gone says nothing of the platform.
            if outcome.done or (outcome.failed and not (push.virtualtext_id is not None and _may_be_stale(outcome))):
                self.broken |= self.runtime.tally(self.account).add(failed=outcome.failed)
            if outcome.cause in _HALTING or self.broken:
                self.halted.set()

    def _goes_on(self) -> bool:
        return not (self.stop.requested or self.halted.is_set() or utcnow() >= self.last_start)

    def _request(self, push: Push) -> Outcome[RemoteContact]:
        body = ContactBody(push.phone, push.full_name or push.phone, push.email)
        if push.virtualtext_id is None:
            return self.client.create_contact(body)
        return self.client.update_contact(push.virtualtext_id, body)

    def _result(self, push: Push, outcome: Outcome[RemoteContact]) -> Result:
        lost_id = push.virtualtext_id
        if lost_id is not None and _may_be_stale(outcome) and self._is_stale(lost_id, outcome):
            event = (
                ID_LOST,
                f"VirtualText does not know {lost_id} any more; looking it up again",
            )
            return Result(push.contact_id, PushState.UNKNOWN, None, error="its VirtualText id is gone", event=event)
        return judge(push, outcome, utcnow())

    def _is_stale(self, virtualtext_id: str, outcome: Outcome[RemoteContact]) -> bool:
        """A gateway error on a by-id path: an outage, or an id that is gone? Ask once more while others do answer."""
        if outcome.http_status == 404:
            return True
        return self._by_id_works and self.client.get_contact(virtualtext_id).cause is Cause.GATEWAY

    @cached_property
    def _by_id_works(self) -> bool:
        """Whether calls by id succeed just now. Asked once a batch: in an outage nothing is re-created."""
        if any(outcome.done for push, outcome in self.results if push.virtualtext_id is not None):
            return True
        with reading(self.runtime.engine) as db:
            known = push_rows.a_synced_id(db, self.account)
        return self.client.get_contact(known).done if known else self.client.health().done

    def _judge_account(self, db: Connection, results: Sequence[Result], rate: float | None, now: datetime) -> None:
        outcomes = [outcome for _, outcome in self.results]
        for outcome in outcomes:
            if outcome.cause in (Cause.CREDENTIALS, Cause.REDIRECTED):
                stop_account(db, self.account, outcome.detail, now)
                return
        if rate is not None:
            slow_down(db, self.account, rate, now)
        halting = max((outcome for outcome in outcomes if outcome.cause in _HALTING), key=pause_seconds, default=None)
        if halting is not None:
            pause_account(db, self.account, now + timedelta(seconds=pause_seconds(halting)), halting.detail)
        elif self.permit.probe and any(outcome.done for outcome in outcomes):
            clear_stop(db, self.account, self.began)
        gone = {result.contact_id for result in results if result.event and result.event[0] == ID_LOST}
        failures = [outcome for push, outcome in self.results if outcome.failed and push.contact_id not in gone]
        if failures and (self.broken or self.permit.probe):
            open_breaker(db, self.account, now, failures[-1].detail, probe=self.permit.probe)
        elif self.permit.probe and outcomes and not failures:
            close_breaker(db, self.account)

    def _counted(self, report: PushReport, results: Sequence[Result]) -> PushReport:
        created = {push.contact_id for push in self.claimed.pushes if push.virtualtext_id is None}
        synced = [result.contact_id for result in results if result.state is PushState.SYNCED]
        return replace(
            report,
            created=report.created + sum(contact_id in created for contact_id in synced),
            updated=report.updated + sum(contact_id not in created for contact_id in synced),
            adopted=report.adopted + self.claimed.adopted,
            settled=report.settled + self.claimed.settled,
            rejected=report.rejected + sum(result.state is PushState.REJECTED for result in results),
            unknown=report.unknown + sum(result.state is PushState.UNKNOWN for result in results),
            retrying=report.retrying + sum(result.state is PushState.DUE for result in results),
        )


_HALTING = {Cause.CREDENTIALS, Cause.REDIRECTED, Cause.RATE_LIMITED, Cause.UNREACHABLE}
"""What concerns the whole account: no further request of the batch is begun."""


def _may_be_stale(outcome: Outcome[RemoteContact]) -> bool:
    return outcome.cause is Cause.GATEWAY or outcome.http_status == 404


def pause_seconds(outcome: Outcome[RemoteContact]) -> float:
    """How long the account waits after an outcome that concerns all of it."""
    if outcome.retry_after is not None:
        return outcome.retry_after
    return UNREACHABLE_PAUSE_SECONDS if outcome.cause is Cause.UNREACHABLE else DEFAULT_PAUSE_SECONDS


def batch_size(concurrency: int) -> int:
    """How many contacts are claimed at once."""
    return min(max(BATCH, ROUNDS * concurrency), LONGEST_BATCH)


def back_off(attempt: int) -> timedelta:
    """Doubling from 2 s to an hour, with jitter so that a storm does not come back as one."""
    seconds = min(2.0 ** min(attempt, 12), LONGEST_BACK_OFF_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))


def judge(push: Push, outcome: Outcome[RemoteContact], now: datetime) -> Result:
    """What an outcome means for its contact. Pure but for the jitter."""
    error = f"{outcome.detail} (reference {outcome.reference_code})" if outcome.reference_code else outcome.detail
    if outcome.done:
        remote_id = push.virtualtext_id or (outcome.value.id if outcome.value else None)
        return Result(push.contact_id, PushState.SYNCED, remote_id, push.hash)
    if outcome.unknown and push.virtualtext_id is None:
        return Result(
            push.contact_id,
            PushState.UNKNOWN,
            None,
            error=error,
            event=("create_unknown", f"the answer was lost: {error}"),
        )
    if outcome.cause in (Cause.REJECTED, Cause.OPTED_OUT):
        return Result(
            push.contact_id,
            PushState.REJECTED,
            push.virtualtext_id,
            error=error,
            event=("push_rejected", error),
        )
    # Not done, or an update that may be repeated without harm: it is tried again.
    at_once = outcome.cause in _HALTING  # the account's own pause decides
    return Result(
        push.contact_id,
        PushState.DUE,
        push.virtualtext_id,
        next_attempt_at=now if at_once else now + back_off(push.attempt),
        error=error,
    )
