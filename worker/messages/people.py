"""Read what the CRM says about the person behind a number: if they may be texted, and where they are.

A number may belong to several records, of several connections and accounts. All of them count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Exists, exists, select

from config.models import PropertyRule, Settings
from worker.policy.locations import RecordPlace
from worker.store.sql import any_of
from worker.store.tables import contact, contact_mapping, rejected_record
from worker.triggers.values import property_named, value_text


@dataclass(frozen=True, slots=True)
class LiveRecord:
    """A live CRM record with its properties."""

    connection: str
    external_id: str
    properties: Mapping[str, Any]

    def field(self, rule: PropertyRule) -> str:
        """Name the field that the rule reads, and its record, for a person."""
        return f'the field "{rule.field}" of the CRM record {self.connection} {self.external_id}'

    def do_not_text(self, settings: Settings) -> str:
        """Return the field of this record that says not to text its person, for a person; "" if none does."""
        rule = settings.connections[self.connection].do_not_text
        return self.field(rule) if rule is not None and says_yes(rule, self.properties) else ""

    def no_consent(self, settings: Settings) -> str:
        """Return the field of this record that should allow texts to its person and does not; "" if there is none."""
        rule = settings.connections[self.connection].consent
        return self.field(rule) if rule is not None and not says_yes(rule, self.properties) else ""


@dataclass(frozen=True, slots=True)
class Recipient:
    """What the CRM says about one number. ``do_not_text``: the field that says not to text them, for a person."""

    records: tuple[LiveRecord, ...]
    do_not_text: str
    places: tuple[RecordPlace, ...]

    def no_consent(self, settings: Settings, about: tuple[str, str] | None) -> str:
        """Return the field that should give their consent and does not, for a person; "" if nothing is missing.

        ``about``: the record (connection, external id) that the text is about. If its connection asks for consent, this
        record must give it. For a text about no record, the consent in any of their records is enough.
        """
        asked = [
            (record, rule)
            for record in self.records
            if (rule := settings.connections[record.connection].consent) is not None
            and about in (None, (record.connection, record.external_id))
        ]
        if not asked or any(says_yes(rule, record.properties) for record, rule in asked):
            return ""
        record, rule = asked[0]
        others = f" (nor do {len(asked) - 1} more records)" if len(asked) > 1 else ""
        return f"{record.field(rule)}{others}"


def recipient_of(connection: Connection, settings: Settings, phone: str) -> Recipient:
    """Read the live CRM records with this number, in all accounts, and what they say."""
    found = connection.execute(
        select(contact_mapping.c.connection, contact_mapping.c.external_id, contact_mapping.c.properties)
        .select_from(contact.join(contact_mapping, contact_mapping.c.contact_id == contact.c.id))
        .where(
            # The index over phones begins with the account, so the accounts are listed.
            any_of(connection, contact.c.account, list(settings.accounts)),
            contact.c.phone == phone,
            contact_mapping.c.deleted_at.is_(None),
        )
        .order_by(contact_mapping.c.id)
    )
    records = tuple(
        LiveRecord(row.connection, row.external_id, orjson.loads(row.properties))
        for row in found
        if row.connection in settings.connections
    )
    places = tuple(place(settings, record.connection, record.properties) for record in records)
    do_not_text = next((field for record in records if (field := record.do_not_text(settings))), "")
    return Recipient(records, do_not_text, places)


def says_yes(rule: PropertyRule, properties: Mapping[str, Any]) -> bool:
    """Return True if the field has a value that means yes; for a list, if any of its values does. Missing means no."""
    name = property_named(rule.field, properties)
    value = None if name is None else properties[name]
    wanted = {one.strip().casefold() for one in rule.values}
    return any(
        value_text(one).strip().casefold() in wanted for one in (value if isinstance(value, list | tuple) else [value])
    )


def place(settings: Settings, connection: str, properties: Mapping[str, Any]) -> RecordPlace:
    """Return the location fields of a record."""
    fields = settings.connections[connection].fields
    return RecordPlace(
        first_filled(fields.time_zone, properties),
        first_filled(fields.state, properties),
        first_filled(fields.postal_code, properties),
    )


def owner_number(settings: Settings, connection: str, properties: Mapping[str, Any]) -> str | None:
    """Return the number from which texts of the record's owner are sent; None if its connection has none for them."""
    configured = settings.connections[connection]
    owner = first_filled(configured.fields.owner, properties).casefold()
    numbers = {name.strip().casefold(): number for name, number in configured.owner_numbers.items()}
    return numbers.get(owner)


def lost_its_phone() -> Exists:
    """Return the condition for rows of ``contact_mapping`` without a usable phone; they still name an old contact."""
    r, m = rejected_record.c, contact_mapping.c
    return exists().where(r.connection == m.connection, r.key == m.external_id, r.code != "unreadable")


def first_filled(names: Iterable[str], properties: Mapping[str, Any]) -> str:
    """Return the text of the first field that is not empty."""
    for name in names:
        key = property_named(name, properties)
        if key is not None and (text := value_text(properties[key]).strip()):
            return text
    return ""
