"""Whom a trigger would have texted in the last days, by the history that is stored. It changes nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, select

from config.models import Settings
from config.policy_levels import policy_for
from worker.contacts.shape import Shape
from worker.core.progress import Progress, untold
from worker.core.text import counted
from worker.messages.consents import gap_of, given_consents
from worker.messages.conversations import load_conversations
from worker.messages.intents import first_facts
from worker.messages.opt_outs import opted_out
from worker.messages.outbox import media_json
from worker.messages.people import Recipient, recipients_of
from worker.messages.policy_facts import quiet_hours_for
from worker.messages.reentry import ANOTHER_RECORD, intent_key, may_text_again
from worker.policy.decide import OptedOut, PolicyFacts
from worker.policy.locations import zone_info
from worker.rehearsal.firings import Firing, Span, firings_of
from worker.rehearsal.guards import TriggerLoad
from worker.rehearsal.history import RecordWithHistory, count_stored, first_change_at, stored_records
from worker.rehearsal.replay import SENT, Fate, PolicyReplay, ReplayedText
from worker.rehearsal.sent import SentTexts
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.tables import connection_state, sync_run
from worker.triggers.conversation import ConversationFacts
from worker.triggers.evaluate import asks_first
from worker.triggers.rules import TextRule, compile_rules
from worker.triggers.unread import Unreadable
from worker.triggers.values import property_named

OPT_OUTS_AT_ONCE = 5000
EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class BacktestExample:
    """One text that the rule would have made."""

    at: datetime
    connection: str
    external_id: str
    to_number: str
    text: str
    outcome: str
    """``sent``, or the code of what would have stopped it."""
    decided_at: datetime
    held: tuple[str, ...]
    reason: str


@dataclass
class BacktestDay:
    """One day, in UTC: how many texts the rule would have made, and what would have happened to them."""

    day: date
    made: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


@dataclass
class Backtest:
    """The result. ``outcomes``: texts by ``sent`` or the code that stops them; ``held``: texts that would have waited.

    ``hours``: at which hour of the recipient's day they would have gone. ``notes``: what the history cannot show.
    """

    trigger: str
    since: datetime
    until: datetime
    records: int = 0
    made: int = 0
    people: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    hours: Counter[int] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    """An example of the reason for each outcome."""
    days: list[BacktestDay] = field(default_factory=list)
    examples: list[BacktestExample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def enabled_rule(settings: Settings, trigger: str) -> tuple[Settings, dict[str, TextRule]]:
    """Return the rule of a trigger for each of its connections, also if it is switched off, and settings in which
    it is not. Raises KeyError if there is no such trigger.
    """
    on = settings.triggers[trigger].model_copy(update={"enabled": True})
    changed = settings.model_copy(update={"triggers": {**settings.triggers, trigger: on}})
    found = {name: rule for name, rules in compile_rules(changed).items() for rule in rules if rule.name == trigger}
    return changed, found


def backtest(
    runtime: Runtime,
    trigger: str,
    days: int,
    progress: Progress = untold,
    time_is_up: Callable[[], bool] = lambda: False,
) -> Backtest:
    """Replay the stored history of the last ``days`` through the trigger and the policy. Raises KeyError.

    Once ``time_is_up``, no further record is read. A note says so.
    """
    now = utcnow()
    settings, rules = enabled_rule(runtime.settings, trigger)
    result = Backtest(trigger, now - timedelta(days=days), now)
    collected = _Collected(runtime, settings, result)
    with reading(runtime.engine) as db:
        collected.stored = sum(count_stored(db, name, rule.options.record) for name, rule in rules.items())
    for name, rule in rules.items():
        collected.read(name, rule, progress, time_is_up)
    if time_is_up():
        result.notes.append(
            f"the time was up after {counted(result.records, 'record')}: the others are left out;"
            f" `vtsync triggers backtest {trigger} --days {days}` reads all of them"
        )
    options = settings.triggers[trigger]
    if asks_first(options):
        result.notes.append("what only_if asks about the conversation is judged by the conversation as it is now")
    if options.stop_on_reply:
        result.notes.append("replies that would have stopped texts (stop_on_reply) are not taken into account")
    _replay(
        runtime, settings, result, collected.in_order(rules), planned=any(r.planned_by_date for r in rules.values())
    )
    return result


@dataclass
class _Text:
    """A text of the backtest: the firing, the sync in which it would have been made, and its permanent key."""

    firing: Firing
    batch: str
    key: str


@dataclass
class _Collected:
    """The firings of all connections."""

    runtime: Runtime
    settings: Settings
    result: Backtest
    texts: list[_Text] = field(default_factory=list)
    stored: int = 0
    """How many records there are to read."""
    unreadable: Unreadable = field(default_factory=Unreadable)

    def read(self, connection: str, rule: TextRule, progress: Progress, time_is_up: Callable[[], bool]) -> None:
        """Read the records of a connection, and what the rule makes of their versions."""
        span = self._span(connection, rule)
        if span is None:
            return
        batches = _Batches(self.runtime, connection)
        unknown, fields = 0, {name for read in rule.kind.reads().values() for name in read.names}
        for portion in stored_records(self.runtime.engine, connection, rule.options.record):
            if time_is_up():
                break
            talks = self._conversations(rule, portion)
            for record in portion:
                fields = {name for name in fields if property_named(name, record.newest.properties) is None}
                changed = not rule.planned_by_date and record.changed_at >= span.since
                unknown += changed and not record.is_known_since(span.since)
                for firing in firings_of(rule, record, self.settings, span, self.unreadable, talks.get(record.phone)):
                    self.texts.append(_Text(firing, batches.of(firing.at), intent_key(firing.intent)))
            self.result.records += len(portion)
            progress(self.result.records, self.stored)
        self.result.notes += [
            f'no record of {connection} has "{name}" in the store: only fields that the configuration uses are stored;'
            " add the trigger with enabled = false, and test it again after some syncs"
            for name in sorted(fields)
        ]
        if unknown:
            self.result.notes.append(
                f"{counted(unknown, 'record')} of {connection} changed in this time, and what they held before is not"
                " stored: texts about these changes are missing here"
            )

    def _conversations(self, rule: TextRule, portion: Sequence[RecordWithHistory]) -> Mapping[str, ConversationFacts]:
        """Read the conversations as they are now, if the rule asks about them. What they were is not known."""
        if not asks_first(rule.options):
            return {}
        with reading(self.runtime.engine) as db:
            return load_conversations(db, {record.phone for record in portion if record.phone}, self.result.until)

    def _span(self, connection: str, rule: TextRule) -> Span | None:
        """Return what to look at, and note from when on the history is stored."""
        s = connection_state.c
        with reading(self.runtime.engine) as db:
            state = db.execute(select(s.baseline_at, s.shape).where(s.connection == connection)).one_or_none()
            first_change = first_change_at(db, connection)
        if state is None or state.baseline_at is None:
            self.result.notes.append(f"{connection} was never read completely, so it has no history; run `vtsync sync`")
            return None
        kinds = Shape.load(state.shape).kinds
        new_since = max(state.baseline_at, kinds.get(rule.options.record, state.baseline_at))
        if new_since > self.result.since and not rule.planned_by_date:
            self.result.notes.append(
                f"the records of {connection} are known since {new_since:%Y-%m-%d}; what was there before is not new"
            )
        if not rule.planned_by_date and rule.options.on != "created":
            begins = "no change is stored yet" if first_change is None else f"stored since {first_change:%Y-%m-%d}"
            self.result.notes.append(f"changes of the records of {connection}: {begins}")
        return Span(self.result.since, self.result.until, new_since)

    def in_order(self, rules: Mapping[str, TextRule]) -> list[_Text]:
        """Return the texts that the outbox would have: each key once, and not again sooner than the rule allows."""
        self.result.notes += self.unreadable.notes()
        self.result.notes.append(
            "numbers, names, opt-outs and what records say about consent are those of today, as is the configuration"
        )
        self.texts.sort(key=lambda text: text.firing.at)
        keys: dict[str, tuple[str, str]] = {}
        last: dict[tuple[str, str], datetime] = {}
        kept = []
        for text in self.texts:
            intent, at = text.firing.intent, text.firing.at
            record = intent.connection, intent.external_id
            if intent.occurrence == "created" and keys.get(text.key, record) != record:
                # As ``for_each_record`` does with the texts of a sync.
                intent = replace(intent, occurrence=ANOTHER_RECORD)
                text = replace(text, firing=replace(text.firing, intent=intent), key=intent_key(intent))
            if text.key in keys or not may_text_again(rules[intent.connection].again, last.get(record), at):
                continue
            keys[text.key] = record
            last[record] = at
            kept.append(text)
        return kept


class _Batches:
    """Finds the sync in which something was stored."""

    def __init__(self, runtime: Runtime, connection: str) -> None:
        r = sync_run.c
        runs = select(r.started_at, r.batch_id).where(r.connection == connection).order_by(r.started_at)
        with reading(runtime.engine) as db:
            found = db.execute(runs).all()
        self._starts = [run.started_at for run in found]
        self._names = [f"{connection}:{run.batch_id}" for run in found]

    def of(self, at: datetime) -> str:
        number = bisect_right(self._starts, at)
        return self._names[number - 1] if number else f"{at.isoformat()}"


def _replay(runtime: Runtime, settings: Settings, result: Backtest, texts: Sequence[_Text], *, planned: bool) -> None:
    """Take the texts through the policy in the order of time, between the texts that were really sent."""
    load = TriggerLoad()
    for text in texts:
        if not text.firing.intent.problem:
            batch = text.firing.at.isoformat() if planned else text.batch
            load.add(result.trigger, batch, text.firing.intent.phone, text.firing.at)
    replay = PolicyReplay()
    days: dict[date, BacktestDay] = {}
    waiting: dict[str, _Text] = {}
    sent_before = SentTexts(runtime, result.since, result.trigger)
    people = set()

    def note(ended: Iterable[tuple[ReplayedText, Fate]]) -> None:
        for replayed, fate in ended:
            text = waiting.pop(replayed.id)
            _count(result, days, text, fate, replayed.facts)

    opted: dict[str, OptedOut] = {}
    gaps: dict[str, str] = {}
    for number, text in enumerate(texts):
        if number % OPT_OUTS_AT_ONCE == 0:
            with reading(runtime.engine) as db:
                phones = {one.firing.intent.phone for one in texts[number : number + OPT_OUTS_AT_ONCE]}
                opted, gaps = opted_out(db, phones), _consent_gaps(db, settings, phones)
        intent, at = text.firing.intent, text.firing.at
        if gaps.get(intent.phone):
            text = _missing_consent(text, gaps[intent.phone])
        people.add(intent.phone)
        days.setdefault(at.date(), BacktestDay(at.date())).made += 1
        for replayed, when in sent_before.until(at):
            note(replay.until(when))
            replay.note_sent(replayed, when)
        note(replay.until(at))
        if intent.problem:
            _count(result, days, text, Fate("template", at, intent.problem), None)
            continue
        replayed = _replayed(settings, text, opted.get(intent.phone), load, result.trigger, planned=planned)
        waiting[replayed.id] = text
        replay.add(replayed)
    for replayed, when in sent_before.until(result.until):
        note(replay.until(when))
        replay.note_sent(replayed, when)
    note(replay.until(None))
    result.made, result.people = len(texts), len(people)
    result.days = [days[day] for day in sorted(days)]


def _consent_gaps(db: Connection, settings: Settings, phones: Collection[str]) -> dict[str, str]:
    """Return why no consent of these numbers is on record today, where the policy asks for one."""
    if settings.policy.consent != "required":
        return {}
    given, people = given_consents(db, phones, utcnow()), recipients_of(db, settings, phones)
    return {phone: gap_of(settings, phone, people[phone], None, given=phone in given) for phone in phones}


def _missing_consent(text: _Text, gap: str) -> _Text:
    return replace(text, firing=replace(text.firing, intent=replace(text.firing.intent, consent_missing=gap)))


def _replayed(
    settings: Settings, text: _Text, opted: OptedOut | None, load: TriggerLoad, trigger: str, *, planned: bool
) -> ReplayedText:
    intent, at = text.firing.intent, text.firing.at
    account = settings.connections[intent.connection].account
    due_at = (intent.called_for_at or at) + (intent.delay or timedelta(0))
    policy = policy_for(settings, account=account, connection=intent.connection, trigger=intent.trigger)
    expires_at = due_at + (intent.expires_after or policy.expires_after)
    person = Recipient((), "", (text.firing.place,))
    batch = at.isoformat() if planned else text.batch
    refused = {} if opted is None or opted.since > due_at else {intent.phone: opted}
    facts = first_facts(intent, refused, expires_at, settings.accounts[account].from_number, policy)
    return ReplayedText(
        id=text.key,
        account=account,
        to_number=intent.phone,
        content=hash((intent.text, media_json(intent.media))),
        due_at=due_at,
        facts=replace(
            load.guarded(facts, trigger, batch, at, planned=planned),
            urgent=intent.urgent,
            quiet_hours=quiet_hours_for(settings, account, intent.phone, person, policy),
        ),
    )


def _count(
    result: Backtest, days: Mapping[date, BacktestDay], text: _Text, fate: Fate, facts: PolicyFacts | None
) -> None:
    intent = text.firing.intent
    days[text.firing.at.date()].outcomes[fate.code] += 1
    result.outcomes[fate.code] += 1
    result.held.update(set(fate.held))
    if fate.code != SENT:
        result.reasons.setdefault(fate.code, fate.reason)
    elif facts is not None:
        zones = facts.quiet_hours.locations.zones if facts.quiet_hours else ()
        result.hours[fate.at.astimezone(zone_info(zones[0] if zones else "UTC")).hour] += 1
    if len(result.examples) < EXAMPLES:
        result.examples.append(
            BacktestExample(
                *(text.firing.at, intent.connection, intent.external_id, intent.phone, intent.text),
                *(fate.code, fate.at, fate.held, fate.reason),
            )
        )
