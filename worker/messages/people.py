"""Read what the CRM says about the person behind a number: if they may be texted, and where they are.

A number may belong to several records, of several connections and accounts. All of them count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Exists, case, exists, func, select

from config.models import Settings
from crm_adapters.base import CONTACT
from worker.messages.permission import LiveRecord, missing_names, no_consent, permission_unknown, read_shape
from worker.policy.locations import RecordPlace, locations_of
from worker.store.sql import any_of
from worker.store.tables import connection_state, contact, contact_mapping, rejected_record
from worker.triggers.values import property_named, value_text


@dataclass(frozen=True, slots=True)
class Recipient:
    """What the CRM says about one number. ``do_not_text``: the field that says not to text them, for a person."""

    records: tuple[LiveRecord, ...]
    do_not_text: str
    places: tuple[RecordPlace, ...]

    def no_consent(self, settings: Settings, about: tuple[str, str] | None) -> str:
        """Return the field that should give their consent and does not; see ``worker.messages.permission``."""
        return no_consent(settings, self.records, about)

    def permission_unknown(self, settings: Settings, about: tuple[str, str] | None) -> str:
        """Explain why it is not known if they may be texted; see ``worker.messages.permission``."""
        return permission_unknown(settings, self.records, about)


def recipient_of(connection: Connection, settings: Settings, phone: str) -> Recipient:
    """Read the live CRM records with this number, in all accounts, and what they say."""
    return _recipient(settings, _live_records(connection, settings, contact.c.phone == phone).get(phone, ()))


def recipients_of(connection: Connection, settings: Settings, phones: Collection[str]) -> dict[str, Recipient]:
    """Do the same for many numbers at once."""
    found = _live_records(connection, settings, any_of(connection, contact.c.phone, phones))
    return {phone: _recipient(settings, found.get(phone, ())) for phone in phones}


def _live_records(
    connection: Connection, settings: Settings, numbers: ColumnElement[bool]
) -> Mapping[str, Sequence[LiveRecord]]:
    """Return the live records of these numbers, by number."""
    m = contact_mapping.c
    found = connection.execute(
        select(
            *(contact.c.phone, m.connection, m.external_id, m.properties, m.kind, m.person),
            connection_state.c.shape,
            _rejected(rejected_record.c.code == "unreadable").label("unreadable"),
        )
        .select_from(
            contact.join(contact_mapping, m.contact_id == contact.c.id).outerjoin(
                connection_state, connection_state.c.connection == m.connection
            )
        )
        .where(
            # The index over phones begins with the account, so the accounts are listed.
            any_of(connection, contact.c.account, list(settings.accounts)),
            numbers,
            m.deleted_at.is_(None),
        )
        .order_by(m.id)
    )
    records: defaultdict[str, list[LiveRecord]] = defaultdict(list)
    for row in found:
        if row.connection in settings.connections:
            record = LiveRecord(
                connection=row.connection,
                external_id=row.external_id,
                properties=orjson.loads(row.properties),
                kind=row.kind,
                person=row.person,
                missing=missing_names(read_shape(row.shape)),
                unreadable=bool(row.unreadable),
            )
            records[row.phone].append(record)
    return records


def _recipient(settings: Settings, records: Sequence[LiveRecord]) -> Recipient:
    people = [record for record in records if record.kind == CONTACT]
    places = tuple(place(settings, record.connection, record.properties) for record in people)
    do_not_text = next((field for record in people if (field := record.do_not_text(settings))), "")
    return Recipient(tuple(records), do_not_text, places)


def place(settings: Settings, connection: str, properties: Mapping[str, Any]) -> RecordPlace:
    """Return the location fields of a record."""
    fields = settings.connections[connection].fields
    return RecordPlace(
        first_filled(fields.time_zone, properties),
        first_filled(fields.state, properties),
        first_filled(fields.postal_code, properties),
    )


def zones_of(settings: Settings, connection: str, phone: str, properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the time zones that the person of a record may be in; none if nothing is known."""
    account = settings.accounts[settings.connections[connection].account]
    return locations_of(phone, [place(settings, connection, properties)], account.time_zone).zones


def own_name() -> ColumnElement[str]:
    """Return the name in a row of ``contact_mapping``; of a record that belongs to a person, the person's."""
    return _own("full_name").label("full_name")


def own_email() -> ColumnElement[str]:
    """Return the email in a row of ``contact_mapping``; of a record that belongs to a person, the person's."""
    return _own("email").label("email")


def _own(column: str) -> ColumnElement[str]:
    m, person = contact_mapping.c, contact_mapping.alias().c
    of_person = select(person[column]).where(person.connection == m.connection, person.external_id == m.person)
    return case((m.kind == CONTACT, m[column]), else_=func.coalesce(of_person.scalar_subquery(), ""))


def owner_number(settings: Settings, connection: str, properties: Mapping[str, Any]) -> str | None:
    """Return the number from which texts of the record's owner are sent; None if its connection has none for them."""
    configured = settings.connections[connection]
    owner = first_filled(configured.fields.owner, properties).casefold()
    numbers = {name.strip().casefold(): number for name, number in configured.owner_numbers.items()}
    return numbers.get(owner)


def own_numbers(settings: Settings) -> frozenset[str]:
    """Return the numbers that texts are sent from: no person has one of them."""
    return frozenset(
        [
            *(account.from_number for account in settings.accounts.values()),
            *(number for connection in settings.connections.values() for number in connection.owner_numbers.values()),
            *(trigger.from_number for trigger in settings.triggers.values() if trigger.from_number),
        ]
    )


def lost_its_phone() -> Exists:
    """Return the condition for rows of ``contact_mapping`` without a usable phone; they still name an old contact."""
    return _rejected(rejected_record.c.code != "unreadable")


def person_is_gone() -> Exists:
    """Return the condition for rows of ``contact_mapping`` that belong to a person who was deleted, and not merged."""
    m, person = contact_mapping.c, contact_mapping.alias().c
    gone = (person.deleted_at.is_not(None), person.merged_into.is_(None))
    return exists().where(person.connection == m.connection, person.external_id == m.person, *gone)


def _rejected(*where: ColumnElement[bool]) -> Exists:
    """Return the condition for rows of ``contact_mapping`` whose latest version was rejected."""
    r, m = rejected_record.c, contact_mapping.c
    key = func.coalesce(m.person, m.external_id)  # a record that belongs to a person has the person's phone
    return exists().where(r.connection == m.connection, r.key == key, *where)


def first_filled(names: Iterable[str], properties: Mapping[str, Any]) -> str:
    """Return the text of the first field that is not empty."""
    for name in names:
        key = property_named(name, properties)
        if key is not None and (text := value_text(properties[key]).strip()):
            return text
    return ""
