"""Plans of date triggers: one row per rule and record, updated in the transaction in which the record changes.

One transaction takes a due plan, inserts its text and plans the next occurrence. So two schedulers, or one that is
killed, neither lose nor repeat a text. A date in the past does nothing, whenever it is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection, Row, and_, delete, or_, select, update

from config.models import Settings
from crm_adapters.base import CONTACT
from worker.messages.conversations import load_conversations
from worker.messages.intents import insert_planned
from worker.messages.people import lost_its_phone, own_email, own_name, owner_number, person_is_gone, zones_of
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, writing
from worker.store.sql import by_column, insert_many
from worker.store.tables import contact, contact_mapping, date_plan
from worker.triggers.conversation import ConversationFacts
from worker.triggers.dates import Due
from worker.triggers.evaluate import asks_first, write_text
from worker.triggers.kinds import PlannedByDate, RecordEvent
from worker.triggers.rules import TextRule, compile_rules
from worker.triggers.unread import Unreadable, UnreadValue

PORTION = 200
BACK_FILL = 1000
UNREAD = "?"
"""The occurrence of a plan whose record has a value that cannot be read. It is never due."""

log = structlog.get_logger(__name__)


class _TriggerFailed(Exception):
    """Processing the plans of ``trigger`` raised an unexpected error. Its transaction is rolled back."""

    def __init__(self, trigger: str) -> None:
        super().__init__(trigger)
        self.trigger = trigger


@dataclass(frozen=True, slots=True)
class PlannedRecord:
    """What plans need to know about a record. ``phone`` is "" if it has no contact, or is gone."""

    connection: str
    external_id: str
    phone: str
    properties: Mapping[str, Any]
    kind: str = CONTACT


def next_due(rule: TextRule, record: PlannedRecord, settings: Settings, now: datetime) -> Due | None:
    """Return when the rule is next due for this record; None if it is not due. Pure."""
    if not record.phone or not isinstance(rule.kind, PlannedByDate):
        return None

    zones = partial(zones_of, settings, record.connection, record.phone, record.properties)
    return rule.kind.next_due(record.properties, zones, now, settings.connections[record.connection].default_region)


def unread_date(rule: TextRule, record: PlannedRecord, settings: Settings) -> UnreadValue | None:
    """Return the record's date if it cannot be read, so that nothing can be planned for it; else None. Pure."""
    if not record.phone or not rule.planned_by_date:
        return None
    return rule.kind.unread(record.properties, {}, settings.connections[record.connection].default_region)


def plan_records(
    connection: Connection,
    settings: Settings,
    rules: Sequence[TextRule],
    records: Sequence[PlannedRecord],
    now: datetime,
    unreadable: Unreadable | None = None,
) -> None:
    """Plan these records again, in the caller's transaction. Dates that cannot be read are added to ``unreadable``."""
    rows = []
    for record in records:
        for rule in rules:
            if not rule.watches(record.connection, record.kind):
                continue
            due, unread = next_due(rule, record, settings, now), unread_date(rule, record, settings)
            if unread is not None and unreadable is not None:
                unreadable.add(rule.name, unread, record.external_id)
            rows.append(
                {
                    "trigger": rule.name,
                    "connection": record.connection,
                    "external_id": record.external_id,
                    "occurrence": due.occurrence if due else UNREAD if unread else "",
                    "due_at": due.at if due else None,
                }
            )
    insert_many(
        connection,
        date_plan,
        by_column(rows),
        unique=["trigger", "connection", "external_id"],
        update=["occurrence", "due_at"],
    )


def plan_existing(
    runtime: Runtime, name: str, rules: Sequence[TextRule], now: datetime, unreadable: Unreadable | None = None
) -> None:
    """Plan every live record of a connection, in portions. Running it again changes nothing."""
    m = contact_mapping.c
    last = 0
    if unreadable is not None:
        unreadable.restart([rule.name for rule in rules])
    while rules and not runtime.stop.requested:
        with writing(runtime.engine) as connection:
            rows = connection.execute(
                records_and_contacts()
                .where(m.connection == name, m.deleted_at.is_(None), m.id > last)
                .order_by(m.id)
                .limit(BACK_FILL)
            ).all()
            if not rows:
                return
            last = rows[-1].id
            plan_records(connection, runtime.settings, rules, [_planned(row) for row in rows], now, unreadable)


def fire_due_dates(runtime: Runtime, now: datetime, limit: int = 1000) -> int:
    """Put the texts of due plans into the outbox. Return how many plans were processed.

    A trigger that fails is logged and left for the next call. It does not delay the texts of the others.
    """
    rules = {
        rule.name: rule
        for several in compile_rules(runtime.settings).values()
        for rule in several
        if rule.planned_by_date
    }
    worked, failed = 0, set[str]()
    while worked < limit and not runtime.stop.requested:
        try:
            with writing(runtime.engine) as connection:
                portion = _fire(connection, runtime, rules, now, failed)
        except _TriggerFailed as error:
            log.exception(
                "a date trigger failed and will be tried again; the other triggers continue", trigger=error.trigger
            )
            failed.add(error.trigger)
            continue
        worked += portion
        if portion < PORTION:
            break
    return worked


def _fire(
    connection: Connection, runtime: Runtime, rules: Mapping[str, TextRule], now: datetime, failed: Collection[str]
) -> int:
    p = date_plan.c
    plans = connection.execute(
        select(date_plan)
        .where(p.due_at <= now, p.trigger.not_in(failed))
        .order_by(p.due_at, p.id)
        .limit(PORTION)
        .with_for_update(skip_locked=True)
    ).all()
    records = _records_of(connection, plans)
    for trigger, several in _grouped(plans).items():
        rule = rules.get(trigger)
        if rule is None:  # switched off, or of another kind now: switching it on plans its records again
            connection.execute(delete(date_plan).where(p.id.in_([plan.id for plan in several])))
            continue
        try:
            _fire_rule(connection, runtime, rule, several, records, now)
        except STORE_AWAY:
            raise
        except Exception as error:
            raise _TriggerFailed(trigger) from error
    return len(plans)


def _fire_rule(
    connection: Connection,
    runtime: Runtime,
    rule: TextRule,
    plans: Sequence[Row[Any]],
    records: Mapping[tuple[str, str], Row[Any]],
    now: datetime,
) -> None:
    settings, intents = runtime.settings, []
    talks = _conversations(connection, rule, records.values(), now)
    for plan in plans:
        row = records.get((plan.connection, plan.external_id))
        record = _planned(row) if row is not None else None
        if row is None or record is None or not record.phone or not rule.watches(plan.connection, record.kind):
            connection.execute(delete(date_plan).where(date_plan.c.id == plan.id))
            continue
        event = replace(_event(row, record, settings), conversation=talks.get(record.phone))
        intent = write_text(rule, event, plan.occurrence)
        if intent is not None:
            sender = intent.from_number or owner_number(settings, record.connection, record.properties)
            intents.append(replace(intent, from_number=sender, called_for_at=plan.due_at))
        following = next_due(rule, record, settings, now)
        values = {
            "occurrence": following.occurrence if following else "",
            "due_at": following.at if following else None,
        }
        connection.execute(update(date_plan).where(date_plan.c.id == plan.id).values(**values))
    insert_planned(connection, settings, rule, intents, now)


def _conversations(
    connection: Connection, rule: TextRule, records: Collection[Row[Any]], now: datetime
) -> Mapping[str, ConversationFacts]:
    if not asks_first(rule.options):
        return {}
    return load_conversations(connection, {row.phone for row in records if row.phone}, now)


def _event(row: Row[Any], record: PlannedRecord, settings: Settings) -> RecordEvent:
    return RecordEvent(
        connection=record.connection,
        external_id=record.external_id,
        contact_id=row.contact_id,
        phone=record.phone,
        full_name=row.full_name,
        email=row.email,
        old=None,
        new=record.properties,
        revision=row.revision,
        kind=record.kind,
        region=settings.connections[record.connection].default_region,
        zones=partial(zones_of, settings, record.connection, record.phone, record.properties),
    )


def records_and_contacts() -> Any:
    """Select records with what a trigger knows of their persons."""
    m = contact_mapping.c
    return select(
        m.id, m.connection, m.external_id, m.properties, m.deleted_at, m.revision, m.contact_id, m.kind,
        contact.c.phone, own_name(), own_email(),
        or_(lost_its_phone(), person_is_gone()).label("lost_its_phone"),
    ).select_from(contact_mapping.outerjoin(contact, contact.c.id == m.contact_id))  # fmt: skip


def _records_of(connection: Connection, plans: Sequence[Row[Any]]) -> dict[tuple[str, str], Row[Any]]:
    if not plans:
        return {}
    by_connection: dict[str, list[str]] = defaultdict(list)
    for plan in plans:
        by_connection[plan.connection].append(plan.external_id)
    m = contact_mapping.c
    wanted = or_(*(and_(m.connection == name, m.external_id.in_(ids)) for name, ids in by_connection.items()))
    return {(row.connection, row.external_id): row for row in connection.execute(records_and_contacts().where(wanted))}


def _grouped(plans: Sequence[Row[Any]]) -> dict[str, list[Row[Any]]]:
    grouped: dict[str, list[Row[Any]]] = defaultdict(list)
    for plan in plans:
        grouped[plan.trigger].append(plan)
    return grouped


def _planned(row: Row[Any]) -> PlannedRecord:
    phone = "" if row.deleted_at is not None or row.lost_its_phone else row.phone or ""
    return PlannedRecord(row.connection, row.external_id, phone, orjson.loads(row.properties), row.kind)
