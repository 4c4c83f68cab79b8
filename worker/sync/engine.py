"""Reads one connection: pages of CRM changes become mappings, contacts to push and texts to send.

A page, its rejected records, the messages that its triggers produced and the cursor after it are one transaction,
fenced by the connection's lease. A crash anywhere replays the page, and the record hashes make the replay harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection as Database
from sqlalchemy import select, update

from config.models import Connection, Settings
from crm_adapters.base import Adapter, AdapterError, ContactChange, Page, Removals, SourceIncomplete, UnreadableRecord
from worker.runtime import Runtime, StopSignal
from worker.store.db import reading, writing
from worker.store.models import RunState, utcnow
from worker.store.sql import lock_account
from worker.store.tables import connection_state, sync_run
from worker.sync import pages
from worker.sync.adapters import build_adapter, reading_salt
from worker.sync.decide import Decision, Rejection, Rules, decide, reject_unreadable
from worker.sync.lease import ConnectionLease, LeaseLost, claim, kept_alive
from worker.sync.records import HashedRecord, NormalisedRecord, UnusableRecord, hash_record, normalise
from worker.sync.removals import refusal
from worker.sync.seen import SeenRecords
from worker.sync.texts import TriggerWatch

PAGE = 1000


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a run came to. ``state`` is a RunState or "busy": another worker is reading this connection.

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
        """Whether nothing went wrong (being busy or interrupted is not wrong)."""
        return self.state in (RunState.DONE, RunState.INTERRUPTED, "busy")


Progress = Callable[[SyncReport], None]


def sync_connection(
    runtime: Runtime,
    connection: str,
    *,
    accept_removals: bool = False,
    progress: Progress | None = None,
    stop: StopSignal | None = None,
) -> SyncReport:
    """Pull everything that changed since the last run. Raises KeyError for an unknown connection.

    What the CRM side does wrong ends in the report, not in an exception. Nothing is pushed or sent here.
    """
    seconds = runtime.settings.worker.lease.total_seconds()
    lease = claim(runtime.engine, connection, seconds)
    if lease is None:
        return SyncReport(connection, "busy", error="another worker is reading this connection right now")
    run = _Run(runtime, lease, accept_removals, progress or (lambda report: None), stop or runtime.stop)
    with kept_alive(runtime.engine, lease, seconds):
        return run.execute()


@dataclass
class _Run:
    """One run in progress."""

    runtime: Runtime
    lease: ConnectionLease
    accept_removals: bool
    progress: Progress
    stop: StopSignal
    counts: SyncReport = field(init=False)
    seen: SeenRecords | None = None
    """Set when this run lists every record, so that the missing ones can be told."""
    repeats: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.runtime.settings
        self.settings: Settings = settings
        self.connection: Connection = settings.connections[self.lease.connection]
        self.rules = Rules(self.lease.connection, self.connection.priority, self.connection.clear_empty)
        self.precedence = {name: (c.priority, c.clear_empty) for name, c in settings.connections.items()}
        self.counts = SyncReport(
            self.lease.connection, RunState.RUNNING, self.lease.run_id, self.lease.batch_id
        )

    def execute(self) -> SyncReport:
        """Run to one of the ends; every end is committed, whatever it is."""
        adapter: Adapter | None = None
        try:
            adapter = build_adapter(self.settings, self.lease.connection)
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
        self.salt = reading_salt(self.settings, self.lease.connection)
        self.read = partial(normalise, read=adapter.contact_fields, default_region=self.connection.default_region)
        with writing(self.runtime.engine) as db:
            cursor, baseline_at = db.execute(
                select(connection_state.c.cursor, connection_state.c.baseline_at).where(
                    connection_state.c.connection == self.lease.connection
                )
            ).one()
            self.watch = TriggerWatch.open(db, self.settings, self.lease.connection, baseline_at)
        if adapter.removals is Removals.ABSENT and cursor is None:
            self.seen = SeenRecords()
            with reading(self.runtime.engine) as db:
                self.stored_before = pages.live_count(db, self.lease.connection)
        for page in adapter.pull(None if cursor is None else orjson.loads(cursor)):
            self._page(page)
            self.progress(self.counts)
            if self.stop.requested:
                return self._finish(RunState.INTERRUPTED, "stopped at a safe point; the next run goes on from here")
        return self._complete()

    def _page(self, page: Page) -> None:
        """Skip what is unchanged by its hash, decide about the rest, commit."""
        rejections, hashed = self._hash(page.changes)
        with reading(self.runtime.engine) as db:
            stored = pages.stored_hashes(db, self.lease.connection, [h.change.external_id for h in hashed])
        fresh: list[HashedRecord] = []
        in_page: dict[str, bytes] = {}
        for record in hashed:
            external_id = record.change.external_id
            mapping_id, known_hash = stored.get(external_id, (None, None))
            earlier = in_page.get(external_id)
            if self._repeats(external_id, mapping_id, earlier):
                if (earlier or known_hash) != record.hash:
                    rejections.append(self._repeated(record))
                continue
            in_page[external_id] = record.hash
            if known_hash != record.hash:
                fresh.append(record)
        unchanged = len(page.changes) - len(fresh) - len(rejections)
        cursor = None if page.cursor is None else orjson.dumps(dict(page.cursor)).decode()
        self._commit([self.read(record) for record in fresh], rejections, cursor, len(page.changes), unchanged)

    def _hash(self, changes: Sequence[ContactChange | UnreadableRecord]) -> tuple[list[Rejection], list[HashedRecord]]:
        rejections: list[Rejection] = []
        hashed: list[HashedRecord] = []
        for change in changes:
            if isinstance(change, UnreadableRecord):
                rejections.append(reject_unreadable(change))
                continue
            try:
                hashed.append(hash_record(change, self.salt))
            except UnusableRecord as error:
                key = change.external_id.replace("\x00", "") or change.where or "record without an identifier"
                key = key.encode(errors="replace").decode()
                rejections.append(Rejection(key, "unreadable", str(error), change.where))
        return rejections, hashed

    def _repeats(self, external_id: str, mapping_id: int | None, earlier: bytes | None) -> bool:
        """Whether a complete listing shows this id for the second time. Elsewhere the later version simply counts."""
        if self.seen is None:
            return False
        if earlier is not None:
            return True
        return mapping_id is not None and not self.seen.add(mapping_id)

    def _repeated(self, record: HashedRecord) -> Rejection:
        external_id = record.change.external_id
        number = self.repeats[external_id] = self.repeats.get(external_id, 1) + 1
        return Rejection(
            f"{external_id} (repeated, {number})",
            "duplicate_id",
            f'the id "{external_id}" stands in this listing more than once with different values; the first one counts. '
            "Give each record an id of its own",
            record.change.where or f"record {external_id}",
        )

    def _commit(
        self,
        records: Sequence[NormalisedRecord],
        rejections: Sequence[Rejection],
        cursor: str | None,
        seen: int,
        unchanged: int,
    ) -> None:
        """One transaction: mappings, contacts, rejections, messages, counts and the cursor."""
        if not records and not rejections and cursor is None:
            self.counts = replace(self.counts, seen=self.counts.seen + seen, unchanged=self.counts.unchanged + unchanged)
            return
        now = utcnow()
        name, account = self.lease.connection, self.connection.account
        with writing(self.runtime.engine) as db:
            if records:
                lock_account(db, account)
            decision = self._decide(db, records, now)
            pages.store_decision(db, name, account, decision, now)
            pages.store_rejections(db, name, rejections, now)
            messages = self.watch.queue(db, decision, self.lease.batch_id, now)
            self._note_new(db, records)
            self.counts = _counted(self.counts, decision, len(rejections), seen, unchanged, messages)
            self._store_counts(db)
            self.lease.fence(db, **({} if cursor is None else {"cursor": cursor}))

    def _decide(self, db: Database, records: Sequence[NormalisedRecord], now: datetime) -> Decision:
        if not records:
            return Decision()
        phones = {record.phone for record in records if record.phone}
        ids = [record.external_id for record in records]
        name, account = self.lease.connection, self.connection.account
        state = pages.load_state(db, name, account, ids, phones, self.precedence)
        return decide(records, state, self.rules, now)

    def _note_new(self, db: Database, records: Iterable[NormalisedRecord]) -> None:
        """Records that this page added were met, too."""
        if self.seen is not None:
            ids = [record.external_id for record in records]
            for mapping_id, _hash in pages.stored_hashes(db, self.lease.connection, ids).values():
                self.seen.add(mapping_id)

    def _store_counts(self, db: Database, **values: Any) -> None:
        c = self.counts
        db.execute(
            update(sync_run)
            .where(sync_run.c.id == self.lease.run_id)
            .values(
                seen=c.seen,
                unchanged=c.unchanged,
                added=c.added,
                changed=c.changed,
                removed=c.removed,
                rejected=c.rejected,
                messages=c.messages,
                **values,
            )
        )

    def _complete(self) -> SyncReport:
        """The adapter told everything: find the removed records, then this state is the new baseline."""
        refused = self._remove_missing() if self.seen is not None else None
        if refused:
            return self._finish(RunState.REFUSED, refused)
        return self._finish(RunState.DONE, "")

    def _remove_missing(self) -> str | None:
        missing = list(self._missing_pages(only_count=True))
        count = sum(len(chunk) for chunk in missing)
        refused = None if self.accept_removals else refusal(count, self.stored_before, self.connection.max_missing_share)
        if refused:
            return refused
        for chunk in self._missing_pages():
            gone = [
                NormalisedRecord(hash_record(ContactChange(external_id, {}, deleted=True), self.salt), None, None)
                for external_id in chunk
            ]
            self._commit(gone, (), None, 0, 0)
            if self.stop.requested:
                break
        with writing(self.runtime.engine) as db:
            self.lease.fence(db)
            pages.clear_unseen_rejections(db, self.lease.connection, self.lease.started_at)
        return None

    def _missing_pages(self, only_count: bool = False) -> Iterable[Sequence[str] | range]:
        assert self.seen is not None
        after = 0
        while True:
            with reading(self.runtime.engine) as db:
                rows = pages.live_ids(db, self.lease.connection, after, PAGE)
            if not rows:
                return
            after = rows[-1][0]
            missing = [external_id for mapping_id, external_id in rows if mapping_id not in self.seen]
            if missing:
                yield range(len(missing)) if only_count else missing

    def _finish(self, state: RunState, error: str) -> SyncReport:
        """Close the run: settle its texts, and after a complete pull set the baselines and end the batch."""
        now = utcnow()
        complete = state is RunState.DONE
        values: dict[str, Any] = {"lease_owner": None, "lease_until": None, "run_id": None}
        if complete:
            values |= {"batch_id": None}
        try:
            with writing(self.runtime.engine) as db:
                verdict = self.watch.settle(db, self.lease.batch_id, now) if hasattr(self, "watch") else None
                if complete:
                    self.watch.complete(db, now)
                self.counts = replace(
                    self.counts, state=state, error=error, held=verdict.held if verdict else 0
                )
                self._store_counts(db, state=state, error=error, finished_at=now)
                self.lease.fence(db, **values)
                if complete:
                    _set_baseline(db, self.lease.connection, now)
        except LeaseLost as lost:
            return replace(self.counts, state=RunState.INTERRUPTED, error=str(lost))
        return self.counts


def _set_baseline(db: Database, connection: str, now: datetime) -> None:
    c = connection_state.c
    first = (c.connection == connection) & c.baseline_at.is_(None)
    db.execute(update(connection_state).where(first).values(baseline_at=now))


def _counted(
    counts: SyncReport, decision: Decision, unreadable: int, seen: int, unchanged: int, messages: int
) -> SyncReport:
    return replace(
        counts,
        seen=counts.seen + seen,
        unchanged=counts.unchanged + unchanged,
        added=counts.added + decision.added,
        changed=counts.changed + decision.changed,
        removed=counts.removed + decision.removed,
        rejected=counts.rejected + len(decision.rejections) + unreadable,
        messages=counts.messages + messages,
    )
