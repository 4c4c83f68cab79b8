"""Pulls one connection: pages of CRM changes become mappings, contacts to push and texts to send.

One transaction stores a page, its rejected records and the messages that its triggers produced. The cursor after it is
stored with it, or later with what a listing has shown. Every commit is fenced by the connection's lease. A crash at any
point replays pages; the record hashes make the replay harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import orjson
import structlog
from sqlalchemy import Connection as Database
from sqlalchemy import update

from config.fingerprint import source_fingerprint
from crm_adapters.base import (
    Adapter,
    AdapterError,
    CredentialsRejected,
    CursorExpired,
    ListsIds,
    Removals,
    SourceIncomplete,
    SourceUnavailable,
)
from worker.contacts import pull_rows
from worker.contacts.adapters import build_adapter
from worker.contacts.connection_gate import (
    READY,
    paused_reason,
    read_connection,
    stop_values,
    wait_values,
    waiting_reason,
)
from worker.contacts.decide import ConnectionRules, PageDecision, RecordRejection, decide_page, reject_failed
from worker.contacts.forgotten_people import require_number_key, set_aside_forgotten, text_no_remembered
from worker.contacts.lease import (
    CONNECTION_LEASE,
    ConnectionLease,
    ConnectionPaused,
    LeaseLost,
    claim_connection,
    kept_alive,
)
from worker.contacts.position import Position, comparison_due, expired_reason, interval, start_position
from worker.contacts.reader import CHUNK, PageReader, ReadPage
from worker.contacts.removals import is_confirmed, removal_refusal
from worker.contacts.seen import SeenRecords
from worker.contacts.services import EngineServices, engine_services, require_consent
from worker.contacts.shape import Shape, ShapeWatch, watch_shape
from worker.contacts.stated_consents import record_statements
from worker.contacts.trigger_watch import TriggerWatch
from worker.core.errors import described
from worker.core.logs import working_on
from worker.core.metrics import records_read, run_ended
from worker.core.states import RunState
from worker.messages.date_plans import plan_existing
from worker.messages.holds import reconsider_permission
from worker.messages.permission import missing_policy_fields
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, reading, writing
from worker.store.models import utcnow
from worker.store.sql import analyse, lock_account
from worker.store.tables import connection_state, sync_run
from worker.triggers.wanted import wanted_fields

MANY_ADDED = 10_000
"""After this many new records, the statistics that the database plans its queries with are outdated."""
CURSOR_SECONDS = 5.0
"""A crash repeats at most this much reading of unchanged records. A commit per page would take a third longer."""
log = structlog.get_logger(__name__)

STOPPED = "stopped at a safe point; the next run continues from here"
PAUSED = "paused"
"""The state of a report: a person has paused the connection, so nothing was read."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The result of a run. ``state`` is a RunState, "busy" (another worker reads the connection), "waiting" (its CRM
    asked for that) or "paused" (a person did).

    ``held`` counts texts that wait for approval, ``waits`` says why. ``error`` is for a person and empty when all is
    well. ``notes`` are what the run noticed about the source, such as a guessed encoding, and values that triggers
    could not read.
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
    notes: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if nothing went wrong. A busy, waiting or paused connection, or an interrupted run, is no error."""
        return self.state in (RunState.DONE, RunState.INTERRUPTED, "busy", "waiting", PAUSED)


_OUTCOMES = ("unchanged", "added", "changed", "removed", "rejected")
_COUNTS = ("seen", "unchanged", "added", "changed", "removed", "rejected", "messages")

AfterPage: TypeAlias = Callable[[SyncReport, int], None]
"""Called after each stored page with the counts so far, and the number of records to expect; 0: that is unknown."""


def sync_connection(
    runtime: Runtime,
    connection: str,
    *,
    accept_removals: bool = False,
    full: bool = False,
    after_page: AfterPage | None = None,
) -> SyncReport:
    """Pull everything that changed since the last run; with ``full``, everything. Raises KeyError if it is unknown.

    Errors of the CRM end up in the report, not in an exception. Nothing is pushed or sent here.
    """
    if connection not in runtime.settings.connections:
        raise KeyError(connection)
    if reason := paused_reason(runtime.engine, connection):
        return SyncReport(connection, PAUSED, error=reason)
    if reason := waiting_reason(runtime.engine, connection, utcnow()):
        return SyncReport(connection, "waiting", error=reason)
    worker = runtime.settings.worker
    seconds, patience = worker.lease.total_seconds(), worker.time_limit.total_seconds()
    try:
        lease = claim_connection(runtime.engine, connection, seconds)
    except ConnectionPaused:  # just now
        return SyncReport(connection, PAUSED, error=paused_reason(runtime.engine, connection))
    if lease is None:
        return SyncReport(connection, "busy", error="another worker is reading this connection right now")
    why_full = "that was asked for" if full else ""
    run = _Run(runtime, lease, accept_removals, why_full, after_page or (lambda _counts, _total: None))
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
    full: str
    """Why every record is read, if that was asked for."""
    after_page: AfterPage
    counts: SyncReport = field(init=False)
    watch: TriggerWatch | None = None
    shape: ShapeWatch | None = None
    services: EngineServices | None = None
    always_lists: bool = False
    """The adapter cannot read changes alone: every run starts at the top."""
    kinds: Sequence[str] = ()
    """The kinds of record that the adapter reads."""
    waiting_cursor: str | None = None
    """The cursor after pages that are committed; stored with the next commit of a position."""
    reader: PageReader | None = None
    listing: SeenRecords | None = None
    resumed: bool = False
    restarted: str = ""
    cursor_due: float = 0.0
    """When to store the waiting cursor at the latest, by the monotonic clock."""

    def __post_init__(self) -> None:
        self.name = self.lease.connection
        self.configured = self.runtime.settings.connections[self.name]
        self.wanted = wanted_fields(self.runtime.settings, self.name)
        self.counts = SyncReport(self.name, RunState.RUNNING, self.lease.run_id, self.lease.batch_id)
        self.cursor_due = time.monotonic() + CURSOR_SECONDS

    def execute(self) -> SyncReport:
        """Read to the end. Every way of ending closes the run and releases the connection."""
        adapter: Adapter | None = None
        try:
            adapter = self._build()
            self._try_credentials(adapter)
            try:
                return self._pull(adapter)
            except CursorExpired as error:
                log.warning("the CRM no longer accepts the cursor; reading from the top", reason=str(error))
                self.full, self.waiting_cursor = expired_reason(error), None
                return self._pull(adapter)
        except LeaseLost as lost:
            return self._lost(lost)
        except CredentialsRejected as error:
            return self._finish(RunState.FAILED, str(error), stop_values(str(error), utcnow()))
        except SourceUnavailable as error:
            if self.runtime.stop.requested:  # it was waiting for its turn
                return self._interrupt()
            return self._finish(RunState.FAILED, str(error), wait_values(error, utcnow()))
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

    def _build(self) -> Adapter:
        self.stored = read_connection(self.runtime.engine, self.name)
        services = self.services = engine_services(self.runtime, self.name, self.wanted, self.stored["memory"])
        adapter = build_adapter(self.runtime.settings, self.name, services)
        self.always_lists, self.kinds = adapter.removals is Removals.ABSENT, adapter.kinds
        return adapter

    def _try_credentials(self, adapter: Adapter) -> None:
        require_consent(adapter, self.name)
        with reading(self.runtime.engine) as db:
            require_number_key(db)
        if self.stored["stopped_at"] is not None:  # the credentials were rejected: ask for little before asking for all
            adapter.check()
            with writing(self.runtime.engine) as db:
                self.lease.fence(db, **READY)

    def _pull(self, adapter: Adapter) -> SyncReport:
        position = self._open(adapter)
        assert self.shape is not None  # noqa: S101 - _open sets it
        if self.lease.paused:
            return self._interrupt()
        reader = PageReader(
            self.runtime.engine,
            self.runtime.settings,
            self.name,
            adapter,
            self.shape,
            position.listing,
            strict=self.always_lists and not position.resumes,
        )
        self.listing, self.resumed, self.reader = reader.listing, position.resumes, reader
        expected = 0 if reader.listing is None or position.resumes else self._live_records()
        for page in adapter.pull(None if position.cursor is None else orjson.loads(position.cursor)):
            self.lease.note_progress()
            read = reader.read(page)
            cursor = None if page.cursor is None else orjson.dumps(dict(page.cursor)).decode()
            self._commit(read, cursor)
            reader.note_stored(read.records)
            self._advance(cursor)
            self.after_page(self.counts, expected)
            if self._is_stopped:
                return self._interrupt()
        if reader.listing is None and comparison_due(self.stored, adapter, self._reconcile, utcnow()):
            return self._compare_ids(adapter, reader)
        return self._remove_missing(reader)

    @property
    def _is_stopped(self) -> bool:
        """True if the run ends at this safe point. Its fences find out that the connection was paused."""
        return self.runtime.stop.requested or self.lease.paused

    def _interrupt(self) -> SyncReport:
        resume = f"`vtsync resume connection {self.name}`"
        paused = f"stopped, because the connection was paused; after {resume} the next run continues from here"
        return self._finish(RunState.INTERRUPTED, paused if self.lease.paused else STOPPED)

    @property
    def _reconcile(self) -> timedelta | None:
        return interval(self.configured.reconcile)

    def _open(self, adapter: Adapter) -> Position:
        """Decide where to start, open the trigger watch, and store that a listing begins."""
        runtime, stored = self.runtime, self.stored
        fingerprint = source_fingerprint(self.configured, self.wanted)
        self.shape = watch_shape(runtime.settings, self.name, stored, self.wanted, adapter, self._live_kinds)
        position = start_position(stored, fingerprint, adapter, self._reconcile, utcnow(), self.shape.before, self.full)
        self.restarted = position.restarted
        rules = ConnectionRules.of(runtime.settings, self.name, self.shape.keeps)
        self.rules = replace(rules, ids_may_differ=position.changed_settings)
        start = {} if position.resumes else {"cursor": None, "listing": None}
        before = self.shape.before
        with writing(runtime.engine) as db:
            self.lease.fence(db, fingerprint=fingerprint, shape=before.dump(), **start)
            self.watch = TriggerWatch.open(db, runtime.settings, self.name, stored["baseline_at"], before.kinds)
            self.watch.prepare(db)
        return position

    def _live_records(self) -> int:
        with reading(self.runtime.engine) as db:
            return pull_rows.live_count(db, self.name)

    def _live_kinds(self) -> Collection[str]:
        with reading(self.runtime.engine) as db:
            return pull_rows.live_kinds(db, self.name)

    def _commit(self, read: ReadPage, cursor: str | None) -> None:
        """Store mappings, contacts, rejections, messages and counts in one transaction, with the cursor.

        A cursor alone can wait: after a crash, pages without changes are only read again. During a listing it waits
        for the bitmap of what the listing has shown; see ``_advance``.
        """
        if not read.records and not read.rejections:
            self._note(self._counted(read, PageDecision(), 0))
            return
        position = {} if self.listing is not None else self._position(cursor)
        try:
            self._store(read, position)
        except (LeaseLost, *STORE_AWAY):
            raise
        except Exception as error:  # noqa: BLE001 - nothing in one record stops another
            log.warning("a record made its page fail; its records are stored one by one", error=described(error))
            self._store_singly(read, position)

    def _store_singly(self, read: ReadPage, position: Mapping[str, Any]) -> None:
        """Store the records of a page one by one, and reject those that fail."""
        failed: list[RecordRejection] = []
        for record in read.records:
            try:
                self._store(ReadPage([record], (), 1, 0), {})
            except (LeaseLost, *STORE_AWAY):
                raise
            except Exception as error:  # noqa: BLE001 - the type alone: a database's message has the record's values
                failed.append(reject_failed(record.change, error))
        if self.listing is not None:
            self.listing.doubt(len(failed))  # they may be stored as deleted
        stored = len(read.records) - len(failed)
        self._store(ReadPage((), [*read.rejections, *failed], read.seen - stored, read.unchanged), position)

    def _store(self, read: ReadPage, position: Mapping[str, Any]) -> None:
        """Store a page, or a part of it, in one transaction, with the columns of how far the run is then."""
        now = utcnow()
        name, account = self.rules.connection, self.rules.account
        with writing(self.runtime.engine) as db:
            decision = self._decide(db, read, now)
            pull_rows.store_decision(db, name, account, decision, now)
            record_statements(db, self.runtime.settings, name, decision, now)
            if read.rejections:
                pull_rows.store_rejections(db, name, read.rejections, now)
                pull_rows.forget_hashes(db, name, [rejection.key for rejection in read.rejections])
            messages = self.watch.queue(db, decision, self.lease.batch_id, now) if self.watch else 0
            counts = self._counted(read, decision, messages)
            self._store_run(db, counts)
            self.lease.fence(db, **position)
        self._note(counts)

    def _advance(self, cursor: str | None) -> None:
        """Note that all before ``cursor`` is committed. Store it now and then, with what a listing has shown."""
        self.waiting_cursor = cursor or self.waiting_cursor
        if self.waiting_cursor is None or time.monotonic() < self.cursor_due:
            return
        with writing(self.runtime.engine) as db:
            self.lease.fence(db, **self._position(self.waiting_cursor))
        self.waiting_cursor, self.cursor_due = None, time.monotonic() + CURSOR_SECONDS

    def _position(self, cursor: str | None) -> dict[str, Any]:
        """Return the columns to store of how far the run has come."""
        values: dict[str, Any] = {}
        if self.services is not None:
            values["memory"] = self._dumped_memory(self.services)
        if cursor is not None:
            values |= {"cursor": cursor, "listing": None if self.listing is None else self.listing.dump()}
        return values

    def _dumped_memory(self, services: EngineServices) -> str:
        try:
            return orjson.dumps(dict(services.memory)).decode()
        except TypeError:
            services.memory = orjson.loads(self.stored["memory"])
            raise AdapterError("the adapter's memory cannot be stored, because it is not JSON; correct it") from None

    def _decide(self, db: Database, read: ReadPage, now: datetime) -> PageDecision:
        if not read.records:
            return PageDecision()
        lock_account(db, self.rules.account)
        state = pull_rows.load_state(db, self.rules, read.records, stored=read.stored)
        records, forgotten = set_aside_forgotten(db, self.name, read.records, state)
        decision = decide_page(records, state, self.rules, now)
        decision.rejections |= forgotten
        text_no_remembered(db, self.name, decision)
        return decision

    def _compare_ids(self, adapter: Adapter, reader: PageReader) -> SyncReport:
        """After reading the changes, compare the ids of all live records, because the CRM may not report deletions."""
        assert isinstance(adapter, ListsIds)  # noqa: S101 - comparison_due asked for it
        began = utcnow()
        reader.list_ids(())
        for external_ids in adapter.live_ids():
            self.lease.note_progress()
            reader.list_ids(external_ids)
            if self._is_stopped:
                return self._interrupt()
        return self._remove_missing(reader, began)

    def _remove_missing(self, reader: PageReader, before: datetime | None = None) -> SyncReport:
        """End a complete pull. If it was a listing, remove the records that it did not show."""
        confirmed = self.stored["confirmed_at"]
        missing = [is_confirmed(gone.first_seen_at, confirmed) for part in reader.missing(before) for gone in part]
        if any(missing):
            with reading(self.runtime.engine) as db:
                stored = pull_rows.live_count(db, self.name, confirmed) + self.counts.removed
            refused = removal_refusal(sum(missing), stored, self.configured.max_missing_share)
            if refused and not self.accept_removals:
                return self._refuse(reader, refused)
        for gone in reader.missing(before) if missing else ():
            self._commit(ReadPage([one.record for one in gone], (), 0, 0), None)
            if self._is_stopped:
                return self._interrupt()
        if self.listing is not None and not self.resumed:
            with writing(self.runtime.engine) as db:
                self.lease.fence(db)
                pull_rows.clear_unseen_rejections(db, self.name, self.lease.started_at)
        listed = {} if reader.listing is None else {"reconciled_at": utcnow()}
        return self._finish(RunState.DONE, "", listed)

    def _refuse(self, reader: PageReader, reason: str) -> SyncReport:
        """Refuse a listing that looks wrong: what it brought for the first time is removed again."""
        confirmed, before = self.stored["confirmed_at"], None
        while self.listing is not None and confirmed is not None:
            with reading(self.runtime.engine) as db:
                ids = pull_rows.unconfirmed_ids(db, self.name, confirmed, CHUNK)
            if not ids or ids == before:  # nothing is left, or what is left cannot be removed one by one
                with writing(self.runtime.engine) as db:
                    self.lease.fence(db)
                    pull_rows.forget_unconfirmed(db, self.name, confirmed)
                break
            before = ids
            self._commit(ReadPage([reader.deletion(external_id) for external_id in ids], (), 0, 0), None)
        return self._finish(RunState.REFUSED, reason)

    def _finish(self, state: RunState, error: str, also: Mapping[str, Any] | None = None) -> SyncReport:
        """Close the run. Release or hold its texts unless another run continues it; end the batch if complete."""
        now = utcnow()
        # A refused listing is read again from the top.
        refused = state is RunState.REFUSED and self.listing is not None
        kept = {} if refused else self._position(self.waiting_cursor)
        values: dict[str, Any] = {**CONNECTION_LEASE.released, "run_id": None, **kept, **(also or {})}
        shape = self._new_shape(state, now)
        if shape is not None and not refused:
            values |= {"shape": shape.dump()}
        if state is RunState.DONE:
            values |= {"batch_id": None, "listing": None, "confirmed_at": now, **READY}
            if self.always_lists:
                values |= {"cursor": None}  # the next listing starts at the top
        elif state is RunState.INTERRUPTED:
            values |= {"next_run_at": now}  # the next tick continues it
        elif refused:
            values |= {"cursor": None, "listing": None}
        if state is RunState.DONE and self.watch and (unplanned := self.watch.unplanned):
            plan_existing(self.runtime, self.name, unplanned, now, self.watch.unreadable)
        try:
            with writing(self.runtime.engine) as db:
                verdict = None
                if self.watch and state is not RunState.INTERRUPTED:  # the continuing run decides for both
                    verdict = self.watch.settle(db, self.lease.batch_id, now, suspect=state is RunState.REFUSED)
                notes = self._notes(shape)
                values |= {"notes": orjson.dumps(notes).decode()} if state is not RunState.INTERRUPTED else {}
                held, waits = (verdict.held, verdict.reasons) if verdict else (0, ())
                counts = replace(self.counts, state=state, error=error, held=held, notes=notes, waits=waits)
                self._store_run(db, counts, state=state, error=error, finished_at=now)
                self.lease.fence(db, **values)
                if state is RunState.DONE:
                    self._set_baseline(db, now)
                    if shape is not None and set(Shape.load(self.stored["shape"]).missing) - set(shape.missing):
                        reconsider_permission(db, now)  # a field that says who may be texted may be back
            if counts.added >= MANY_ADDED:
                analyse(self.runtime.engine, "contact", "contact_mapping")
        except LeaseLost as lost:
            return self._lost(lost)
        self.counts = counts
        return counts

    def _new_shape(self, state: RunState, now: datetime) -> Shape | None:
        """Return what to remember of the source's shape; None if the run did not come that far."""
        if self.shape is None:
            return None
        if state is RunState.DONE and self.listing is not None:
            self.shape.listed(self.kinds, now)
        return self.shape.result(complete=state is RunState.DONE)

    def _notes(self, shape: Shape | None) -> tuple[str, ...]:
        """Return what the run noticed about the source, and which values triggers could not read."""
        said = [] if self.services is None else self.services.memory.get("notes", [])
        restarted = f"every record was read again: {self.restarted}" if self.restarted else ""
        absent = {} if shape is None else {"missing": shape.missing}
        missing = missing_policy_fields(self.runtime.settings, self.name, absent)
        emails = "" if self.reader is None else self.reader.email_note
        unread = self.watch.unreadable.notes() if self.watch else ()
        return tuple(filter(None, [restarted, *missing, *map(str, said), emails, *unread]))

    def _lost(self, lost: LeaseLost) -> SyncReport:
        return replace(self.counts, state=RunState.INTERRUPTED, error=str(lost))

    def _set_baseline(self, db: Database, now: datetime) -> None:
        c = connection_state.c
        first = (c.connection == self.name) & c.baseline_at.is_(None)
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
            removed=counts.removed + len(decision.removed),
            rejected=counts.rejected + len(decision.rejections) + len(read.rejections),
            messages=counts.messages + messages,
        )
