"""Whether what called for a trigger's text is still so, asked again right before it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, select

from config.models import Settings, Trigger
from worker.store.tables import contact, contact_mapping
from worker.triggers.values import property_named


def still_unwanted(connection: Connection, row: Mapping[str, Any], settings: Settings) -> tuple[str, str] | None:
    """Why a trigger's text is not wanted any more, as (code, words); None: it is, or it is no trigger's."""
    name = row.get("trigger")
    if name is None:
        return None
    trigger = settings.triggers.get(name)
    if trigger is None or not trigger.enabled:
        return "trigger_off", f'the trigger "{name}" was switched off before it could be sent'
    if trigger.only_if is None and trigger.on != "date":
        return None
    m = contact_mapping.c
    record = connection.execute(
        select(m.properties, contact.c.phone, contact.c.full_name, contact.c.email)
        .select_from(contact_mapping.outerjoin(contact, contact.c.id == m.contact_id))
        .where(m.connection == row.get("connection"), m.external_id == row.get("external_id"))
    ).one_or_none()
    if record is None:
        return None  # another rule says so
    properties = orjson.loads(record.properties)
    if trigger.on == "date" and not _same_date(trigger, properties, str(row["idempotency_key"])):
        return "moved", f'the field "{trigger.field}" has another date by now; a text for that one is planned by itself'
    person = {"phone": record.phone or "", "full_name": record.full_name or "", "email": record.email or ""}
    if trigger.only_if is not None and not _holds(trigger.only_if, properties, person):
        return "stop_condition", f"its condition does not hold any more: {trigger.only_if}"
    return None


def _holds(condition: str, properties: Mapping[str, Any], person: Mapping[str, str]) -> bool:
    from worker.triggers.conditions import holds  # loads the template engine

    return holds(condition, properties, person)


def _same_date(trigger: Trigger, properties: Mapping[str, Any], key: str) -> bool:
    """Whether the text, whose key ends with its occurrence, is about the date that the record has now."""
    from worker.triggers.dates import DateRule, occurrences_of, parse_when

    name = property_named(trigger.field or "", properties)
    when = parse_when(properties[name]) if name is not None else None
    if when is None:
        return False
    occurrence = occurrences_of(when, DateRule(every_year=trigger.every_year))
    return f":{occurrence}" in key if trigger.every_year else key.endswith(f":{occurrence}")
