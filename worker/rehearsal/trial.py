"""Tries a trigger on one record: would it fire now, which text, to whom, and when would it go. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from config.models import Settings
from config.policy import Policy
from config.policy_levels import policy_for
from worker.contacts.decide import RecordRejection
from worker.contacts.find_record import find_record
from worker.contacts.trigger_watch import with_its_record
from worker.core.progress import Progress, untold
from worker.core.states import MessageKind
from worker.messages.conversations import load_conversations
from worker.messages.date_plans import PlannedRecord, next_due, unread_date
from worker.messages.outbox import media_json
from worker.messages.policy_facts import load_facts
from worker.messages.reentry import for_each_record, intent_key
from worker.policy.decide import RELEASED_BY, Expire, Go, Hold, Suppress, decide
from worker.rehearsal.backtest import enabled_rule
from worker.rehearsal.firings import record_event
from worker.rehearsal.history import RecordVersion, RecordWithHistory, read_record
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.tables import message, trigger_state
from worker.triggers.conditions import judge
from worker.triggers.evaluate import TextIntent, evaluate, unread_only_if, write_text
from worker.triggers.kinds import ConditionEntered, RecordEvent
from worker.triggers.rules import TextRule
from worker.triggers.segments import count

MOST_STEPS = 20


class NothingToTry(ValueError):
    """The record cannot be found or used, or the trigger does not watch its connection."""


@dataclass(frozen=True, slots=True)
class TrialStep:
    """What the policy would decide at ``at``."""

    at: datetime
    decision: str


@dataclass(frozen=True, slots=True)
class Trial:
    """The result. ``fires``: the trigger would make a text now, or has a time at which it will.

    ``why``: the reasons for that or against it. ``text`` is rendered in any case, so that it can be read. ``problem``:
    why it could not be rendered. ``steps``: what the policy would decide, one after the other.
    """

    trigger: str
    connection: str
    external_id: str
    stored: bool
    fires: bool
    why: tuple[str, ...]
    account: str
    to_number: str
    from_number: str
    text: str
    media: tuple[str, ...]
    segments: int
    encoding: str
    problem: str
    due_at: datetime
    steps: tuple[TrialStep, ...]


def try_trigger(
    runtime: Runtime,
    trigger: str,
    external_id: str,
    connection: str | None = None,
    progress: Progress = untold,
    *,
    stored_only: bool = False,
) -> Trial:
    """Try a trigger on a stored record, or on one that is read from the CRM. Raises NothingToTry, AdapterError.

    ``stored_only``: do not ask the CRM, which may have to be read from its first record to its last.
    """
    settings, rules = enabled_rule(runtime.settings, trigger)
    if connection is None and len(rules) > 1:
        raise NothingToTry(f"the trigger {trigger} watches several connections; name one of: {', '.join(rules)}")
    name = connection or next(iter(rules), "")
    if name not in rules:
        raise NothingToTry(f"the trigger {trigger} does not watch {name}; it watches: {', '.join(rules)}")
    with reading(runtime.engine) as db:
        record = read_record(db, name, external_id)
    stored = record is not None
    if record is None and stored_only:
        raise NothingToTry(
            f"no sync of {name} has stored a record {external_id}; `vtsync triggers test {trigger} --record"
            f" {external_id} --connection {name}` looks for it in the CRM"
        )
    if record is None:
        record = _from_crm(runtime, name, external_id, progress)
    watched = rules[name].options.record
    if record.kind != watched:
        raise NothingToTry(f"record {external_id} is of the kind {record.kind}, and {trigger} watches {watched}")
    if not record.phone:
        raise NothingToTry(f"record {external_id} of {name} is deleted or has no usable phone number now")
    with reading(runtime.engine) as db:
        return _Trial(db, runtime.settings, settings, rules[name], record, stored=stored).result()


def _from_crm(runtime: Runtime, connection: str, external_id: str, progress: Progress) -> RecordWithHistory:
    found = find_record(runtime, connection, external_id, progress)
    if found is None:
        raise NothingToTry(f"neither the store nor the CRM of {connection} has a record {external_id}")
    if isinstance(found, RecordRejection):
        raise NothingToTry(f"record {external_id} of {connection} cannot be used: {found.reason}")
    now = utcnow()
    version = RecordVersion(found.new, None, now, 1)
    return RecordWithHistory(
        mapping_id=0,
        connection=connection,
        external_id=external_id,
        kind=found.mapping.kind,
        contact_id=None,
        phone=found.contact.phone,
        full_name=found.contact.full_name,
        email=found.contact.email,
        first_seen_at=now,
        changed_at=now,
        versions=(version,),
    )


@dataclass
class _Trial:
    db: Connection
    configured: Settings
    settings: Settings
    """The same, with the trigger switched on."""
    rule: TextRule
    record: RecordWithHistory
    stored: bool

    def result(self) -> Trial:
        """Return what would happen."""
        now = utcnow()
        talk = load_conversations(self.db, [self.record.phone], now)[self.record.phone]
        event = record_event(self.record, self.record.newest, self.settings, talk)
        due_at, fires, why = self._planned(now) if self.rule.planned_by_date else self._changed(event, now)
        occurrence = self._occurrence(event, now)
        condition = self._only_if(event)
        why += condition
        unconditional = replace(self.rule, options=self.rule.options.model_copy(update={"only_if": None}))
        intent = write_text(unconditional, event, occurrence)
        assert intent is not None  # noqa: S101 - without only_if there is always a text
        intent = with_its_record(self.settings, intent, event.new)
        account = self.settings.connections[self.record.connection].account
        (intent,) = for_each_record(self.db, account, [intent])
        sent_before, off = self._made_before(intent, account), self._off()
        why += sent_before + off
        due_at += intent.delay or timedelta(0)
        info = count(intent.text)
        return Trial(
            trigger=self.rule.name,
            connection=self.record.connection,
            external_id=self.record.external_id,
            stored=self.stored,
            fires=fires and not condition and not sent_before and not off,
            why=tuple(why),
            account=account,
            to_number=intent.phone,
            from_number=intent.from_number or self.settings.accounts[account].from_number,
            text=intent.text,
            media=intent.media,
            segments=info.segments,
            encoding=info.encoding,
            problem=intent.problem,
            due_at=due_at,
            steps=() if intent.problem else tuple(self._steps(intent, account, due_at)),
        )

    def _planned(self, now: datetime) -> tuple[datetime, bool, list[str]]:
        due = next_due(self.rule, self._plan(), self.settings, now)
        if due is not None:
            return due.at, True, [f"it is due at {due.at:%Y-%m-%d %H:%M} UTC, for the date {due.occurrence}"]
        unread = unread_date(self.rule, self._plan(), self.settings)
        if unread is not None:
            return now, False, [f'"{unread.shown}" in the field "{unread.field}" cannot be read as a date']
        return now, False, ["the date of this record is empty, or its time has passed; past dates text nobody"]

    def _changed(self, event: RecordEvent, now: datetime) -> tuple[datetime, bool, list[str]]:
        version = self.record.newest
        if not self.stored:
            fires = bool(evaluate([self.rule], event))
            return (
                now,
                fires,
                [
                    "no sync has read this record yet: as a new record, it would"
                    f" {'set the trigger off' if fires else 'not set the trigger off'}"
                ],
            )
        fired = bool(evaluate([self.rule], event)) and (event.old is not None or version.revision == 1)
        state = [f"its latest known version is of {version.at:%Y-%m-%d %H:%M} UTC"]
        if event.old is None and version.revision > 1:
            state.append("what it held before is not stored, so it is not known if that change set the trigger off")
        else:
            what = "as a new record, it" if event.old is None else "that change"
            state.append(f"{what} {'sets' if fired else 'does not set'} the trigger off")
        if isinstance(self.rule.kind, ConditionEntered):
            held = judge(self.rule.kind.options.condition, event.new, event.contact, event.region, event.conversation)
            state.append(f"its condition {'holds' if held.holds else 'does not hold'} for the record as it is now")
            if held.unread is not None:
                state.append(f'"{held.unread[1]}" in the field "{held.unread[0]}" cannot be read')
        return now, fired, state

    def _occurrence(self, event: RecordEvent, now: datetime) -> str:
        if not self.rule.planned_by_date:
            return event.version
        due = next_due(self.rule, self._plan(), self.settings, now)
        return due.occurrence if due else "test"

    def _only_if(self, event: RecordEvent) -> list[str]:
        condition = self.rule.options.only_if
        if condition is None:
            return []
        unread = unread_only_if(self.rule, event)
        if unread is not None:
            return [f"it {unread.fault()}, so it is not known if this holds: {condition}. {unread.remedy}"]
        judged = judge(condition, event.new, event.contact, event.region, event.conversation)
        return [] if judged.holds else [f"its only_if does not hold: {condition}"]

    def _made_before(self, intent: TextIntent, account: str) -> list[str]:
        made = self._made(intent, account)
        if not made:
            return []
        m = message.c
        row = self.db.execute(select(m.state, m.created_at).where(m.id == made)).one()
        return [f"it made this text already, at {row.created_at:%Y-%m-%d %H:%M} UTC: message {made}, {row.state}"]

    def _made(self, intent: TextIntent, account: str) -> str:
        m = message.c
        mine = (m.account == account, m.kind == MessageKind.SEND, m.idempotency_key == intent_key(intent))
        return self.db.scalar(select(m.id).where(*mine)) or ""

    def _off(self) -> list[str]:
        if not self.configured.triggers[self.rule.name].enabled:
            return ["the trigger is switched off (enabled = false)"]
        if self.rule.planned_by_date:
            return []
        t = trigger_state.c
        state = self.db.execute(
            select(t.active_since, t.fingerprint).where(
                t.trigger == self.rule.name, t.connection == self.record.connection
            )
        ).first()
        if state is None or state.active_since is None or state.fingerprint != self.rule.fingerprint:
            return ["the trigger waits for its baseline: it is active after the next complete sync, which texts nobody"]
        return []

    def _plan(self) -> PlannedRecord:
        r = self.record
        return PlannedRecord(r.connection, r.external_id, r.phone, r.newest.properties, r.kind)

    def _policy(self, account: str) -> Policy:
        rule = self.rule.name
        return policy_for(self.settings, account=account, connection=self.record.connection, trigger=rule)

    def _steps(self, intent: TextIntent, account: str, due_at: datetime) -> list[TrialStep]:
        """Ask the policy at the time at which the text is due, and again whenever it would be decided about again."""
        row: dict[str, Any] = {
            # A text that it made already is no duplicate of itself.
            "id": self._made(intent, account) or new_message_id(),
            "account": account,
            "to_number": intent.phone,
            "text": intent.text,
            "media": media_json(intent.media),
            "due_at": due_at,
            "expires_at": due_at + (intent.expires_after or self._policy(account).expires_after),
            "urgent": intent.urgent,
            "idempotency_key": intent_key(intent),
        }
        if self.stored:
            row |= {"connection": intent.connection, "external_id": intent.external_id, "trigger": intent.trigger}
        steps, at = list[TrialStep](), max(due_at, utcnow())
        while len(steps) < MOST_STEPS:
            facts = load_facts(self.db, row, self.settings, at)
            if not self.stored:  # its record says nothing yet in the store
                facts = replace(facts, do_not_text=intent.do_not_text, no_consent=intent.no_consent)
            match decision := decide(facts, at):
                case Go():
                    steps.append(TrialStep(at, self._goes(intent, account)))
                    return steps
                case Hold(until=until) if until is not None:
                    steps.append(TrialStep(at, f"waits ({decision.code}): {decision.reason}"))
                    at = row["due_at"] = until
                case Hold():
                    steps.append(TrialStep(at, f"waits for {RELEASED_BY[decision.code]}: {decision.reason}"))
                    return steps
                case Suppress():
                    steps.append(TrialStep(at, f"not sent ({decision.code}): {decision.reason}"))
                    return steps
                case Expire():
                    steps.append(TrialStep(at, f"not sent (expired): {decision.reason}"))
                    return steps
        return steps

    def _goes(self, intent: TextIntent, account: str) -> str:
        only = self.configured.accounts[account].only_numbers
        if only is not None and intent.phone not in only:
            return f"would go; it is simulated, because the account {account} is in test mode"
        return "goes"
