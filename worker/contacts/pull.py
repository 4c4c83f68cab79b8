"""Pulls one connection: pages of CRM changes become mappings, contacts to push and texts to send.

One transaction stores a page, its rejected records, the messages that its triggers produced and the cursor after it. It
is fenced by the connection's lease. A crash at any point replays the page; the record hashes make the replay harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection as Database
from sqlalchemy import select, update

from crm_adapters.base import Adapter, AdapterError, SourceIncomplete
from worker.contacts import pull_rows
from worker.contacts.adapters import build_adapter
from worker.contacts.decide import ConnectionRules, PageDecision, decide_page
from worker.contacts.lease import CONNECTION_LEASE, ConnectionLease, LeaseLost, claim_connection, kept_alive
from worker.contacts.reader import PageReader, ReadPage
from worker.contacts.records import NormalisedRecord
from worker.contacts.removals import removal_refusal
from worker.contacts.trigger_watch import TriggerWatch
from worker.core.logs import working_on
from worker.core.metrics import records_read, run_ended
from worker.core.states import RunState
from worker.messages.date_plans import plan_existing
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.sql import analyse, lock_account
from worker.store.tables import connection_state, sync_run

MANY_ADDED = 10_000
"""After this many new records, the statistics that the database plans its queries with are outdated."""
CURSOR_SECONDS = 5.0
"""A crash repeats at most this much reading of unchanged records. A commit per page would take a third longer."""
STOPPED = "stopped at a safe point; the next run continues from here"


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The result of a run. ``state`` is a RunState or "busy": another worker is reading this connection.

    ``held`` counts texts that wait for approval. ``error`` is for a person and empty when all is well.
    """

    connection: str
    state: str
    run_id: int | None = None
    batch_id: str = ""
    seen: int = 0
    unchanged: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    rejected: int = 0
    messages: int = 0
    held: int = 0
    error: str = ""

    @property
    def ok(self) -> bool:
        """True if nothing went wrong. A busy connection or an interrupted run is not an error."""
        return self.state in (RunState.DONE, RunState.INTERRUPTED, "busy")


_OUTCOMES = ("unchanged", "added", "changed", "removed", "rejected")
_COUNTS = ("seen", "unchanged", "added", "changed", "removed", "rejected", "messages")

Progress = Callable[[SyncReport], None]


def sync_connection(
    runtime: Runtime, connection: str, *, accept_removals: bool = False, progress: Progress | None = None
) -> SyncReport:
    """Pull everything that changed since the last run. Raises KeyError for an unknown connection.

    Errors of the CRM end up in the report, not in an exception. Nothing is pushed or sent here.
    """
    if connection not in runtime.settings.connections:
        raise KeyError(connection)
    worker = runtime.settings.worker
    seconds, patience = worker.lease.total_seconds(), worker.time_limit.total_seconds()
    lease = claim_connection(runtime.engine, connection, seconds)
    if lease is None:
        return SyncReport(connection, "busy", error="another worker is reading this connection right now")
    run = _Run(runtime, lease, accept_removals, progress or (lambda _: None))
    began, outcome = time.monotonic(), str(RunState.FAILED)
    try:
        with kept_alive(runtime.engine, lease, seconds, patience), working_on(connection=connection, run=lease.run_id):
            report = run.execute()
        outcome = report.state
        return report
    finally:
        run_ended(connection, outcome, time.monotonic() - began)


@dataclass
class _Run:
    """One run in progress."""

    runtime: Runtime
    lease: ConnectionLease
    accept_removals: bool
    progress: Progress
    counts: SyncReport = field(init=False)
    watch: TriggerWatch | None = None
    lists_everything: bool = False
    waiting_cursor: str | None = None
    """The cursor after pages without changes; stored with the next commit."""
    cursor_due: float = 0.0
    """When to store the waiting cursor at the latest, by the monotonic clock."""

    def __post_init__(self) -> None:
        self.rules = ConnectionRules.of(self.runtime.settings, self.lease.connection)
        self.counts = SyncReport(self.lease.connection, RunState.RUNNING, self.lease.run_id, self.lease.batch_id)

    def execute(self) -> SyncReport:
        """Run to an end and commit its result."""
        adapter: Adapter | None = None
        try:
            adapter = build_adapter(self.runtime.settings, self.lease.connection)
            return self._pull(adapter)
        except LeaseLost as error:
            return replace(self.counts, state=RunState.INTERRUPTED, error=str(error))
        except SourceIncomplete as error:
            return self._finish(RunState.REFUSED, str(error))
        except AdapterError as error:
            return self._finish(RunState.FAILED, str(error))
        except Exception as error:
            self._finish(RunState.FAILED, f"unexpected: {type(error).__name__}; see the worker's log")
            raise
        finally:
            if adapter is not None:
                adapter.close()

    def _pull(self, adapter: Adapter) -> SyncReport:
        runtime, stop = self.runtime, self.runtime.stop
        cursor = self._open()
        resumes = cursor is not None
        reader = PageReader(runtime.engine, runtime.settings, self.lease.connection, adapter, resumes=resumes)
        self.lists_everything = reader.lists_everything
        for page in adapter.pull(None if cursor is None else orjson.loads(cursor)):
            self.lease.note_progress()
            read = reader.read(page)
            self._commit(read, None if page.cursor is None else orjson.dumps(dict(page.cursor)).decode())
            reader.note_stored(read.records)
            self.progress(self.counts)
            if stop.requested:
                return self._finish(RunState.INTERRUPTED, STOPPED)
        return self._remove_missing(reader)

    def _open(self) -> str | None:
        """Open the trigger watch and return the stored cursor."""
        c = connection_state.c
        with writing(self.runtime.engine) as db:
            cursor, baseline_at = db.execute(
                select(c.cursor, c.baseline_at).where(c.connection == self.lease.connection)
            ).one()
            self.watch = TriggerWatch.open(db, self.runtime.settings, self.lease.connection, baseline_at)
            self.watch.prepare(db)
        return None if cursor is None else str(cursor)

    def _commit(self, read: ReadPage, cursor: str | None) -> None:
        """Store mappings, contacts, rejections, messages, counts and the cursor in one transaction.

        A cursor alone can wait: after a crash, pages without changes are only read again.
        """
        cursor = cursor or self.waiting_cursor
        if not read.records and not read.rejections and time.monotonic() < self.cursor_due:
            self._note(self._counted(read, PageDecision(), 0))
            self.waiting_cursor = cursor
            return
        now = utcnow()
        name, account = self.rules.connection, self.rules.account
        with writing(self.runtime.engine) as db:
            decision = self._decide(db, read.records, now)
            pull_rows.store_decision(db, name, account, decision, now)
            if read.rejections:
                pull_rows.store_rejections(db, name, read.rejections, now)
                pull_rows.forget_hashes(db, name, [rejection.key for rejection in read.rejections])
            messages = self.watch.queue(db, decision, self.lease.batch_id, now) if self.watch else 0
            counts = self._counted(read, decision, messages)
            self._store_run(db, counts)
            self.lease.fence(db, **({} if cursor is None else {"cursor": cursor}))
        self._note(counts)
        self.waiting_cursor, self.cursor_due = None, time.monotonic() + CURSOR_SECONDS

    def _decide(self, db: Database, records: Sequence[NormalisedRecord], now: datetime) -> PageDecision:
        if not records:
            return PageDecision()
        lock_account(db, self.rules.account)
        return decide_page(records, pull_rows.load_state(db, self.rules, records), self.rules, now)

    def _remove_missing(self, reader: PageReader) -> SyncReport:
        """End a complete pull. If it lists every record there is, the records that it did not list are removed."""
        share = self.runtime.settings.connections[self.lease.connection].max_missing_share
        count = sum(map(len, reader.missing()))
        refused = removal_refusal(count, reader.stored_before, share)
        if refused and not self.accept_removals:
            return self._finish(RunState.REFUSED, refused)
        for gone in reader.missing() if count else ():
            self._commit(ReadPage(gone, (), 0, 0), None)
            if self.runtime.stop.requested:
                return self._finish(RunState.INTERRUPTED, STOPPED)
        if reader.listing is not None:
            with writing(self.runtime.engine) as db:
                self.lease.fence(db)
                pull_rows.clear_unseen_rejections(db, self.lease.connection, self.lease.started_at)
        return self._finish(RunState.DONE, "")

    def _finish(self, state: RunState, error: str) -> SyncReport:
        """Close the run. Release or hold its texts unless another run continues it; end the batch if complete."""
        now = utcnow()
        values: dict[str, Any] = {**CONNECTION_LEASE.released, "run_id": None}
        if self.waiting_cursor is not None:
            values |= {"cursor": self.waiting_cursor}
        if state is RunState.DONE:
            values |= {"batch_id": None}
            if self.lists_everything:
                values |= {"cursor": None}  # the next listing starts at the top
        elif state is RunState.INTERRUPTED:
            values |= {"next_run_at": now}  # the next tick continues it
        if state is RunState.DONE and self.watch and (unplanned := self.watch.unplanned):
            plan_existing(self.runtime, self.lease.connection, unplanned, now)
        try:
            with writing(self.runtime.engine) as db:
                verdict = None
                if self.watch and state is not RunState.INTERRUPTED:  # the continuing run decides for both
                    verdict = self.watch.settle(db, self.lease.batch_id, now)
                counts = replace(self.counts, state=state, error=error, held=verdict.held if verdict else 0)
                self._store_run(db, counts, state=state, error=error, finished_at=now)
                self.lease.fence(db, **values)
                if state is RunState.DONE:
                    self._set_baseline(db, now)
            if counts.added >= MANY_ADDED:
                analyse(self.runtime.engine, "contact", "contact_mapping")
        except LeaseLost as lost:
            return replace(self.counts, state=RunState.INTERRUPTED, error=str(lost))
        self.counts = counts
        return counts

    def _set_baseline(self, db: Database, now: datetime) -> None:
        c = connection_state.c
        first = (c.connection == self.lease.connection) & c.baseline_at.is_(None)
        db.execute(update(connection_state).where(first).values(baseline_at=now))
        if self.watch:
            self.watch.complete(db, now)

    def _note(self, counts: SyncReport) -> None:
        for outcome in _OUTCOMES:
            records_read(counts.connection, outcome, getattr(counts, outcome) - getattr(self.counts, outcome))
        self.counts = counts

    def _store_run(self, db: Database, counts: SyncReport, **values: Any) -> None:
        stored = {name: getattr(counts, name) for name in _COUNTS}
        db.execute(update(sync_run).where(sync_run.c.id == self.lease.run_id).values(**stored, **values))

    def _counted(self, read: ReadPage, decision: PageDecision, messages: int) -> SyncReport:
        counts = self.counts
        return replace(
            counts,
            seen=counts.seen + read.seen,
            unchanged=counts.unchanged + read.unchanged,
            added=counts.added + decision.added,
            changed=counts.changed + decision.changed,
            removed=counts.removed + decision.removed,
            rejected=counts.rejected + len(decision.rejections) + len(read.rejections),
            messages=counts.messages + messages,
        )
