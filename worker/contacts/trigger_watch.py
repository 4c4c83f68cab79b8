"""Connects a sync with the triggers: the rules that watch a connection, and the texts that they call for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, select, update

from config.models import Settings
from worker.contacts.decide import PageDecision, RecordChange
from worker.messages.batches import BatchVerdict, release_or_hold_batch
from worker.messages.date_plans import PlannedRecord, plan_records
from worker.messages.intents import insert_intents
from worker.messages.people import LiveRecord, owner_number
from worker.messages.reentry import allowed_again
from worker.store.sql import insert
from worker.store.tables import trigger_state
from worker.triggers.evaluate import TextIntent, evaluate
from worker.triggers.kinds import RecordEvent
from worker.triggers.rules import TextRule, compile_rules


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
    gone: tuple[str, ...] = ()
    """Names of rules that were switched off. They miss changes, so they need a new baseline if switched on again."""

    @classmethod
    def open(cls, db: Connection, settings: Settings, connection: str, baseline_at: datetime | None) -> TriggerWatch:
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
        return cls(settings, connection, rules, active, new, gone)

    def prepare(self, db: Connection) -> None:
        """Store that new rules wait for their baseline, and delete the rules that are gone."""
        t = trigger_state.c
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

    def intents(self, decision: PageDecision) -> list[TextIntent]:
        """Return the texts that a page's changes call for."""
        if not self.active_since:
            return []
        found: list[TextIntent] = []
        for change in decision.changes:
            rules = [rule for rule in self.rules if self._watches(rule, change)]
            if rules:
                found += [self._with_its_record(intent, change) for intent in evaluate(rules, self._event(change))]
        return found

    def _with_its_record(self, intent: TextIntent, change: RecordChange) -> TextIntent:
        """Add what the record says: its owner's number, unless the rule names one, and if its person may be texted."""
        record = LiveRecord(self.connection, change.mapping.external_id, change.new)
        return replace(
            intent,
            from_number=intent.from_number or owner_number(self.settings, self.connection, change.new),
            do_not_text=record.do_not_text(self.settings),
            no_consent=record.no_consent(self.settings),
        )

    def allowed_again(self, db: Connection, intents: Sequence[TextIntent], now: datetime) -> list[TextIntent]:
        """Return the texts whose rule allows another text about the same record."""
        return allowed_again(db, {rule.name: rule for rule in self.rules}, intents, now)

    def queue(self, db: Connection, decision: PageDecision, batch_id: str, now: datetime) -> int:
        """Insert the texts in the transaction of their page. None is sent before the run ends, see ``settle``."""
        rules = self.planned_by_date
        if rules and decision.mappings:
            plan_records(db, self.settings, rules, self._planned(decision), now)
        intents = self.intents(decision)
        if intents:
            intents = self.allowed_again(db, intents, now)
        if not intents:
            return 0
        connection = self.settings.connections[self.connection]
        account = self.settings.accounts[connection.account]
        return insert_intents(db, connection.account, account.from_number, batch_id, intents, self.settings.policy, now)

    def settle(self, db: Connection, batch_id: str, now: datetime) -> BatchVerdict:
        """At the end of a run: release its texts, or hold them all for approval if there are too many."""
        return release_or_hold_batch(db, batch_id, self.settings.policy.blast_limit, now, self.settings.policy)

    def complete(self, db: Connection, now: datetime) -> None:
        """Activate the rules that waited for a baseline: a complete pull has ended."""
        t = trigger_state.c
        db.execute(
            update(trigger_state)
            .where(t.connection == self.connection, t.active_since.is_(None))
            .values(active_since=now)
        )

    def _watches(self, rule: TextRule, change: RecordChange) -> bool:
        active_since = self.active_since.get(rule.name)
        if active_since is None:
            return False
        first_seen = change.mapping.first_seen_at
        # A record that existed at activation and only now becomes usable is not a new record.
        return change.old is not None or first_seen is None or first_seen > active_since

    def _event(self, change: RecordChange) -> RecordEvent:
        return RecordEvent(
            connection=self.connection,
            external_id=change.mapping.external_id,
            contact_id=change.contact.id,
            phone=change.contact.phone,
            full_name=change.contact.full_name,
            email=change.contact.email,
            old=change.old,
            new=change.new,
            revision=change.mapping.revision,
        )

    def _planned(self, decision: PageDecision) -> list[PlannedRecord]:
        return [
            PlannedRecord(
                self.connection,
                draft.external_id,
                "" if draft.contact is None or draft.deleted or key in decision.rejections else draft.contact.phone,
                draft.record,
            )
            for key, draft in decision.mappings.items()
        ]
