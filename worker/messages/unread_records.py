"""Which records have a value that a trigger cannot read, so that it does not text about them.

A date that cannot be read is a plan that is never due (``worker.messages.date_plans``). A value that a condition cannot
compare is marked in the same table, in the transaction of the page in which the record changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, and_, delete, func, select

from config.models import Settings
from worker.messages.date_plans import UNREAD, records_and_contacts
from worker.store.sql import any_of, by_column, insert_many
from worker.store.tables import contact_mapping, date_plan
from worker.triggers.evaluate import unread_only_if
from worker.triggers.kinds import RecordEvent
from worker.triggers.rules import TextRule, compile_rules
from worker.triggers.unread import LISTED, UnreadValue


@dataclass(frozen=True, slots=True)
class UnreadRecord:
    """A record of which a trigger cannot read a value. ``reason`` says which, and what to do."""

    connection: str
    external_id: str
    trigger: str
    field: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class UnreadGroup:
    """How many records of a connection a trigger cannot read. ``first`` are the ids of some."""

    trigger: str
    connection: str
    records: int
    first: Sequence[str]


def mark_unread(
    db: Connection, connection: str, triggers: Collection[str], records: Collection[str], unread: Mapping[str, set[str]]
) -> None:
    """Store which of these records the triggers, none of which is planned by date, cannot read: ids by trigger."""
    if not triggers or not records:
        return
    p = date_plan.c
    db.execute(
        delete(date_plan).where(
            any_of(db, p.trigger, list(triggers)), p.connection == connection, any_of(db, p.external_id, list(records))
        )
    )
    rows = [
        {"trigger": trigger, "connection": connection, "external_id": external_id, "occurrence": UNREAD, "due_at": None}
        for trigger, ids in unread.items()
        for external_id in sorted(ids)
    ]
    if rows:
        keys = ["trigger", "connection", "external_id"]
        insert_many(db, date_plan, by_column(rows), unique=keys, update=["occurrence", "due_at"])


def forget_unread(db: Connection, connection: str, triggers: Collection[str]) -> None:
    """Delete the marks of triggers that watch something else now, or nothing."""
    p = date_plan.c
    if triggers:
        db.execute(
            delete(date_plan).where(
                any_of(db, p.trigger, list(triggers)), p.connection == connection, p.occurrence == UNREAD
            )
        )


def unread_groups(db: Connection, settings: Settings) -> list[UnreadGroup]:
    """Count the records that enabled triggers cannot read."""
    p = date_plan.c
    marked = (p.occurrence == UNREAD, p.due_at.is_(None))
    counts = db.execute(
        select(p.trigger, p.connection, func.count().label("records"))
        .where(*marked)
        .group_by(p.trigger, p.connection)
        .order_by(p.trigger, p.connection)
    ).all()
    return [
        UnreadGroup(row.trigger, row.connection, row.records, _ids(db, row, marked))
        for row in counts
        if (trigger := settings.triggers.get(row.trigger)) is not None
        and trigger.enabled
        and row.connection in trigger.connections
    ]


def _ids(db: Connection, group: Row[Any], marked: Sequence[Any]) -> Sequence[str]:
    p = date_plan.c
    of_group = (p.trigger == group.trigger, p.connection == group.connection)
    return db.scalars(select(p.external_id).where(*marked, *of_group).order_by(p.id).limit(LISTED)).all()


def unread_records(
    db: Connection, settings: Settings, limit: int, *, connection: str | None = None
) -> list[UnreadRecord]:
    """List the records that enabled triggers cannot read, with the values. ``connection``: only those of this one."""
    p, m = date_plan.c, contact_mapping.c
    marked = and_(p.connection == m.connection, p.external_id == m.external_id, p.occurrence == UNREAD)
    of_one = [] if connection is None else [p.connection == connection]
    rules = _rules(settings)
    # Marks of a trigger that was disabled stay until the next sync. They must not take the place of the others.
    enabled = any_of(db, p.trigger, sorted({trigger for _, trigger in rules}))
    rows = db.execute(
        records_and_contacts()
        .add_columns(p.trigger)
        .join(date_plan, marked)
        .where(p.due_at.is_(None), m.deleted_at.is_(None), enabled, *of_one)
        .order_by(p.trigger, p.connection, p.id)
        .limit(limit)
    ).all()
    found = []
    for row in rows:
        rule = rules.get((row.connection, row.trigger))
        event = _event(row, settings)
        value = None if rule is None else rule.kind.unread(event.new, event.contact, event.region)
        if value is not None:
            found.append(_named(row, row.trigger, value))
    return found


def unread_of(db: Connection, settings: Settings, records: Collection[tuple[str, str]]) -> list[UnreadRecord]:
    """Return what enabled triggers cannot read of these records, as they are now."""
    m, rules = contact_mapping.c, _rules(settings)
    found = []
    for connection, external_id in sorted(records):
        of_record = (m.connection == connection, m.external_id == external_id, m.deleted_at.is_(None))
        for row in db.execute(records_and_contacts().where(*of_record)):
            event = _event(row, settings) if connection in settings.connections else None
            for (name, trigger), rule in rules.items():
                if event is not None and name == connection and rule.watches(connection, row.kind):
                    found += [_named(row, trigger, value) for value in _values(rule, event)]
    return found


def _values(rule: TextRule, event: RecordEvent) -> Iterator[UnreadValue]:
    for value in (rule.kind.unread(event.new, event.contact, event.region), unread_only_if(rule, event)):
        if value is not None:
            yield value


def _rules(settings: Settings) -> dict[tuple[str, str], TextRule]:
    compiled = compile_rules(settings)
    return {(connection, rule.name): rule for connection, rules in compiled.items() for rule in rules}


def _event(row: Row[Any], settings: Settings) -> RecordEvent:
    configured = settings.connections.get(row.connection)
    return RecordEvent(
        connection=row.connection,
        external_id=row.external_id,
        contact_id=row.contact_id,
        phone=row.phone or "",
        full_name=row.full_name,
        email=row.email,
        old=None,
        new=orjson.loads(row.properties),
        revision=row.revision,
        kind=row.kind,
        region=None if configured is None else configured.default_region,
    )


def _named(row: Row[Any], trigger: str, value: UnreadValue) -> UnreadRecord:
    return UnreadRecord(
        row.connection, row.external_id, trigger, value.field, value.shown, f"it {value.fault()}. {value.remedy}"
    )
