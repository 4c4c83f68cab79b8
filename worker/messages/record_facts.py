"""Check right before a text is sent that its record still calls for it: number, date, condition, conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, bindparam, select

from config.models import Settings
from worker.messages.conversations import conversation_about
from worker.messages.people import lost_its_phone, own_email, own_name, person_is_gone
from worker.store.tables import contact, contact_mapping
from worker.triggers.evaluate import depends_on_record, no_longer_wanted, watches_conversation

_m = contact_mapping.c
_RECORD = (
    select(
        _m.deleted_at,
        _m.properties,
        contact.c.phone,
        own_name(),
        own_email(),
        lost_its_phone().label("lost_its_phone"),
        person_is_gone().label("person_is_gone"),
    )
    .select_from(contact_mapping.outerjoin(contact, contact.c.id == _m.contact_id))
    .where(_m.connection == bindparam("connection"), _m.external_id == bindparam("external_id"))
)


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """What has changed about the CRM record of a text since the text was made. Fields as in ``PolicyFacts``."""

    phone_changed: bool = False
    contact_deleted: bool = False
    unwanted: tuple[str, str] | None = None


def load_record_facts(connection: Connection, row: Mapping[str, Any], settings: Settings, now: datetime) -> RecordFacts:
    """Load the facts for a text (``row``: its columns). A text about no record has nothing that could change."""
    if row.get("connection") is None or row.get("external_id") is None:
        return RecordFacts(unwanted=_trigger_off(row, settings))
    about = {"connection": row["connection"], "external_id": row["external_id"]}
    record = connection.execute(_RECORD, about).one_or_none()
    if record is None or record.deleted_at is not None or record.person_is_gone:
        return RecordFacts(contact_deleted=True)
    return RecordFacts(
        phone_changed=record.lost_its_phone or record.phone != row["to_number"],
        unwanted=_trigger_off(row, settings) or _reason_gone(connection, row, record, settings, now),
    )


def _trigger_off(row: Mapping[str, Any], settings: Settings) -> tuple[str, str] | None:
    name = row.get("trigger")
    if name is None:
        return None
    trigger = settings.triggers.get(name)
    if trigger is None or not trigger.enabled:
        return "trigger_off", f'the trigger "{name}" was switched off before the text was sent'
    return None


def _reason_gone(
    connection: Connection, row: Mapping[str, Any], record: Row[Any], settings: Settings, now: datetime
) -> tuple[str, str] | None:
    """Return why the record, or the conversation, no longer calls for the trigger's text, as (code, text); or None."""
    trigger = settings.triggers.get(row.get("trigger") or "")
    if trigger is None or not depends_on_record(trigger):
        return None
    person = {"phone": record.phone or "", "full_name": record.full_name or "", "email": record.email or ""}
    region = settings.connections[str(row["connection"])].default_region
    talk = conversation_about(connection, row, settings, now) if watches_conversation(trigger) else None
    properties, key = orjson.loads(record.properties), str(row["idempotency_key"])
    return no_longer_wanted(trigger, properties, person, key, region, talk)
