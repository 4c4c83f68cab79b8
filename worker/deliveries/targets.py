"""Decides who receives an event. Pure, apart from the query for CRM records by number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias, cast

from sqlalchemy import Connection, select

from config.callbacks import origin_of
from config.event_types import EventType
from config.models import Settings
from crm_adapters.base import CONTACT
from worker.store.sql import any_of
from worker.store.tables import contact, contact_mapping

LOGGED = (EventType.MESSAGE_RECEIVED, EventType.MESSAGE_SENT, EventType.MESSAGE_RECORDED)
OPT_OUTS = (EventType.CONTACT_OPTED_OUT, EventType.CONTACT_OPTED_IN)

ALERTS = (EventType.ALERT_RAISED, EventType.ALERT_ENDED)

ReceiverKind: TypeAlias = Literal["subscriber", "crm", "callback", "alert"]
CALLBACK: ReceiverKind = "callback"
CHANNEL: ReceiverKind = "alert"


@dataclass(frozen=True, slots=True, order=True)
class Receiver:
    """A subscriber, a CRM connection, the origin of callbacks, or a channel of alerts.

    Written as ``subscriber:NAME``, ``crm:NAME``, ``callback:https://HOST`` or ``alert:NAME``.
    """

    kind: ReceiverKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def is_crm(self) -> bool:
        """Return whether it is a CRM connection."""
        return self.kind == "crm"


@dataclass(frozen=True, slots=True)
class Target:
    """Where an event goes: to a subscriber, to a caller, or to one record (``external_id``) of a CRM connection.

    Written as its receiver, for a record as ``crm:CONNECTION:EXTERNAL_ID``.
    """

    receiver: Receiver
    external_id: str = ""

    def __str__(self) -> str:
        return f"{self.receiver}:{self.external_id}" if self.receiver.is_crm else str(self.receiver)

    @classmethod
    def from_text(cls, text: str) -> Target:
        """Read the written form. An external id may contain colons; names never do."""
        if text.startswith(f"{CALLBACK}:"):
            return cls(Receiver(CALLBACK, text.removeprefix(f"{CALLBACK}:")))
        kind, name, *external_id = text.split(":", 2)
        return cls(Receiver(cast(ReceiverKind, kind), name), *external_id)


def receivers_of(settings: Settings) -> list[Receiver]:
    """Return all receivers in the configuration: all but callers."""
    subscribers = [Receiver("subscriber", name) for name in settings.subscribers]
    return [*subscribers, *(Receiver("crm", name) for name in settings.connections), *channels_of(settings)]


def channels_of(settings: Settings) -> list[Receiver]:
    """Return the channels of alerts."""
    return [Receiver(CHANNEL, name) for name in settings.alerts.channels]


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event that was published and is to be delivered."""

    id: str
    type: str
    at: datetime
    account: str
    phone: str
    data: Mapping[str, Any]
    callback_url: str | None = None
    """Where the caller who asked for the text wants its events."""


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """A live CRM record with a number. ``kind`` is ``contact``, or that of a record that belongs to a person."""

    connection: str
    external_id: str
    account: str
    kind: str = CONTACT


Records = Mapping[str, list[CrmRecord]]
"""Phone -> its records."""


def records_of(connection: Connection, settings: Settings, phones: Iterable[str]) -> Records:
    """Return the live records of all connections that receive events."""
    receiving = [name for name, one in settings.connections.items() if one.log_messages or one.report_opt_outs]
    found: dict[str, list[CrmRecord]] = defaultdict(list)
    if not receiving:
        return found
    accounts = sorted({settings.connections[name].account for name in receiving})
    rows = connection.execute(
        select(
            contact.c.phone,
            contact.c.account,
            contact_mapping.c.connection,
            contact_mapping.c.external_id,
            contact_mapping.c.kind,
        )
        .select_from(contact.join(contact_mapping, contact_mapping.c.contact_id == contact.c.id))
        .where(
            any_of(connection, contact.c.account, accounts),
            any_of(connection, contact.c.phone, sorted(set(phones))),
            any_of(connection, contact_mapping.c.connection, receiving),
            contact_mapping.c.deleted_at.is_(None),
        )
        .order_by(contact_mapping.c.id)
    )
    for row in rows:
        found[row.phone].append(CrmRecord(row.connection, row.external_id, row.account, row.kind))
    return found


def targets_of(event: OutgoingEvent, settings: Settings, records: Records) -> list[Target]:
    """Return everybody who receives the event."""
    subscribers = [
        Target(Receiver("subscriber", name))
        for name, one in settings.subscribers.items()
        if any(fnmatchcase(event.type, pattern) for pattern in one.events) and _is_for(one.accounts, event)
    ]
    if event.callback_url is not None:
        subscribers.append(Target(Receiver(CALLBACK, origin_of(event.callback_url))))
    crm_records = _crm_records(event, settings, records)
    return subscribers + [Target(Receiver("crm", one.connection), one.external_id) for one in crm_records]


def _is_for(accounts: Collection[str], event: OutgoingEvent) -> bool:
    """Return whether a subscriber of these accounts (none: of all) gets the event. Alerts are about all accounts."""
    if not accounts or event.account in accounts:
        return True
    return not event.account and event.type not in ALERTS


def _crm_records(event: OutgoingEvent, settings: Settings, records: Records) -> list[CrmRecord]:
    found = records.get(event.phone, [])
    people = [one for one in found if one.kind == CONTACT]
    if event.type in OPT_OUTS:
        reported = [one for one in people if settings.connections[one.connection].report_opt_outs]
        return _not_ambiguous(settings, reported)
    if event.type not in LOGGED:
        return []
    about = event.data.get("record")
    own = [one for one in found if about and (one.connection, one.external_id) == (about["connection"], about["id"])]
    if about:  # in the connection of that record, keep only the record that our own text was about, such as a deal
        people = [one for one in people if one.connection != about["connection"]]
    chosen = [
        one
        for one in (*own, *people)
        if one.account == event.account and settings.connections[one.connection].log_messages
    ]
    return _not_ambiguous(settings, chosen)


def _not_ambiguous(settings: Settings, chosen: list[CrmRecord]) -> list[CrmRecord]:
    """Keep all or none of several records of a connection with the same number, as configured. Never guess one."""
    by_connection: dict[str, list[CrmRecord]] = defaultdict(list)
    for one in chosen:
        by_connection[one.connection].append(one)
    return [
        one
        for name, several in by_connection.items()
        for one in several
        if len(several) == 1 or settings.connections[name].shared_number == "all"
    ]
