"""Shows exactly what a sync would do: the same reading and the same decisions, kept in memory.

Nothing is written, neither to the store nor to VirtualText. VirtualText's contact list is read if it was never read
before, to find out which contacts would be adopted and which created.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection as Database
from sqlalchemy import func, select

from crm_adapters.base import Adapter
from worker.contacts import pull_rows, push_rows
from worker.contacts.adapters import build_adapter
from worker.contacts.decide import ConnectionRules, ContactDraft, PageState, RecordRejection, decide_page
from worker.contacts.reader import PageReader
from worker.contacts.records import NormalisedRecord
from worker.contacts.remote_list import as_stored
from worker.contacts.removals import removal_refusal
from worker.contacts.trigger_watch import TriggerWatch
from worker.core.states import PushState
from worker.messages.intents import foresee
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.sql import any_of
from worker.store.tables import account_state, connection_state, contact
from worker.triggers.evaluate import TextIntent
from worker.triggers.segments import count
from worker.virtualtext.outcomes import RemoteContact


@dataclass(frozen=True, slots=True)
class PlannedContact:
    """A contact that would be written. ``before`` is what VirtualText has now; empty for a create."""

    phone: str
    full_name: str
    email: str
    virtualtext_id: str = ""
    before: str = ""


@dataclass(frozen=True, slots=True)
class PlannedSend:
    """A text that would be queued. ``held``: it would wait for approval. ``problem``: why it would not be sent."""

    trigger: str
    phone: str
    text: str
    segments: int
    encoding: str
    held: bool
    problem: str = ""


@dataclass(slots=True)
class Plan:
    """What the next sync of a connection would do. ``refused``: why it would refuse the removals, if so."""

    connection: str
    seen: int = 0
    unchanged: int = 0
    creates: list[PlannedContact] = field(default_factory=list)
    updates: list[PlannedContact] = field(default_factory=list)
    adopts: list[PlannedContact] = field(default_factory=list)
    texts: list[PlannedSend] = field(default_factory=list)
    rejections: list[RecordRejection] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    refused: str = ""
    notes: list[str] = field(default_factory=list)


def plan_connection(runtime: Runtime, connection: str, *, progress: Callable[[int], None] | None = None) -> Plan:
    """Plan the next sync. Raises AdapterError as a sync would report it, KeyError for an unknown connection."""
    if connection not in runtime.settings.connections:
        raise KeyError(connection)
    with closing(build_adapter(runtime.settings, connection)) as adapter:
        return _Planner(runtime, connection, adapter).plan(progress or (lambda _: None))


@dataclass
class _Planner:
    runtime: Runtime
    name: str
    adapter: Adapter

    def __post_init__(self) -> None:
        self.rules = ConnectionRules.of(self.runtime.settings, self.name)
        self.state = PageState()
        self.result = Plan(self.name)
        self.touched: dict[int, ContactDraft] = {}
        self.intents: list[TextIntent] = []
        self.now = utcnow()

    def plan(self, progress: Callable[[int], None]) -> Plan:
        """Read everything that the sync would read, and collect the decisions."""
        cursor = self._open()
        settings = self.runtime.settings
        reader = PageReader(self.runtime.engine, settings, self.name, self.adapter, resumes=cursor is not None)
        for page in self.adapter.pull(None if cursor is None else orjson.loads(cursor)):
            read = reader.read(page)
            records = list(self._without_repeats(reader, read.records))
            self.result.seen += read.seen
            self.result.unchanged += read.unchanged
            self.result.rejections += read.rejections
            self._decide(records)
            progress(self.result.seen)
        self._removals(reader)
        self._contacts()
        self._texts()
        self._backlog()
        return self.result

    def _open(self) -> str | None:
        c = connection_state.c
        with reading(self.runtime.engine) as db:
            row = db.execute(select(c.cursor, c.baseline_at).where(c.connection == self.name)).first()
            baseline_at = row.baseline_at if row else None
            self.watch = TriggerWatch.open(db, self.runtime.settings, self.name, baseline_at)
        if baseline_at is None:
            self.result.notes.append("This is the first sync of this connection: it texts nobody.")
        elif self.watch.new:
            names = ", ".join(rule.name for rule in self.watch.new)
            self.result.notes.append(f"New triggers take this sync as their baseline and text nobody yet: {names}.")
        return None if row is None or row.cursor is None else str(row.cursor)

    def _without_repeats(self, reader: PageReader, records: Sequence[NormalisedRecord]) -> Iterator[NormalisedRecord]:
        """Reject ids that a complete listing shows twice. A sync finds them in the store, a plan in its drafts."""
        for record in records:
            known = self.state.mappings.get(record.external_id)
            if reader.listing is None or known is None or known.id is not None:
                yield record
            elif known.record_hash != record.hash:
                self.result.rejections.append(reader.repeated(record.change))

    def _decide(self, records: Sequence[NormalisedRecord]) -> None:
        if not records:
            return
        with reading(self.runtime.engine) as db:
            pull_rows.load_state(db, self.rules, records, self.state)
        decision = decide_page(records, self.state, self.rules, self.now)
        self.touched |= decision.contacts
        self.result.rejections += decision.rejections.values()
        self.result.removed += [m.external_id for m in decision.mappings.values() if m.deleted]
        self.intents += self.watch.intents(decision)

    def _removals(self, reader: PageReader) -> None:
        missing = sum(map(len, reader.missing()))
        share = self.runtime.settings.connections[self.name].max_missing_share
        self.result.refused = removal_refusal(missing, reader.stored_before, share) or ""
        if not self.result.refused:
            for gone in reader.missing():
                self._decide(gone)

    def _contacts(self) -> None:
        """Sort the changed contacts into creates, adoptions and updates, as the push would."""
        drafts = [draft for draft in self.touched.values() if draft.changed]
        with reading(self.runtime.engine) as db:
            stored = _stored(db, [draft.id for draft in drafts if draft.id is not None])
            fresh = [draft.phone for draft in drafts if draft.id is None or not stored[draft.id].virtualtext_id]
            remote = self._remote(db, fresh)
        for draft in drafts:
            row = stored.get(draft.id) if draft.id is not None else None
            if row is not None and row.virtualtext_id:
                if row.pushed_hash != draft.hash:
                    self.result.updates.append(_planned(draft, row.virtualtext_id, row.full_name, row.email))
            elif draft.phone in remote:
                there = remote[draft.phone][0]
                self.result.adopts.append(_planned(draft, there.id, there.full_name, there.email))
            else:
                self.result.creates.append(_planned(draft))

    def _remote(self, db: Database, phones: Collection[str]) -> Mapping[str, list[RemoteContact]]:
        """Return what VirtualText has for these phones: from the stored list, else from the list as it is now."""
        account = self.rules.account
        listed_at = db.scalar(select(account_state.c.listed_at).where(account_state.c.account == account))
        if listed_at is not None or not phones:
            return push_rows.remote_matches(db, account, phones)
        outcome = self.runtime.client(account).list_contacts()
        if not outcome.done or outcome.value is None:
            self.result.notes.append(
                f"VirtualText's contact list could not be read ({outcome.detail}): "
                "some creates may turn out to be adoptions."
            )
            return {}
        found: dict[str, list[RemoteContact]] = {}
        for one in map(as_stored, outcome.value):
            found.setdefault(one.phone, []).append(one)
        return found

    def _texts(self) -> None:
        with reading(self.runtime.engine) as db:
            intents = self.watch.allowed_again(db, self.intents, self.now)
            foreseen = foresee(db, self.rules.account, intents)
        people = {intent.phone for intent, problem in foreseen if not problem}
        limit = self.runtime.settings.policy.blast_limit
        held = len(people) > limit
        if held:
            self.result.notes.append(
                f"{len(people)} people would be texted, more than policy.blast_limit ({limit}): every text would wait "
                "for `vtsync approve`."
            )
        for intent, problem in foreseen:
            info = count(intent.text)
            self.result.texts.append(
                PlannedSend(intent.trigger, intent.phone, intent.text, info.segments, info.encoding, held, problem)
            )

    def _backlog(self) -> None:
        c = contact.c
        waiting = select(func.count()).where(c.account == self.rules.account, c.push_state == PushState.DUE)
        with reading(self.runtime.engine) as db:
            due = db.scalar(waiting) or 0
        if due:
            self.result.notes.append(
                f"{due} contacts of earlier syncs are still waiting to be pushed, in addition to these."
            )


def _stored(db: Database, ids: Collection[int]) -> dict[int, Any]:
    c = contact.c
    columns = (c.id, c.virtualtext_id, c.pushed_hash, c.full_name, c.email)
    return {row.id: row for row in db.execute(select(*columns).where(any_of(db, c.id, ids)))}


def _planned(draft: ContactDraft, virtualtext_id: str = "", name: str = "", email: str = "") -> PlannedContact:
    return PlannedContact(draft.phone, draft.full_name, draft.email, virtualtext_id, f"{name} {email}".strip())
