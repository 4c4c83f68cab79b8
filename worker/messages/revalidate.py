"""Whether what called for a trigger's text is still so, asked again right before it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, select

from config.models import Settings
from worker.store.tables import contact, contact_mapping
from worker.triggers.evaluate import depends_on_record, no_longer_wanted


def still_unwanted(connection: Connection, row: Mapping[str, Any], settings: Settings) -> tuple[str, str] | None:
    """Why a trigger's text is not wanted any more, as (code, words); None: it is, or it is no trigger's."""
    name = row.get("trigger")
    if name is None:
        return None
    trigger = settings.triggers.get(name)
    if trigger is None or not trigger.enabled:
        return "trigger_off", f'the trigger "{name}" was switched off before it could be sent'
    if not depends_on_record(trigger):
        return None
    m = contact_mapping.c
    record = connection.execute(
        select(m.properties, contact.c.phone, contact.c.full_name, contact.c.email)
        .select_from(contact_mapping.outerjoin(contact, contact.c.id == m.contact_id))
        .where(m.connection == row.get("connection"), m.external_id == row.get("external_id"))
    ).one_or_none()
    if record is None:
        return None  # another rule says so
    person = {"phone": record.phone or "", "full_name": record.full_name or "", "email": record.email or ""}
    return no_longer_wanted(trigger, orjson.loads(record.properties), person, str(row["idempotency_key"]))
