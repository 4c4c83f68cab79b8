"""The texts that a rule would have made about one record, by the versions of it that are known. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from config.models import Settings
from worker.contacts.trigger_watch import with_its_record
from worker.messages.date_plans import PlannedRecord, next_due, unread_date
from worker.messages.people import place, zones_of
from worker.policy.locations import RecordPlace
from worker.rehearsal.history import RecordVersion, RecordWithHistory
from worker.triggers.conversation import ConversationFacts
from worker.triggers.evaluate import TextIntent, evaluate, write_text
from worker.triggers.kinds import RecordEvent
from worker.triggers.rules import TextRule
from worker.triggers.unread import Unreadable, UnreadValue


@dataclass(frozen=True, slots=True)
class Firing:
    """A text that a rule would have made at ``at``. ``place``: where its record says that the person is."""

    at: datetime
    intent: TextIntent
    place: RecordPlace


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is looked at. ``new_since``: records that were first seen before then were not new."""

    since: datetime
    until: datetime
    new_since: datetime


def record_event(
    record: RecordWithHistory,
    version: RecordVersion,
    settings: Settings,
    conversation: ConversationFacts | None = None,
) -> RecordEvent:
    """Return a version of a record as the triggers see it. ``conversation``: for rules that ask about it."""
    return RecordEvent(
        connection=record.connection,
        external_id=record.external_id,
        contact_id=record.contact_id,
        phone=record.phone,
        full_name=record.full_name,
        email=record.email,
        old=version.old,
        new=version.properties,
        revision=version.revision,
        kind=record.kind,
        region=settings.connections[record.connection].default_region,
        zones=partial(zones_of, settings, record.connection, record.phone, version.properties),
        conversation=conversation,
    )


def firings_of(
    rule: TextRule,
    record: RecordWithHistory,
    settings: Settings,
    span: Span,
    unreadable: Unreadable,
    conversation: ConversationFacts | None = None,
) -> Iterator[Firing]:
    """Yield the texts that the rule would have made about the record. Values that it cannot read are counted."""
    if not record.phone:
        return
    found = _planned if rule.planned_by_date else _changed
    for at, version, intent in found(rule, record, settings, span, unreadable, conversation):
        where = place(settings, record.connection, version.properties)
        yield Firing(at, with_its_record(settings, intent, version.properties), where)


def _changed(
    rule: TextRule,
    record: RecordWithHistory,
    settings: Settings,
    span: Span,
    unreadable: Unreadable,
    conversation: ConversationFacts | None,
) -> Iterator[tuple[datetime, RecordVersion, TextIntent]]:
    for version in record.versions:
        is_first = version.revision == 1
        if not span.since <= version.at < span.until or (version.old is None and not is_first):
            continue
        if is_first and record.first_seen_at <= span.new_since:
            continue
        unread: list[tuple[str, UnreadValue]] = []
        for intent in evaluate([rule], record_event(record, version, settings, conversation), unread):
            yield version.at, version, intent
        for name, value in unread:
            unreadable.add(name, value, record.external_id)


def _planned(
    rule: TextRule,
    record: RecordWithHistory,
    settings: Settings,
    span: Span,
    unreadable: Unreadable,
    conversation: ConversationFacts | None,
) -> Iterator[tuple[datetime, RecordVersion, TextIntent]]:
    ends = [version.at for version in record.versions[1:]] + [span.until]
    for version, end in zip(record.versions, ends, strict=True):
        # What the first complete sync found was in the CRM before, and its date with it.
        was_there = version.revision == 1 and record.first_seen_at <= span.new_since
        now, end = span.since if was_there else max(version.at, span.since), min(end, span.until)
        planned = PlannedRecord(record.connection, record.external_id, record.phone, version.properties, record.kind)
        if now < end and (unread := unread_date(rule, planned, settings)) is not None:
            unreadable.add(rule.name, unread, record.external_id)
        while now < end and (due := next_due(rule, planned, settings, now)) is not None and due.at < end:
            event = replace(record_event(record, version, settings, conversation), old=None)
            intent = write_text(rule, event, due.occurrence)
            if intent is not None:
                yield due.at, version, replace(intent, called_for_at=due.at)
            now = due.at
