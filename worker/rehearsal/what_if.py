"""What changed settings of the policy would have decided about the texts of the last days. It changes nothing.

Both policies, the present one and the changed one, are replayed over the same texts. So a difference comes from the
settings alone, and not from what the store does not know any more.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Row, func, select

from config.models import Settings
from config.policy import Policy
from worker.core.progress import Progress, untold
from worker.core.states import MessageKind, MessageState
from worker.messages.consents import gap_of, given_consents
from worker.messages.opt_outs import opted_out
from worker.messages.people import Recipient, recipients_of
from worker.messages.policy_facts import country_problem_of, policy_of, quiet_hours_for
from worker.messages.transitions import reason_code
from worker.messages.trigger_history import EARLIER_DAYS
from worker.policy.decide import OptedOut, PolicyFacts
from worker.rehearsal.guards import TriggerLoad
from worker.rehearsal.replay import SENT, Fate, PolicyReplay, ReplayedText
from worker.rehearsal.sent import content_of
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.ids import first_id_at
from worker.store.models import utcnow
from worker.store.sql import any_of
from worker.store.tables import message, message_event
from worker.triggers.evaluate import UNWANTED

PORTION = 2000
EXAMPLES = 10
SAME_TIME = timedelta(minutes=1)
BEYOND_THE_POLICY = frozenset(("template", "record_deleted", "phone_changed", "own_number", "trigger_off", *UNWANTED))
"""Codes of texts that ended for another reason than the settings of the policy: they are left out."""


class InvalidSetting(ValueError):
    """A setting of the policy that does not exist, or cannot have this value."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A text that the changed policy decides about in another way. Outcomes: ``sent``, or the code that stops it."""

    message_id: str
    to_number: str
    trigger: str | None
    created_at: datetime
    now: str
    now_at: datetime
    then: str
    then_at: datetime
    reason: str


@dataclass
class WhatIf:
    """The result. ``now`` and ``then``: texts by outcome, with the present and the changed policy.

    ``different``: texts by ``outcome now -> outcome then``. ``sooner`` and ``later``: sent by both, at another time.
    """

    since: datetime
    until: datetime
    changed: dict[str, tuple[str, str]]
    texts: int = 0
    now: Counter[str] = field(default_factory=Counter)
    then: Counter[str] = field(default_factory=Counter)
    different: Counter[str] = field(default_factory=Counter)
    sooner: int = 0
    later: int = 0
    left_out: int = 0
    """Texts that ended for a reason that has nothing to do with the policy's settings."""
    examples: list[Difference] = field(default_factory=list)


def changed_policy(policy: Policy, changes: Sequence[str]) -> Policy:
    """Return the policy with changes such as ``max_per_contact=2``, ``text_until=18:00``. Raises InvalidSetting."""
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        name = name.strip().removeprefix("policy.")
        if not equals or name not in Policy.model_fields:
            raise InvalidSetting(
                f'"{change}" is no setting of the policy; write NAME=VALUE, with one of:'
                f" {', '.join(Policy.model_fields)}"
            )
        values[name] = _value(text.strip())
    kept = {name: getattr(policy, name) for name in Policy.model_fields if name not in values}
    try:
        checked = Policy.model_validate(values)
    except ValidationError as error:
        problems = [f"{one['loc'][0]}: {one['msg']}" for one in error.errors(include_url=False)]
        raise InvalidSetting("; ".join(problems)) from None
    return checked.model_copy(update=kept)


def _value(text: str) -> Any:
    """Read a value as TOML, and what is no TOML, such as ``18:00`` or ``2h``, as a text. ``none``: not set."""
    if text.casefold() in ("none", "null"):
        return None
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, int | float | str | list | bool) else text


def what_if(
    runtime: Runtime, policy: Policy, days: int, *, to: str | None = None, progress: Progress = untold
) -> WhatIf:
    """Compare the present policy with another one over the texts of the last ``days``; only those ``to`` a number."""
    now, settings = utcnow(), runtime.settings
    changed = {
        name: (str(getattr(settings.policy, name)), str(getattr(policy, name)))
        for name in Policy.model_fields
        if getattr(settings.policy, name) != getattr(policy, name)
    }
    result = WhatIf(now - timedelta(days=days), now, changed)
    _Comparison(runtime, result, settings.model_copy(update={"policy": policy}), to).run(progress)
    return result


@dataclass
class _Side:
    """One of the two policies, with its replay and the outcomes that the other one has not reached yet."""

    settings: Settings
    replay: PolicyReplay = field(init=False)
    ended: dict[str, Fate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.replay = PolicyReplay()


@dataclass(frozen=True, slots=True)
class _Person:
    """What is known today about the receiver of a text. ``consented``: a consent is on record."""

    recipient: Recipient
    opted_out: OptedOut | None
    consented: bool


@dataclass
class _Comparison:
    runtime: Runtime
    result: WhatIf
    changed: Settings
    to: str | None

    def __post_init__(self) -> None:
        self.sides = (_Side(self.runtime.settings), _Side(self.changed))
        self.open: dict[str, tuple[str, str | None, datetime]] = {}

    def run(self, progress: Progress) -> None:
        """Replay everything, portion by portion."""
        load, read, total = self._load(), 0, self._total()
        for rows in self._portions():
            with reading(self.runtime.engine) as db:
                phones = {row.to_number for row in rows}
                people, refused = recipients_of(db, self.runtime.settings, phones), opted_out(db, phones)
                delayed = _delayed(db, [row.id for row in rows])
                asks = any(side.settings.policy.consent == "required" for side in self.sides)
                given = given_consents(db, phones, utcnow()) if asks else {}
            for row in rows:
                person = _Person(people[row.to_number], refused.get(row.to_number), row.to_number in given)
                self._add(row, person, load, was_held=row.id in delayed)
            read += len(rows)
            progress(read, total)
        self._advance(None)

    def _add(self, row: Row[Any], person: _Person, load: TriggerLoad, *, was_held: bool) -> None:
        if row.state == MessageState.CANCELLED or reason_code(row.reason) in BEYOND_THE_POLICY:
            self.result.left_out += 1
            return
        self._advance(row.created_at)
        self.result.texts += 1
        self.open[row.id] = row.to_number, row.trigger, row.created_at
        # A text that was held has the end of that wait as its time; when it was first due is not stored any more.
        due_at = row.created_at if was_held else max(row.created_at, row.due_at)
        for side in self.sides:
            side.replay.add(self._text(row, side.settings, person, load, due_at))

    def _advance(self, moment: datetime | None) -> None:
        now, then = self.sides
        for side, other in ((now, then), (then, now)):
            for text, fate in side.replay.until(moment):
                if text.id not in other.ended:
                    side.ended[text.id] = fate
                    continue
                fates = fate, other.ended.pop(text.id)
                self._compare(text.id, *(fates if side is now else reversed(fates)))

    def _compare(self, message_id: str, now: Fate, then: Fate) -> None:
        to_number, trigger, created_at = self.open.pop(message_id)
        result = self.result
        result.now[now.code] += 1
        result.then[then.code] += 1
        moved = now.code == then.code == SENT and abs(now.at - then.at) > SAME_TIME
        if now.code == then.code and not moved:
            return
        if moved:
            result.sooner += then.at < now.at
            result.later += then.at > now.at
        else:
            result.different[f"{now.code} -> {then.code}"] += 1
        if len(result.examples) < EXAMPLES:
            result.examples.append(
                Difference(
                    *(message_id, to_number, trigger, created_at, now.code, now.at, then.code, then.at),
                    then.reason or now.reason,
                )
            )

    def _text(
        self, row: Row[Any], settings: Settings, known: _Person, load: TriggerLoad, due_at: datetime
    ) -> ReplayedText:
        person, refused = known.recipient, known.opted_out
        about = None if row.connection is None else (row.connection, row.external_id)
        columns = row._asdict()
        policy = policy_of(settings, columns)
        facts = PolicyFacts(
            kind=MessageKind.SEND,
            expires_at=_expiry(row, due_at, policy_of(self.runtime.settings, columns), policy),
            opted_out=None if refused is None or refused.since > due_at else refused,
            to_number=row.to_number,
            approved=row.approved_at is not None,
            urgent=row.urgent,
            do_not_text=person.do_not_text,
            no_consent=person.no_consent(settings, about),
            permission_unknown=person.permission_unknown(settings, about),
            consent_missing=gap_of(settings, row.to_number, person, about, given=known.consented),
            country=country_problem_of(settings, row.account, row.to_number, policy),
            quiet_hours=quiet_hours_for(settings, row.account, row.to_number, person, policy),
            policy=policy,
        )
        if row.trigger is not None:
            planned = row.batch_id is None
            facts = load.guarded(facts, row.trigger, _batch(row), row.created_at, planned=planned)
        content = content_of(row.id, row.text, row.media)
        return ReplayedText(row.id, row.account, row.to_number, content, due_at, facts)

    def _portions(self) -> Iterator[Sequence[Row[Any]]]:
        m = message.c
        columns = (
            *(m.id, m.account, m.to_number, m.text, m.media, m.created_at, m.due_at, m.expires_at, m.urgent),
            *(m.trigger, m.connection, m.external_id, m.batch_id, m.approved_at, m.state, m.reason),
        )
        return self._read(columns, self.result.since, self._only())

    def _only(self) -> Sequence[ColumnElement[bool]]:
        return () if self.to is None else (message.c.to_number == self.to,)

    def _total(self) -> int:
        """Count the texts of ``_portions``."""
        since = message.c.id > first_id_at(self.result.since)
        with reading(self.runtime.engine) as db:
            return db.scalar(select(func.count()).where(since, *self._mine(), *self._only())) or 0

    def _load(self) -> TriggerLoad:
        """Count the texts of triggers, from four weeks earlier on: the guards compare with these days."""
        m, load = message.c, TriggerLoad()
        columns = (m.id, m.trigger, m.batch_id, m.to_number, m.created_at)
        since = self.result.since - timedelta(days=EARLIER_DAYS)
        of_triggers = (func.coalesce(m.trigger, "") != "", m.state != MessageState.SUPPRESSED)
        for rows in self._read(columns, since, of_triggers):
            for row in rows:
                load.add(row.trigger, _batch(row), row.to_number, row.created_at)
        return load

    def _read(self, columns: Sequence[Any], since: datetime, where: Sequence[Any]) -> Iterator[Sequence[Row[Any]]]:
        """Yield the texts in the order of their ids, which is that of time, in portions."""
        m, last = message.c, first_id_at(since)
        mine = (*self._mine(), *where)
        while True:
            with reading(self.runtime.engine) as db:
                rows = db.execute(select(*columns).where(m.id > last, *mine).order_by(m.id).limit(PORTION)).all()
            if not rows:
                return
            yield rows
            last = rows[-1].id

    def _mine(self) -> Sequence[ColumnElement[bool]]:
        m = message.c
        # With coalesce, SQLite reads in the order of ids, instead of sorting the whole index of an account each time.
        accounts = func.coalesce(m.account, "").in_(list(self.runtime.settings.accounts))
        return func.coalesce(m.kind, "") == MessageKind.SEND, m.test.is_(False), accounts


def _expiry(row: Row[Any], due_at: datetime, present: Policy, policy: Policy) -> datetime | None:
    """Return when the text expires. The default of the present policy is recognised by its length."""
    if row.expires_at is None or abs(row.expires_at - due_at - present.expires_after) > SAME_TIME:
        return row.expires_at  # type: ignore[no-any-return]
    return due_at + policy.expires_after


def _batch(row: Row[Any]) -> str:
    """Return the sync of a text; a date trigger's texts that were made at the same time belong together."""
    return str(row.batch_id or row.created_at.isoformat())


def _delayed(db: Any, ids: Sequence[str]) -> set[str]:
    """Return the texts that the policy has held until a known time."""
    e = message_event.c
    held = (e.from_state == MessageState.QUEUED, e.to_state == MessageState.QUEUED)
    return set(db.scalars(select(e.message_id).distinct().where(any_of(db, e.message_id, ids), *held)))


def as_columns(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return counts by outcome, sent texts first, then by size."""
    return sorted(counts.items(), key=lambda one: (one[0] != SENT, -one[1], one[0]))
