"""Shows exactly what a sync would do: the same reading and the same decisions, kept in memory.

Nothing is written, neither to the store nor to VirtualText. VirtualText's contact list is read if it was never read
before, to find out which contacts would be adopted and which created.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from sqlalchemy import Connection as Database
from sqlalchemy import func, select

from config.fingerprint import source_fingerprint
from config.policy_levels import policy_for
from crm_adapters.base import Adapter, CursorExpired, Removals, SourceUnavailable
from worker.contacts import pull_rows, push_rows
from worker.contacts.adapters import build_adapter
from worker.contacts.connection_gate import stored_or_new, why_not_now
from worker.contacts.decide import (
    ConnectionRules,
    ContactDraft,
    PageDecision,
    PageState,
    RecordRejection,
    decide_page,
    reject_failed,
)
from worker.contacts.forgotten_people import require_number_key, set_aside_forgotten, text_no_remembered
from worker.contacts.linking import LINK_COMMAND, is_linked
from worker.contacts.position import Position, comparison_due, expired_reason, interval, start_position
from worker.contacts.reader import PageReader
from worker.contacts.records import NormalisedRecord
from worker.contacts.remote_list import as_stored
from worker.contacts.removals import is_confirmed, removal_refusal
from worker.contacts.services import engine_services, require_consent
from worker.contacts.shape import watch_shape
from worker.contacts.trigger_watch import TriggerWatch
from worker.core.progress import Progress, untold
from worker.core.states import PushState
from worker.messages import blast_guard
from worker.messages.intents import foresee
from worker.messages.permission import missing_policy_fields
from worker.messages.trigger_pause import why_paused
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, reading
from worker.store.models import utcnow
from worker.store.sql import any_of
from worker.store.tables import account_state, contact
from worker.triggers.evaluate import TextIntent
from worker.triggers.segments import count
from worker.triggers.wanted import wanted_fields
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


def plan_connection(runtime: Runtime, connection: str, *, progress: Progress = untold) -> Plan:
    """Plan the next sync. Raises AdapterError as a sync would report it, KeyError for an unknown connection."""
    if connection not in runtime.settings.connections:
        raise KeyError(connection)
    if reason := why_not_now(runtime.engine, connection, utcnow()):
        raise SourceUnavailable(reason)
    stored = stored_or_new(runtime.engine, connection)
    wanted = wanted_fields(runtime.settings, connection)
    services = engine_services(runtime, connection, wanted, stored["memory"])
    with closing(build_adapter(runtime.settings, connection, services)) as adapter:
        require_consent(adapter, connection)
        with reading(runtime.engine) as db:
            require_number_key(db)
        return _Planner(runtime, connection, adapter, stored, wanted).plan(progress)


class _RecordsFailed(Exception):
    """Some records cannot be decided about. ``failed`` are their rejections by external id."""

    def __init__(self, failed: dict[str, RecordRejection]) -> None:
        super().__init__(", ".join(failed))
        self.failed = failed


@dataclass
class _Planner:
    runtime: Runtime
    name: str
    adapter: Adapter
    stored: Mapping[str, Any]
    wanted: frozenset[str] | None
    failed: dict[str, RecordRejection] = field(default_factory=dict)
    """Records that cannot be decided about."""
    expired: str = ""
    """Why everything is read, if the CRM does not accept the stored cursor."""

    def __post_init__(self) -> None:
        configured = self.runtime.settings.connections[self.name]
        self.configured = configured
        self.shape = watch_shape(
            self.runtime.settings, self.name, self.stored, self.wanted, self.adapter, self._live_kinds
        )
        self.rules = ConnectionRules.of(self.runtime.settings, self.name, self.shape.keeps)
        self.state = PageState()
        self.result = Plan(self.name)
        self.touched: dict[int, ContactDraft] = {}
        self.intents: list[TextIntent] = []
        self.now = utcnow()

    def plan(self, progress: Progress) -> Plan:
        """Read everything that the sync would read, and collect the decisions.

        Records that cannot be decided about are left out, and everything is read again: what was decided on the way to
        them cannot be taken back. The same goes for a cursor that the CRM no longer accepts.
        """
        while True:
            try:
                return self._plan(progress)
            except _RecordsFailed as error:
                self.failed |= error.failed
            except CursorExpired as error:
                if self.expired:
                    raise
                self.expired = expired_reason(error)
            self.__post_init__()

    def _plan(self, progress: Progress) -> Plan:
        position = self._open()
        reader = PageReader(
            self.runtime.engine,
            self.runtime.settings,
            self.name,
            self.adapter,
            self.shape,
            position.listing,
            strict=self.adapter.removals is Removals.ABSENT and not position.resumes,
            drafts=self.state.mappings,
        )
        with reading(self.runtime.engine) as db:
            expected = 0 if reader.listing is None else pull_rows.live_count(db, self.name)
        for page in self.adapter.pull(None if position.cursor is None else orjson.loads(position.cursor)):
            read = reader.read(page)
            records = list(self._without_repeats(reader, read.records))
            self.result.seen += read.seen
            self.result.unchanged += read.unchanged
            self.result.rejections += read.rejections
            self._decide(records)
            self.state.follow([rejection.key for rejection in read.rejections], ())
            progress(self.result.seen, expected)
        shape = {"missing": self.shape.result().missing}
        self.result.notes += missing_policy_fields(self.runtime.settings, self.name, shape)
        self.result.notes += filter(None, [reader.email_note])
        self._removals(reader)
        self._contacts()
        self._texts()
        self._backlog()
        self.result.notes += self.watch.unreadable.notes()
        return self.result

    def _open(self) -> Position:
        reconcile, fingerprint = interval(self.configured.reconcile), source_fingerprint(self.configured, self.wanted)
        before = self.shape.before
        position = start_position(self.stored, fingerprint, self.adapter, reconcile, self.now, before, self.expired)
        baseline_at = self.stored["baseline_at"]
        with reading(self.runtime.engine) as db:
            self.watch = TriggerWatch.open(db, self.runtime.settings, self.name, baseline_at, before.kinds)
        if baseline_at is None:
            self.result.notes.append("This is the first sync of this connection: it texts nobody.")
        elif self.watch.new:
            names = ", ".join(rule.name for rule in self.watch.new)
            self.result.notes.append(f"New triggers take this sync as their baseline and text nobody yet: {names}.")
        self.rules = replace(self.rules, ids_may_differ=position.changed_settings)
        if position.restarted:
            self.result.notes.append(f"Every record is read again: {position.restarted}.")
        if position.listing is None and comparison_due(self.stored, self.adapter, reconcile, self.now):
            self.result.notes.append("The sync also compares all ids, to find deleted records; the plan does not.")
        return position

    def _live_kinds(self) -> Collection[str]:
        with reading(self.runtime.engine) as db:
            return pull_rows.live_kinds(db, self.name)

    def _without_repeats(self, reader: PageReader, records: Sequence[NormalisedRecord]) -> Iterator[NormalisedRecord]:
        """Reject ids that a strict listing shows twice. A sync finds them in the store, a plan in its drafts."""
        for record in records:
            known = self.state.mappings.get(record.external_id)
            if not reader.strict or known is None or known.id is not None:
                yield record
            elif known.record_hash != record.hash:
                self.result.rejections.append(reader.repeated(record.change))

    def _decide(self, records: Sequence[NormalisedRecord]) -> None:
        """Decide about a part of the records. Raises _RecordsFailed if some of them cannot be decided about."""
        self.result.rejections += [self.failed[r.external_id] for r in records if r.external_id in self.failed]
        records = [record for record in records if record.external_id not in self.failed]
        try:
            intents, decision = self._decision(records, self.state)
        except STORE_AWAY:
            raise
        except Exception:
            if failed := self._failing_alone(records):
                raise _RecordsFailed(failed) from None
            raise
        self.state.follow(decision.rejections, decision.cleared)
        self.touched |= decision.contacts
        self.result.rejections += decision.rejections.values()
        self.result.removed += decision.removed
        self.intents += intents

    def _failing_alone(self, records: Sequence[NormalisedRecord]) -> dict[str, RecordRejection]:
        """Return those of the records that fail, tried one by one on what is stored, as the sync does."""
        failed = {}
        for record in records:
            try:
                self._decision([record], PageState())
            except STORE_AWAY:
                raise
            except Exception as error:  # noqa: BLE001 - nothing in one record stops another
                failed[record.external_id] = reject_failed(record.change, error)
        return failed

    def _decision(self, records: Sequence[NormalisedRecord], state: PageState) -> tuple[list[TextIntent], PageDecision]:
        with reading(self.runtime.engine) as db:
            pull_rows.load_state(db, self.rules, records, state)
            records, forgotten = set_aside_forgotten(db, self.name, records, state)
            decision = decide_page(records, state, self.rules, self.now)
            decision.rejections |= forgotten
            text_no_remembered(db, self.name, decision)
            return self.watch.intents(db, decision, self.now), decision

    def _removals(self, reader: PageReader) -> None:
        confirmed = self.stored["confirmed_at"]
        missing = [is_confirmed(gone.first_seen_at, confirmed) for part in reader.missing(self.now) for gone in part]
        if any(missing):
            with reading(self.runtime.engine) as db:
                stored = pull_rows.live_count(db, self.name, confirmed)
            self.result.refused = removal_refusal(sum(missing), stored, self.configured.max_missing_share) or ""
        if not self.result.refused:
            for part in reader.missing(self.now):  # nothing is stored, so the records cannot just be counted
                self._decide([gone.record for gone in part])

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
            then = "" if is_linked(db, account) else f" If it stays so, creates wait for `{LINK_COMMAND} {account}`."
            self.result.notes.append(
                f"VirtualText's contact list could not be read ({outcome.detail}): "
                f"some creates may turn out to be adoptions.{then}"
            )
            return {}
        found: dict[str, list[RemoteContact]] = {}
        for one in map(as_stored, outcome.value):
            found.setdefault(one.phone, []).append(one)
        return found

    def _texts(self) -> None:
        with reading(self.runtime.engine) as db:
            intents = self.watch.allowed_again(db, self.intents, self.now)
            foreseen = foresee(db, self.runtime.settings, self.rules.account, intents)
        waiting = self._waiting(foreseen)
        for intent, problem in foreseen:
            info = count(intent.text)
            waits = intent.trigger in waiting
            self.result.texts.append(
                PlannedSend(intent.trigger, intent.phone, intent.text, info.segments, info.encoding, waits, problem)
            )

    def _waiting(self, foreseen: Sequence[tuple[TextIntent, str]]) -> set[str]:
        """Return the triggers whose texts would wait for approval, and note why. See ``release_or_hold_batch``."""
        people: dict[str, set[str]] = {}
        for intent, problem in foreseen:
            if not problem:
                people.setdefault(intent.trigger, set()).add(intent.phone)
        general, policies = policy_for(self.runtime.settings, connection=self.name), self.watch.policies
        alone = {name for name in people if policies[name].is_own_of_trigger("blast_limit")}
        together = {phone for name in people.keys() - alone for phone in people[name]}
        groups = [
            (people.keys() - alone, together, general),
            *(({name}, people[name], policies[name]) for name in alone),
        ]
        waiting: set[str] = set()
        for names, phones, policy in groups:
            if len(phones) > policy.blast_limit:
                waiting |= names
                whose = "every text" if not alone else f"the texts of {', '.join(sorted(names))}"
                self.result.notes.append(
                    f"{len(phones)} people would be texted, more than {policy.setting('blast_limit')} "
                    f"({policy.blast_limit}): {whose} would wait for `vtsync approve`."
                )
        with reading(self.runtime.engine) as db:
            for name in sorted(people.keys() - waiting):
                policy = policies[name]
                why = blast_guard.reason_to_hold(
                    *(db, name, policy.blast_limit, self.now, people[name]),
                    setting=policy.setting("blast_limit"),
                    rehearsed=self.watch.rehearsed,
                )
                why = why or why_paused(db, name)
                if why:
                    waiting.add(name)
                    self.result.notes.append(f"The texts of {name} would wait: {why}.")
        return waiting

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
