"""Everything that is known about one phone number, in order: why this person got, or did not get, which text."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select

from config.models import Settings
from worker.core.states import MessageKind, MessageState, PushState
from worker.messages.opt_outs import opted_out
from worker.messages.people import Recipient, recipient_of
from worker.messages.policy_facts import fresh_view, quiet_hours, texts_since, where
from worker.policy.decide import CAP_WINDOW, RELEASED_BY, Expire, Go, Hold, OptedOut, Suppress, decide
from worker.policy.locations import zone_info
from worker.policy.quiet_hours import next_open
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.sql import any_of
from worker.store.tables import (
    contact,
    contact_event,
    contact_mapping,
    date_plan,
    message,
    message_event,
    number_review,
    opt_out_event,
    rejected_record,
)


@dataclass(frozen=True, slots=True)
class RecordHistory:
    """A CRM record that belongs to the number now, or that a text to it was about."""

    connection: str
    external_id: str
    full_name: str
    first_seen_at: datetime
    changed_at: datetime
    deleted_at: datetime | None
    merged_into: str | None
    belongs: bool
    """False: a text was about this record, but it has another number by now."""


@dataclass(frozen=True, slots=True)
class ContactHistory:
    """The number as a contact of one account, its CRM records and what happened to it (time, kind, detail)."""

    account: str
    full_name: str
    email: str
    virtualtext_id: str | None
    push_state: PushState
    pushed_at: datetime | None
    last_error: str
    records: tuple[RecordHistory, ...]
    events: tuple[tuple[datetime, str, str], ...]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A CRM record that could not be used."""

    connection: str
    key: str
    reason: str
    where: str
    since: datetime


@dataclass(frozen=True, slots=True)
class PlannedText:
    """A text about a date of a CRM record, which its trigger makes at ``at`` unless something changes."""

    trigger: str
    connection: str
    external_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class MessageStep:
    """One move of a message. ``before`` is None for its creation."""

    at: datetime
    before: MessageState | None
    after: MessageState
    reason: str
    actor: str
    attempt: int


@dataclass(frozen=True, slots=True)
class MessageHistory:
    """One message and all its moves. ``about`` is the CRM record (connection, external id), if there is one."""

    id: str
    account: str
    kind: MessageKind
    state: MessageState
    reason: str
    text: str
    media: tuple[str, ...]
    segments: int
    from_number: str
    source: str
    trigger: str | None
    about: tuple[str, str] | None
    created_at: datetime
    due_at: datetime
    expires_at: datetime | None
    reference_code: str
    steps: tuple[MessageStep, ...]


@dataclass(frozen=True, slots=True)
class OptOutChange:
    """One change of the number's opt-out. ``opted_out`` is False where it opted in again."""

    at: datetime
    opted_out: bool
    source: str
    detail: str
    actor: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the policy makes of the number now when one account texts it.

    ``clocks``: (zone, what its clocks show) for each zone that counts, ``source`` how they are known. ``hours``: when
    texts go, None for at any hour. ``opens_at``: now or later; None with ``hours`` means that it is not known.
    ``obstacles``: why a text about no record is not sent at all. ``verdict``: what becomes of one that is made now.
    """

    account: str
    clocks: tuple[tuple[str, str], ...]
    states: tuple[str, ...]
    source: str
    hours: str | None
    open_now: bool
    opens_at: datetime | None
    obstacles: tuple[str, ...]
    verdict: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """All of it. Empty parts mean that nothing is known."""

    phone: str
    opted_out: OptedOut | None
    contacts: tuple[ContactHistory, ...]
    other_records: tuple[RecordHistory, ...]
    """CRM records that texts to this number were about and that have another number, or none, by now."""
    rejections: tuple[Rejection, ...]
    """Records of this number's people that cannot be used as they are now."""
    messages: tuple[MessageHistory, ...]
    planned: tuple[PlannedText, ...] = ()
    opt_out_history: tuple[OptOutChange, ...] = ()
    review_since: datetime | None = None
    """Since when a person has to read what the number wrote; its texts are held meanwhile."""
    texts_last_24h: int = 0
    max_texts: int | None = None
    standings: tuple[Standing, ...] = ()
    """For each account that has the number as a contact or texted it; for all accounts when none has."""

    @property
    def known(self) -> bool:
        """Whether the number was ever met."""
        return bool(
            self.contacts
            or self.messages
            or self.opted_out
            or self.rejections
            or self.opt_out_history
            or self.review_since
        )


def explain(runtime: Runtime, phone: str) -> Explanation:
    """What is known about ``phone`` (E.164), oldest first everywhere."""
    now, settings = utcnow(), runtime.settings
    with reading(runtime.engine) as connection:
        messages = _messages(connection, phone)
        contacts, own = _contacts(connection, phone)
        about = {(one.about) for one in messages if one.about is not None}
        others = [
            _record(row, belongs=False)
            for name, external_id in sorted(about - own)
            for row in connection.execute(
                select(contact_mapping).where(
                    contact_mapping.c.connection == name, contact_mapping.c.external_id == external_id
                )
            )
        ]
        person = recipient_of(connection, settings, phone)
        accounts = {one.account for one in contacts} | {one.account for one in messages}
        return Explanation(
            phone=phone,
            opted_out=opted_out(connection, [phone]).get(phone),
            contacts=contacts,
            other_records=tuple(others),
            rejections=_rejections(connection, own | about),
            messages=messages,
            planned=_planned(connection, list(settings.triggers), own),
            opt_out_history=_opt_out_history(connection, phone),
            review_since=connection.execute(
                select(number_review.c.since).where(number_review.c.phone == phone)
            ).scalar_one_or_none(),
            texts_last_24h=texts_since(connection, phone, now - CAP_WINDOW),
            max_texts=settings.policy.max_per_contact,
            standings=tuple(
                _standing(connection, settings, account, phone, person, now)
                for account in settings.accounts
                if account in accounts or not accounts
            ),
        )


def _standing(
    connection: Connection, settings: Settings, account: str, phone: str, person: Recipient, now: datetime
) -> Standing:
    quiet = quiet_hours(settings, account, phone, person)
    places = where(settings, account, phone, person) if quiet is None else quiet.places
    opens_at = now if quiet is None else next_open(quiet.places, quiet.rules, now)
    consent = person.no_consent(settings, None)
    return Standing(
        account=account,
        clocks=tuple((zone, f"{now.astimezone(zone_info(zone)):%a %H:%M}") for zone in places.zones),
        states=places.states,
        source=places.source,
        hours=None if quiet is None else str(quiet.rules),
        open_now=opens_at is not None and opens_at <= now,
        opens_at=opens_at,
        obstacles=tuple(
            words
            for words in (
                person.do_not_text and f"{person.do_not_text} says not to text this person",
                consent and f"{consent} does not say that this person may be texted",
            )
            if words
        ),
        verdict=_verdict(connection, settings, account, phone, now),
    )


def _verdict(connection: Connection, settings: Settings, account: str, phone: str, now: datetime) -> str:
    """In words for a person, of a text about no record that nobody has sent before."""
    expires_at = now + settings.policy.expires_after
    row = {"id": new_message_id(), "account": account, "to_number": phone, "text": "", "media": "[]"}
    view = fresh_view(connection, row | {"due_at": now, "expires_at": expires_at}, settings, now)
    match decide(view, now):
        case Go():
            return "a text goes at once"
        case Hold(until=None, code=code, reason=reason):
            return f"a text waits for {RELEASED_BY[code]}: {reason}"
        case Hold(reason=reason):
            return f"a text waits: {reason}"
        case Suppress(reason=reason) | Expire(reason=reason):
            return f"a text is not sent: {reason}"


def _opt_out_history(connection: Connection, phone: str) -> tuple[OptOutChange, ...]:
    rows = connection.execute(select(opt_out_event).where(opt_out_event.c.phone == phone).order_by(opt_out_event.c.id))
    return tuple(OptOutChange(row.at, row.opted_out, row.source, row.detail, row.actor) for row in rows)


def _contacts(connection: Connection, phone: str) -> tuple[tuple[ContactHistory, ...], set[tuple[str, str]]]:
    """The contacts with this number, and which CRM records (connection, external id) they come from."""
    found, own = [], set()
    rows = connection.execute(select(contact).where(contact.c.phone == phone).order_by(contact.c.id)).all()
    for row in rows:
        mappings = connection.execute(
            select(contact_mapping).where(contact_mapping.c.contact_id == row.id).order_by(contact_mapping.c.id)
        ).all()
        events = connection.execute(
            select(contact_event).where(contact_event.c.contact_id == row.id).order_by(contact_event.c.id)
        ).all()
        own |= {(one.connection, one.external_id) for one in mappings}
        found.append(
            ContactHistory(
                account=row.account,
                full_name=row.full_name,
                email=row.email,
                virtualtext_id=row.virtualtext_id,
                push_state=PushState(row.push_state),
                pushed_at=row.pushed_at,
                last_error=row.last_error,
                records=tuple(_record(one, belongs=True) for one in mappings),
                events=tuple((one.at, one.kind, one.detail) for one in events),
            )
        )
    return tuple(found), own


def _record(row: Row[Any], *, belongs: bool) -> RecordHistory:
    return RecordHistory(
        row.connection,
        row.external_id,
        row.full_name,
        row.first_seen_at,
        row.changed_at,
        row.deleted_at,
        row.merged_into,
        belongs,
    )


def _rejections(connection: Connection, records: set[tuple[str, str]]) -> tuple[Rejection, ...]:
    found = []
    for name, external_id in sorted(records):
        rows = connection.execute(
            select(rejected_record).where(rejected_record.c.connection == name, rejected_record.c.key == external_id)
        )
        found += [Rejection(row.connection, row.key, row.reason, row.where, row.since) for row in rows]
    return tuple(sorted(found, key=lambda one: one.since))


def _planned(connection: Connection, triggers: list[str], records: set[tuple[str, str]]) -> tuple[PlannedText, ...]:
    p = date_plan.c
    found = []
    for name, external_id in sorted(records):
        ours = select(p.trigger, p.connection, p.external_id, p.due_at).where(
            # Named, since the index over plans begins with the trigger.
            any_of(connection, p.trigger, triggers),
            p.connection == name,
            p.external_id == external_id,
            p.due_at.is_not(None),
        )
        found += [PlannedText(*row) for row in connection.execute(ours)]
    return tuple(sorted(found, key=lambda one: (one.at, one.trigger)))


def _messages(connection: Connection, phone: str) -> tuple[MessageHistory, ...]:
    rows = connection.execute(select(message).where(message.c.to_number == phone).order_by(message.c.id)).all()
    steps: defaultdict[str, list[MessageStep]] = defaultdict(list)
    events = select(message_event).where(any_of(connection, message_event.c.message_id, [row.id for row in rows]))
    for row in connection.execute(events.order_by(message_event.c.id)):
        before = None if row.from_state is None else MessageState(row.from_state)
        after = MessageState(row.to_state)
        steps[row.message_id].append(MessageStep(row.at, before, after, row.reason, row.actor, row.attempt))
    return tuple(_message(row, tuple(steps[row.id])) for row in rows)


def _message(row: Row[Any], steps: tuple[MessageStep, ...]) -> MessageHistory:
    return MessageHistory(
        id=row.id,
        account=row.account,
        kind=MessageKind(row.kind),
        state=MessageState(row.state),
        reason=row.reason,
        text=row.text,
        media=tuple(orjson.loads(row.media)),
        segments=row.segments,
        from_number=row.from_number,
        source=row.source,
        trigger=row.trigger,
        about=None if row.connection is None or row.external_id is None else (row.connection, row.external_id),
        created_at=row.created_at,
        due_at=row.due_at,
        expires_at=row.expires_at,
        reference_code=row.reference_code,
        steps=steps,
    )
