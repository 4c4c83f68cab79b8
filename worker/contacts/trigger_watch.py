"""Connects a sync with the triggers: the rules that watch a connection, and the texts that they call for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, select, update

from config.models import Settings
from config.policy import Policy
from config.policy_levels import policy_for
from crm_adapters.base import CONTACT
from worker.contacts.decide import PageDecision, RecordChange
from worker.messages.batches import BatchVerdict, release_or_hold_batch
from worker.messages.consents import require_consents
from worker.messages.conversations import load_conversations
from worker.messages.date_plans import PlannedRecord, plan_records, unread_date
from worker.messages.intents import insert_intents
from worker.messages.people import owner_number, zones_of
from worker.messages.permission import LiveRecord
from worker.messages.reentry import allowed_again
from worker.messages.unread_records import forget_unread, mark_unread
from worker.store.sql import insert
from worker.store.tables import trigger_state
from worker.triggers.conversation import ConversationFacts
from worker.triggers.evaluate import TextIntent, asks_first, evaluate
from worker.triggers.kinds import RecordEvent
from worker.triggers.rules import TextRule, compile_rules
from worker.triggers.unread import Unreadable, UnreadValue


def with_its_record(settings: Settings, intent: TextIntent, properties: Mapping[str, Any]) -> TextIntent:
    """Add what the record says: its owner's number, unless the rule names one, and if its person may be texted."""
    record = LiveRecord(intent.connection, intent.external_id, properties, intent.kind)
    return replace(
        intent,
        from_number=intent.from_number or owner_number(settings, intent.connection, properties),
        do_not_text=record.do_not_text(settings),
        no_consent=record.no_consent(settings),
    )


@dataclass
class TriggerWatch:
    """The rules of one connection. A rule is active after the first complete pull since it was enabled. What that pull
    read is its baseline and causes no texts.
    """

    settings: Settings
    connection: str
    rules: tuple[TextRule, ...]
    active_since: dict[str, datetime]

    new: tuple[TextRule, ...] = ()
    """Rules that were enabled or redefined since the last run: this run's complete pull is their baseline."""
    kinds: Mapping[str, datetime] = field(default_factory=dict)
    """The kinds of record that were read completely, and since when. What existed before then is not new."""
    gone: tuple[str, ...] = ()
    """Names of rules that were switched off. They miss changes, so they need a new baseline if switched on again."""
    consenting: set[str] = field(default_factory=set)
    """The numbers whose records give consent, of those that this run has read."""
    unreadable: Unreadable = field(default_factory=Unreadable)
    """The values of this run because of which rules could not decide: its ``notes`` are for a person."""
    unread_now: dict[str, set[str]] = field(default_factory=dict)
    """The records of this page that a rule could not decide about: ids by the name of the rule."""

    @classmethod
    def open(
        cls,
        db: Connection,
        settings: Settings,
        connection: str,
        baseline_at: datetime | None,
        kinds: Mapping[str, datetime],
    ) -> TriggerWatch:
        """Read which of the connection's rules are active. Changes nothing."""
        rules = compile_rules(settings).get(connection, ())
        t = trigger_state.c
        columns = (t.trigger, t.fingerprint, t.active_since)
        known = {row.trigger: row for row in db.execute(select(*columns).where(t.connection == connection))}
        same = [rule for rule in rules if rule.name in known and known[rule.name].fingerprint == rule.fingerprint]
        active = {
            rule.name: known[rule.name].active_since
            for rule in same
            if baseline_at is not None and known[rule.name].active_since is not None
        }
        new = tuple(rule for rule in rules if rule not in same)
        gone = tuple(sorted(set(known) - {rule.name for rule in rules}))
        return cls(settings, connection, rules, active, new, kinds, gone)

    def prepare(self, db: Connection) -> None:
        """Store that new rules wait for their baseline, and delete the rules that are gone."""
        t = trigger_state.c
        forget_unread(db, self.connection, [*self.gone, *(rule.name for rule in self.new)])
        if self.gone:
            db.execute(trigger_state.delete().where(t.connection == self.connection, t.trigger.in_(self.gone)))
        for rule in self.new:
            statement = insert(db, trigger_state)
            db.execute(
                statement.on_conflict_do_update(
                    index_elements=["trigger", "connection"],
                    set_={"fingerprint": rule.fingerprint, "active_since": None},
                ),
                {
                    "trigger": rule.name,
                    "connection": self.connection,
                    "fingerprint": rule.fingerprint,
                    "active_since": None,
                },
            )

    @property
    def planned_by_date(self) -> list[TextRule]:
        """The rules that fire at planned times. They need no baseline, since only future dates count."""
        return [rule for rule in self.rules if rule.planned_by_date]

    @property
    def unplanned(self) -> list[TextRule]:
        """Date rules that are not active yet: records that did not change in this run are not planned for them."""
        return [rule for rule in self.planned_by_date if rule.name not in self.active_since]

    def intents(self, db: Connection, decision: PageDecision, now: datetime) -> list[TextIntent]:
        """Return the texts that a page's changes call for."""
        self._collect_unread_dates(decision)
        self.unread_now = {}
        if not self.active_since:
            return []
        found: list[TextIntent] = []
        talks = self._conversations(db, decision, now)
        for change in decision.changes:
            self._note_consent(change)
            rules = [rule for rule in self.rules if self._watches(rule, change)]
            unread: list[tuple[str, UnreadValue]] = []
            if rules:
                intents = evaluate(rules, self._event(change, talks), unread)
                found += [with_its_record(self.settings, intent, change.new) for intent in intents]
            for name, value in unread:
                external_id = change.mapping.external_id
                self.unreadable.add(name, value, external_id)
                if value.option != "only_if":  # of which a suppressed text tells
                    self.unread_now.setdefault(name, set()).add(external_id)
        return found

    def _conversations(self, db: Connection, decision: PageDecision, now: datetime) -> Mapping[str, ConversationFacts]:
        """Read the conversations with the people of a page, if a rule asks about them."""
        phones = {change.contact.phone for change in decision.changes}
        if not phones or not any(asks_first(rule.options) for rule in self.rules if not rule.planned_by_date):
            return {}
        return load_conversations(db, phones, now)

    def _note_consent(self, change: RecordChange) -> None:
        if self.settings.policy.consent == "required":
            record = LiveRecord(self.connection, change.mapping.external_id, change.new, change.mapping.kind)
            if record.gives_consent(self.settings):
                self.consenting.add(change.contact.phone)

    def _collect_unread_dates(self, decision: PageDecision) -> None:
        for record in self._planned(decision) if self.planned_by_date else ():
            for rule in self.planned_by_date:
                value = unread_date(rule, record, self.settings) if rule.watches(self.connection, record.kind) else None
                if value is not None:
                    self.unreadable.add(rule.name, value, record.external_id)

    def allowed_again(self, db: Connection, intents: Sequence[TextIntent], now: datetime) -> list[TextIntent]:
        """Return the texts whose rule allows another text about the same record, and note who has not consented."""
        rules = {rule.name: rule for rule in self.rules}
        again = allowed_again(db, rules, intents, now, rehearsed=self.rehearsed)
        return require_consents(db, self.settings, again, self.consenting, now)

    @property
    def rehearsed(self) -> bool:
        """True if the account of the connection is in test mode: its texts are simulated."""
        account = self.settings.connections[self.connection].account
        return self.settings.accounts[account].mode == "test"

    def queue(self, db: Connection, decision: PageDecision, batch_id: str, now: datetime) -> int:
        """Insert the texts in the transaction of their page. None is sent before the run ends, see ``settle``."""
        rules = self.planned_by_date
        if rules and decision.mappings:
            plan_records(db, self.settings, rules, self._planned(decision), now)
        intents = self.intents(db, decision, now)
        mark_unread(db, self.connection, self._marking, decision.mappings, self.unread_now)
        if intents:
            intents = self.allowed_again(db, intents, now)
        self.consenting.clear()  # the records are stored by now
        if not intents:
            return 0
        connection = self.settings.connections[self.connection]
        account = self.settings.accounts[connection.account]
        return insert_intents(db, connection.account, account.from_number, batch_id, intents, self.settings, now)

    def settle(self, db: Connection, batch_id: str, now: datetime, *, suspect: bool = False) -> BatchVerdict:
        """At the end of a run: release its texts, or hold them all for approval if there are too many.

        ``suspect``: hold them all, because the source looked wrong and the run was refused.
        """
        policy = policy_for(self.settings, connection=self.connection)
        return release_or_hold_batch(
            db,
            batch_id,
            policy.blast_limit,
            now,
            policy,
            of_trigger=self.policies,
            suspect=suspect,
            rehearsed=self.rehearsed,
        )

    @property
    def policies(self) -> dict[str, Policy]:
        """The policy of each rule's texts."""
        return {
            rule.name: policy_for(self.settings, connection=self.connection, trigger=rule.name) for rule in self.rules
        }

    def complete(self, db: Connection, now: datetime) -> None:
        """Activate the rules that waited for a baseline: a complete pull has ended."""
        t = trigger_state.c
        db.execute(
            update(trigger_state)
            .where(t.connection == self.connection, t.active_since.is_(None))
            .values(active_since=now)
        )

    @property
    def _marking(self) -> list[str]:
        """The names of the active rules whose unread values are marked with the records."""
        return [
            rule.name
            for rule in self.rules
            if rule.name in self.active_since and rule.kind.may_be_unread and not rule.planned_by_date
        ]

    def _watches(self, rule: TextRule, change: RecordChange) -> bool:
        active_since = self.active_since.get(rule.name)
        if active_since is None:
            return False
        if change.old is not None:
            return True
        # A record that existed at activation and only now becomes usable is not a new record, nor is one of a kind that
        # was not read before.
        first_seen, kind_since = change.mapping.first_seen_at, self.kinds.get(change.mapping.kind)
        return kind_since is not None and (first_seen is None or first_seen > max(active_since, kind_since))

    def _event(self, change: RecordChange, talks: Mapping[str, ConversationFacts]) -> RecordEvent:
        mapping, contact = change.mapping, change.contact
        person = mapping.external_id if mapping.kind == CONTACT else mapping.person or ""
        own = contact.live.get((self.connection, person))  # a number may be that of several people
        return RecordEvent(
            connection=self.connection,
            external_id=mapping.external_id,
            contact_id=contact.id,
            phone=contact.phone,
            full_name="" if own is None else own.full_name,
            email="" if own is None else own.email,
            old=change.old,
            new=change.new,
            revision=mapping.revision,
            kind=mapping.kind,
            region=self.settings.connections[self.connection].default_region,
            zones=partial(zones_of, self.settings, self.connection, contact.phone, change.new),
            of_known_person=change.of_known_person,
            conversation=talks.get(contact.phone),
        )

    def _planned(self, decision: PageDecision) -> list[PlannedRecord]:
        return [
            PlannedRecord(
                self.connection,
                draft.external_id,
                "" if draft.contact is None or draft.deleted or key in decision.rejections else draft.contact.phone,
                draft.record,
                draft.kind,
            )
            for key, draft in decision.mappings.items()
        ]
