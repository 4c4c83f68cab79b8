"""Who hears of what. Pure, but for the look-up of CRM records by number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, select

from config.models import Settings
from worker.messages.events import EventType
from worker.store.sql import any_of
from worker.store.tables import contact, contact_mapping

LOGGED = (EventType.MESSAGE_RECEIVED, EventType.MESSAGE_SENT, EventType.MESSAGE_RECORDED)
OPT_OUTS = (EventType.CONTACT_OPTED_OUT, EventType.CONTACT_OPTED_IN)


@dataclass(frozen=True, slots=True)
class Event:
    """One announcement."""

    id: str
    type: str
    at: datetime
    account: str
    phone: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """A live CRM record with a number."""

    connection: str
    external_id: str
    account: str


Records = Mapping[str, list[CrmRecord]]
"""Phone -> its records."""


def records_of(connection: Connection, settings: Settings, phones: Iterable[str]) -> Records:
    """The live records of connections that are told anything."""
    told = [name for name, one in settings.connections.items() if one.log_messages or one.report_opt_outs]
    found: dict[str, list[CrmRecord]] = defaultdict(list)
    if not told:
        return found
    accounts = sorted({settings.connections[name].account for name in told})
    rows = connection.execute(
        select(contact.c.phone, contact.c.account, contact_mapping.c.connection, contact_mapping.c.external_id)
        .select_from(contact.join(contact_mapping, contact_mapping.c.contact_id == contact.c.id))
        .where(
            any_of(connection, contact.c.account, accounts),
            any_of(connection, contact.c.phone, sorted(set(phones))),
            any_of(connection, contact_mapping.c.connection, told),
            contact_mapping.c.deleted_at.is_(None),
        )
        .order_by(contact_mapping.c.id)
    )
    for row in rows:
        found[row.phone].append(CrmRecord(row.connection, row.external_id, row.account))
    return found


def targets(event: Event, settings: Settings, records: Records) -> list[str]:
    """``subscriber:NAME`` and ``crm:CONNECTION:EXTERNAL_ID`` of everybody who is to hear of the event."""
    subscribers = [
        f"subscriber:{name}"
        for name, one in settings.subscribers.items()
        if any(fnmatchcase(event.type, pattern) for pattern in one.events)
        and (not one.accounts or not event.account or event.account in one.accounts)
    ]
    return subscribers + [f"crm:{one.connection}:{one.external_id}" for one in _crm(event, settings, records)]


def _crm(event: Event, settings: Settings, records: Records) -> list[CrmRecord]:
    found = records.get(event.phone, [])
    if event.type in OPT_OUTS:
        told = [one for one in found if settings.connections[one.connection].report_opt_outs]
        return _not_ambiguous(settings, told)
    if event.type not in LOGGED:
        return []
    told = [one for one in found if one.account == event.account and settings.connections[one.connection].log_messages]
    about = event.data.get("record")
    if about:  # our own text about one record belongs to that one, where its connection is told
        told = [one for one in told if one.connection != about["connection"] or one.external_id == about["id"]]
    return _not_ambiguous(settings, told)


def _not_ambiguous(settings: Settings, told: list[CrmRecord]) -> list[CrmRecord]:
    """Where several records of a connection share the number: all of them or none, as configured, never a guess."""
    by_connection: dict[str, list[CrmRecord]] = defaultdict(list)
    for one in told:
        by_connection[one.connection].append(one)
    return [
        one
        for name, several in by_connection.items()
        for one in several
        if len(several) == 1 or settings.connections[name].shared_number == "all"
    ]
