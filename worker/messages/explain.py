"""Gathers everything that is known about one phone number: why this person did, or did not, get each text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select

from config.models import Settings
from worker.core.states import PauseKind, PushState
from worker.messages.consents import consents_known_to, decided_at, opt_out_times
from worker.messages.opt_outs import opted_out, reviews_of
from worker.messages.people import recipient_of
from worker.messages.policy_facts import texts_since
from worker.messages.read_models import MessageDetails, ReceivedReply, read_details, read_replies
from worker.messages.standing import AccountStanding, account_standing
from worker.messages.unread_records import UnreadRecord, unread_of
from worker.policy.consent import ConsentStatement, consent_at
from worker.policy.decide import CAP_WINDOW, OptedOut
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.pauses import all_pauses
from worker.store.sql import any_of
from worker.store.tables import (
    contact,
    contact_event,
    contact_mapping,
    date_plan,
    message,
    number_review,
    opt_out_event,
    rejected_record,
    review_event,
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
    """False: a text was about this record, but the record has another number now."""


@dataclass(frozen=True, slots=True)
class ContactHistory:
    """The number as a contact of one account, with its CRM records and its events (time, kind, detail)."""

    account: str
    full_name: str
    email: str
    virtualtext_id: str | None
    push_state: PushState
    pushed_at: datetime | None
    next_attempt_at: datetime | None
    """When it is tried again. None: it is synced, or a look-up, a change or a person must come first."""
    last_error: str
    records: tuple[RecordHistory, ...]
    events: tuple[tuple[datetime, str, str], ...]


@dataclass(frozen=True, slots=True)
class ExplainedRejection:
    """A CRM record that cannot be used as it is now."""

    connection: str
    key: str
    reason: str
    where: str
    since: datetime


@dataclass(frozen=True, slots=True)
class UpcomingText:
    """A text about a date of a CRM record. Its trigger makes it at ``at`` unless the record changes."""

    trigger: str
    connection: str
    external_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class OptOutChange:
    """One change of the number's opt-out. ``opted_out`` is False where it opted in again."""

    at: datetime
    opted_out: bool
    source: str
    detail: str
    actor: str


@dataclass(frozen=True, slots=True)
class ReviewChange:
    """The beginning (``opened``) or the end of a review: what the person wrote, or why it ended."""

    at: datetime
    opened: bool
    detail: str
    actor: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one number. Empty parts mean that nothing is known."""

    phone: str
    opted_out: OptedOut | None
    contacts: tuple[ContactHistory, ...]
    other_records: tuple[RecordHistory, ...]
    """CRM records that texts to this number were about and that have another number, or none, now."""
    rejections: tuple[ExplainedRejection, ...]
    """Records of this number's people that cannot be used as they are now."""
    messages: tuple[MessageDetails, ...]
    planned: tuple[UpcomingText, ...] = ()
    unread: tuple[UnreadRecord, ...] = ()
    """Values of this number's records because of which a trigger does not text about them."""
    opt_out_history: tuple[OptOutChange, ...] = ()
    review_history: tuple[ReviewChange, ...] = ()
    review_since: datetime | None = None
    """When a reply began to wait for a person to read it. The number's texts are held meanwhile."""
    texts_last_24h: int | None = 0
    """From all accounts; None where only some accounts are shown."""
    consents: tuple[ConsentStatement, ...] = ()
    """The ledger: what CRMs, the person and imports said about texts."""
    replies: tuple[ReceivedReply, ...] = ()
    consent_of: Mapping[str, str] = field(default_factory=dict)
    """The consent that was on record for each message when it was decided; "" where there was none. By its id."""
    paused: tuple[tuple[str, str], ...] = ()
    """What is paused of what concerns the number, such as ``trigger welcome``; and since when, by whom and why."""
    standings: tuple[AccountStanding, ...] = ()
    """For each account that has the number as a contact or texted it; for all accounts when none has."""

    @property
    def known(self) -> bool:
        """True if anything is known about the number."""
        return bool(
            self.contacts
            or self.messages
            or self.opted_out
            or self.rejections
            or self.opt_out_history
            or self.review_history
            or self.review_since
            or self.consents
            or self.replies
        )


def explain(runtime: Runtime, phone: str, accounts: Collection[str] = ()) -> Explanation:
    """Return what is known about ``phone`` (E.164), oldest first everywhere.

    ``accounts``: only what became known through these; empty: everything. What is about all accounts (the proofs of
    opt-outs and reviews, the count of a day, what the policy would decide) is left out then, because it may quote
    another account's conversation.
    """
    now, settings = utcnow(), runtime.settings
    with reading(runtime.engine) as connection:
        messages = read_details(connection, settings, message.c.to_number == phone, *_of(accounts, message.c.account))
        contacts = contact_histories(connection, phone, accounts)
        own = {(record.connection, record.external_id) for one in contacts for record in one.records}
        about = {one.about for one in messages if one.about is not None}
        person = recipient_of(connection, settings, phone)
        texting = {one.account for one in contacts} | {one.account for one in messages}
        of_crms = {name for name, one in settings.connections.items() if not accounts or one.account in accounts}
        consents = consents_known_to(connection, settings, phone, accounts)
        about_others = {one for one in about - own if not accounts or one[0] in of_crms}
        out = opted_out(connection, [phone]).get(phone)
        outs = opt_out_times(connection, [phone]).get(phone, [])
        mine = [reviews_of(accounts)] if accounts else []
        review = select(number_review.c.since).where(number_review.c.phone == phone, *mine)
        return Explanation(
            phone=phone,
            opted_out=out if out is None or not accounts or out.account in accounts else OptedOut(out.since, ""),
            contacts=contacts,
            other_records=_other_records(connection, about_others),
            rejections=_record_rejections(connection, own | (about & about_others)),
            messages=messages,
            planned=_upcoming_texts(connection, list(settings.triggers), own),
            unread=tuple(unread_of(connection, settings, own)),
            opt_out_history=() if accounts else _opt_out_history(connection, phone),
            review_history=() if accounts else _review_history(connection, phone),
            review_since=connection.execute(review).scalar_one_or_none(),
            texts_last_24h=None if accounts else texts_since(connection, phone, now - CAP_WINDOW),
            consents=consents,
            replies=read_replies(connection, phone, accounts),
            consent_of={one.id: _consent_of(one, consents, outs) for one in messages},
            paused=_paused(connection, settings, own | about_others, messages),
            standings=tuple(
                account_standing(connection, settings, account, phone, person, now)
                for account in settings.accounts
                if not accounts and (account in texting or not texting)
            ),
        )


def _paused(
    connection: Connection,
    settings: Settings,
    records: set[tuple[str, str]],
    messages: tuple[MessageDetails, ...],
) -> tuple[tuple[str, str], ...]:
    """Return what is paused of the connections of these records, and of the triggers that watch them or made a text."""
    connections = {name for name, _ in records}
    watching = {name for name, one in settings.triggers.items() if connections.intersection(one.connections)}
    concerned = {
        PauseKind.CONNECTION: connections,
        PauseKind.TRIGGER: watching | {one.trigger for one in messages if one.trigger},
    }
    return tuple(
        (f"{kind} {name}", str(pause))
        for kind, names in concerned.items()
        for name, pause in all_pauses(connection, kind).items()
        if name in names
    )


def _consent_of(one: MessageDetails, consents: tuple[ConsentStatement, ...], opt_outs: list[datetime]) -> str:
    """Return the consent that was on record when the policy decided last about a text."""
    at = decided_at([(step.at, step.after) for step in one.steps], one.created_at)
    found = consent_at(consents, opt_outs, at)
    return "" if found is None else str(found)


def _of(accounts: Collection[str], column: ColumnElement[str]) -> list[ColumnElement[bool]]:
    return [column.in_(accounts)] if accounts else []


def contact_histories(connection: Connection, phone: str, accounts: Collection[str] = ()) -> tuple[ContactHistory, ...]:
    """Return the contacts with this number, oldest first. ``accounts``: only of these; empty: of all."""
    mine = (contact.c.phone == phone, *_of(accounts, contact.c.account))
    rows = connection.execute(select(contact).where(*mine).order_by(contact.c.id)).all()
    return tuple(_contact_history(connection, row) for row in rows)


def _contact_history(connection: Connection, row: Row[Any]) -> ContactHistory:
    mappings = connection.execute(
        select(contact_mapping).where(contact_mapping.c.contact_id == row.id).order_by(contact_mapping.c.id)
    ).all()
    events = connection.execute(
        select(contact_event).where(contact_event.c.contact_id == row.id).order_by(contact_event.c.id)
    ).all()
    return ContactHistory(
        account=row.account,
        full_name=row.full_name,
        email=row.email,
        virtualtext_id=row.virtualtext_id,
        push_state=PushState(row.push_state),
        pushed_at=row.pushed_at,
        next_attempt_at=row.next_attempt_at if row.push_state == PushState.DUE else None,
        last_error=row.last_error,
        records=tuple(_record(one, belongs=True) for one in mappings),
        events=tuple((one.at, one.kind, one.detail) for one in events),
    )


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


def _other_records(connection: Connection, records: set[tuple[str, str]]) -> tuple[RecordHistory, ...]:
    m = contact_mapping.c
    found: list[RecordHistory] = []
    for name, external_id in sorted(records):
        rows = connection.execute(select(contact_mapping).where(m.connection == name, m.external_id == external_id))
        found += [_record(row, belongs=False) for row in rows]
    return tuple(found)


def _record_rejections(connection: Connection, records: set[tuple[str, str]]) -> tuple[ExplainedRejection, ...]:
    found = []
    for name, external_id in sorted(records):
        rows = connection.execute(
            select(rejected_record).where(rejected_record.c.connection == name, rejected_record.c.key == external_id)
        )
        found += [ExplainedRejection(row.connection, row.key, row.reason, row.where, row.since) for row in rows]
    return tuple(sorted(found, key=lambda one: one.since))


def _upcoming_texts(
    connection: Connection, triggers: list[str], records: set[tuple[str, str]]
) -> tuple[UpcomingText, ...]:
    p = date_plan.c
    found = []
    for name, external_id in sorted(records):
        plans = select(p.trigger, p.connection, p.external_id, p.due_at).where(
            # The triggers are named because the index over plans begins with the trigger.
            any_of(connection, p.trigger, triggers),
            p.connection == name,
            p.external_id == external_id,
            p.due_at.is_not(None),
        )
        found += [UpcomingText(*row) for row in connection.execute(plans)]
    return tuple(sorted(found, key=lambda one: (one.at, one.trigger)))


def _opt_out_history(connection: Connection, phone: str) -> tuple[OptOutChange, ...]:
    e = opt_out_event.c
    rows = connection.execute(select(opt_out_event).where(e.phone == phone).order_by(e.id))
    return tuple(OptOutChange(row.at, row.opted_out, row.source, row.detail, row.actor) for row in rows)


def _review_history(connection: Connection, phone: str) -> tuple[ReviewChange, ...]:
    e = review_event.c
    rows = connection.execute(select(review_event).where(e.phone == phone).order_by(e.id))
    return tuple(ReviewChange(row.at, row.opened, row.detail, row.actor) for row in rows)
