"""Finds CRM records that do not show that their person has opted out, although they should have been told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson
from sqlalchemy import Connection, func, select

from config.event_types import EventType
from config.models import Settings
from worker.core.states import DeliveryState, RunState
from worker.deliveries.fan_out import due_delivery
from worker.deliveries.targets import OutgoingEvent, Target, records_of, targets_of
from worker.policy.answers import forbids_texts
from worker.policy.decide import OptedOut
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.sql import any_of, by_column, insert_many
from worker.store.tables import contact, contact_mapping, delivery, sync_run
from worker.triggers.values import property_named


@dataclass(slots=True)
class ToldConnection:
    """What the records of one connection say, as they were read last.

    ``agree``: they say so. ``on_the_way``: a write waits or was made after the last sync. ``missing``: they do not,
    and are written again.
    """

    agree: int = 0
    on_the_way: int = 0
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RecordsReport:
    """``told``: by connection. ``not_told``: records of opted-out people in connections without report_opt_outs."""

    told: dict[str, ToldConnection] = field(default_factory=dict)
    not_told: Counter[str] = field(default_factory=Counter)


def compare_records(
    runtime: Runtime, opt_outs: Sequence[tuple[str, OptedOut]], report: RecordsReport, *, write: bool
) -> None:
    """Compare the records of these numbers, and add to ``report``. ``write``: write the opt-out to the missing ones."""
    settings = runtime.settings
    told = [name for name, one in settings.connections.items() if one.report_opt_outs and one.do_not_text is not None]
    for name in told:
        report.told.setdefault(name, ToldConnection())
    phones = dict(opt_outs)
    with reading(runtime.engine) as connection:
        events = {phone: _event(phone, one) for phone, one in phones.items()}
        records = records_of(connection, settings, phones)
        targets = {
            target: phone
            for phone, event in events.items()
            for target in targets_of(event, settings, records)
            if target.receiver.is_crm and target.receiver.name in told
        }
        says_so = _saying_so(connection, settings, targets)
        written = _written(connection, targets)
        _count_not_told(connection, settings, told, list(phones), report)
    missing: dict[Target, OutgoingEvent] = {}
    for target, phone in targets.items():
        result = report.told[target.receiver.name]
        if target in says_so:
            result.agree += 1
        elif target in written:
            result.on_the_way += 1
        else:
            result.missing.append(target.external_id)
            missing[target] = events[phone]
    if write and missing:
        _write_again(runtime, missing)


def _event(phone: str, one: OptedOut) -> OutgoingEvent:
    data = {"source": one.source, "detail": one.detail}
    return OutgoingEvent(new_message_id(), EventType.CONTACT_OPTED_OUT, utcnow(), one.account, phone, data)


def _saying_so(connection: Connection, settings: Settings, targets: Mapping[Target, str]) -> set[Target]:
    """Return the records whose do-not-text field forbids texts, as it was read last."""
    m = contact_mapping.c
    found = set()
    for name in {target.receiver.name for target in targets}:
        rule = settings.connections[name].do_not_text
        mine = {target.external_id: target for target in targets if target.receiver.name == name}
        rows = select(m.external_id, m.properties).where(
            m.connection == name, any_of(connection, m.external_id, list(mine))
        )
        for row in connection.execute(rows):
            properties = orjson.loads(row.properties)
            key = None if rule is None else property_named(rule.field, properties)
            if rule is not None and key is not None and forbids_texts(properties[key], rule.values):
                found.add(mine[row.external_id])
    return found


def _written(connection: Connection, targets: Mapping[Target, str]) -> set[Target]:
    """Return the records whose write waits, or was made since the last sync began, which may not have read it."""
    d, r = delivery.c, sync_run.c
    synced: dict[str, datetime] = {
        row.connection: row.at
        for row in connection.execute(
            select(r.connection, func.max(r.started_at).label("at"))
            .where(r.state == RunState.DONE)
            .group_by(r.connection)
        )
    }
    by_text = {str(target): target for target in targets}
    rows = connection.execute(
        select(d.target, d.state, d.created_at).where(
            any_of(connection, d.target, list(by_text)), d.type == EventType.CONTACT_OPTED_OUT
        )
    )
    return {
        by_text[row.target]
        for row in rows
        if row.state in (DeliveryState.DUE, DeliveryState.SENDING)
        or (row.state == DeliveryState.DONE and _is_newer(row.created_at, synced, by_text[row.target]))
    }


def _is_newer(written: datetime, synced: Mapping[str, datetime], target: Target) -> bool:
    last = synced.get(target.receiver.name)
    return last is None or written >= last


def _count_not_told(
    connection: Connection, settings: Settings, told: Sequence[str], phones: list[str], report: RecordsReport
) -> None:
    m = contact_mapping.c
    others = [name for name in settings.connections if name not in told]
    rows = connection.execute(
        select(m.connection, func.count())
        .select_from(contact.join(contact_mapping, m.contact_id == contact.c.id))
        .where(
            any_of(connection, contact.c.account, list(settings.accounts)),
            any_of(connection, contact.c.phone, phones),
            any_of(connection, m.connection, others),
            m.deleted_at.is_(None),
            m.person.is_(None),
        )
        .group_by(m.connection)
    )
    report.not_told.update({row[0]: row[1] for row in rows})


def _write_again(runtime: Runtime, missing: Mapping[Target, OutgoingEvent]) -> None:
    now = utcnow()
    rows = [due_delivery(event, target, now) for target, event in missing.items()]
    with writing(runtime.engine) as connection:
        insert_many(connection, delivery, by_column(rows), unique=["event_id", "target"])
