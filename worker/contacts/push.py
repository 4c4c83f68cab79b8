"""Pushes changed contacts to VirtualText: one request for each contact that differs from what was last pushed.

Contacts are claimed in batches. A bounded pool of threads works through them over the process's one HTTP session, with
no database session open, and the results are written back in bulk. Batches overlap: the next one is claimed during the
last requests of one, and the results of one are written during the first requests of the next. A create whose response
was lost is never repeated before VirtualText's list has shown that it was not carried out.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import get_args

from worker.contacts import push_rows
from worker.contacts.linking import waiting_for_link, waits_for_link_text
from worker.contacts.push_batch import PushBatch
from worker.contacts.push_rows import PushClaim, PushResult
from worker.contacts.remote_list import Listing, ensure_list, is_unavailable, list_state, read_list
from worker.core.logs import working_on
from worker.core.metrics import PushCount, contacts_pushed
from worker.core.progress import Progress, untold
from worker.core.states import PushState
from worker.limits.account_gate import begin_probe, permitted
from worker.limits.limiter import IN_FLIGHT_WAIT_SECONDS, NO_ROOM
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow


@dataclass(frozen=True, slots=True)
class PushReport:
    """The result of a push, in contacts. ``deferred`` says why nothing more can be done now, for a person."""

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
    def done(self) -> int:
        """How many contacts need no further request now."""
        return self.created + self.updated + self.adopted + self.settled + self.rejected + self.unknown


def push_account(runtime: Runtime, account: str, *, progress: Progress = untold) -> PushReport:
    """Push every contact of the account that is due. Safe to run in any number of workers at once."""
    report = PushReport(account)
    with working_on(account=account):
        with writing(runtime.engine) as db:
            push_rows.expire_push_claims(db, account, utcnow())
            only = runtime.only_numbers(account)
            if not push_rows.has_due(db, account, utcnow(), only):
                return report
            creates_wait = push_rows.has_creates(db, account, only)
            total = push_rows.count_due(db, account, utcnow(), only)
        if creates_wait and (why := _why_creates_wait(runtime, account)):
            return replace(report, deferred=why)
        look_up_lost_creates(runtime, account)
        with ThreadPoolExecutor(runtime.settings.accounts[account].concurrency, f"push-{account}") as pool:
            return _Pipeline(runtime, account, pool, progress, total, report).run()


def _why_creates_wait(runtime: Runtime, account: str) -> str:
    """Return why no contact may be created now, for a person; "" if contacts may be created."""
    listing = ensure_list(runtime, account)
    if listing is Listing.LATER and (paused := permitted(runtime.engine, account, runtime.stop.wait).reason):
        return paused
    with reading(runtime.engine) as db:
        if listing is Listing.LATER:
            return list_state(db, account).later_text
        waiting = waiting_for_link(db, account) if listing is Listing.UNAVAILABLE else 0
    return waits_for_link_text(account, waiting) if waiting else ""


def look_up_lost_creates(runtime: Runtime, account: str) -> int:
    """Look up lost creates in a newly read list, once ``lookup_after`` has passed. Return how many were decided."""
    before = utcnow() - runtime.settings.accounts[account].lookup_after
    with reading(runtime.engine) as db:
        lost = push_rows.lost_creates(db, account, before)
        if not lost or is_unavailable(db, account):
            return 0
    if read_list(runtime, account) is not Listing.READ:
        return 0
    with writing(runtime.engine) as db:
        return sum(push_rows.confirm_or_retry_creates(db, account, lost, before, utcnow()))


@dataclass
class _Pipeline:
    """Batch after batch. At most two overlap: the last requests of one and the first of the next."""

    runtime: Runtime
    account: str
    pool: ThreadPoolExecutor
    progress: Progress
    total: int
    """How many contacts were due at the beginning."""
    report: PushReport
    last: PushBatch | None = None
    """The batch whose results are not in the store yet."""

    def run(self) -> PushReport:
        """Push until nothing is due, or nothing more can be done now; then the report says why."""
        deferred: str | None = None
        try:
            while deferred is None and not self.runtime.stop.requested:
                if self.last and not self.last.lets_next_begin():
                    deferred = self._finish(self.last)
                else:
                    deferred = self._begin_next()
        finally:  # even if the store could not be reached for a moment, so that no result is lost
            if self.last:
                deferred = self._finish(self.last) or deferred
        return replace(self.report, deferred=deferred or "")

    def _begin_next(self) -> str | None:
        """Claim a batch, start its requests, then finish the one before. Return why to stop, or None."""
        runtime, account = self.runtime, self.account
        if not (permit := permitted(runtime.engine, account, runtime.stop.wait)):
            return permit.reason
        before = self.last
        with ExitStack() as held:
            at_once = held.enter_context(runtime.in_flight(account, "create"))
            if not at_once:
                runtime.stop.wait(IN_FLIGHT_WAIT_SECONDS)
                return None
            if permit.probe and not self._take_probe():
                return permit.reason
            halted = before.halted if before else threading.Event()
            batch = PushBatch(runtime, account, permit, at_once, halted)
            if batch.claim():
                batch.begin(self.pool, held.pop_all())
                self.last = batch
            elif not before:
                return ""
        return self._finish(before) if before else None

    def _take_probe(self) -> bool:
        with writing(self.runtime.engine) as db:
            return begin_probe(db, self.account, utcnow(), self.runtime.lease_seconds(self.account))

    def _finish(self, batch: PushBatch) -> str | None:
        """Finish a batch. Return why to stop after it, or None."""
        if batch is self.last:
            self.last = None
        before, self.report = self.report, _counted(self.report, batch.claimed, batch.finish())
        for count in _COUNTS:
            contacts_pushed(self.account, count, getattr(self.report, count) - getattr(before, count))
        self.progress(self.report.done, self.total)
        return NO_ROOM.format(account=self.account) if batch.held_back and not batch.results else None


_COUNTS: tuple[PushCount, ...] = get_args(PushCount)


def _counted(report: PushReport, claim: PushClaim, results: Sequence[PushResult]) -> PushReport:
    creates = {push.contact_id for push in claim.pushes if push.virtualtext_id is None}
    synced = [result.contact_id for result in results if result.state is PushState.SYNCED]
    return replace(
        report,
        created=report.created + sum(contact_id in creates for contact_id in synced),
        updated=report.updated + sum(contact_id not in creates for contact_id in synced),
        adopted=report.adopted + claim.adopted,
        settled=report.settled + claim.in_sync,
        rejected=report.rejected + sum(result.state is PushState.REJECTED for result in results),
        unknown=report.unknown + sum(result.state is PushState.UNKNOWN for result in results),
        retrying=report.retrying + sum(result.state is PushState.DUE for result in results),
    )
