"""What the CRM says of the person behind a number: whether they may be texted, and where they are.

A number may belong to several records, of several connections and accounts; all of them are heard.
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
class Record:
    """A live CRM record with its properties."""

    connection: str
    external_id: str
    properties: Mapping[str, Any]

    def field(self, rule: PropertyRule) -> str:
        """How a person finds what the rule asks."""
        return f'the field "{rule.field}" of the CRM record {self.connection} {self.external_id}'

    def do_not_text(self, settings: Settings) -> str:
        """The field of this record that says not to text its person, in words; "" when none does."""
        rule = settings.connections[self.connection].do_not_text
        return self.field(rule) if rule is not None and says_yes(rule, self.properties) else ""

    def no_consent(self, settings: Settings) -> str:
        """The field of this record that should say that its person may be texted and does not; "" when none."""
        rule = settings.connections[self.connection].consent
        return self.field(rule) if rule is not None and not says_yes(rule, self.properties) else ""


@dataclass(frozen=True, slots=True)
class Person:
    """All that the CRM says of one number. ``do_not_text``: the field that says not to text them, in words."""

    records: tuple[Record, ...]
    do_not_text: str
    places: tuple[RecordPlace, ...]

    def no_consent(self, settings: Settings, about: tuple[str, str] | None) -> str:
        """What should have said that they may be texted and does not, in words; "" when nothing is missing.

        ``about``: the record (connection, external id) that the text is about. It must itself say yes where its
        connection asks for consent. For a text about no record any record of theirs that is asked may say it.
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


def person_with(connection: Connection, settings: Settings, phone: str) -> Person:
    """The live CRM records with this number, in whichever account, and what they say."""
    found = connection.execute(
        select(contact_mapping.c.connection, contact_mapping.c.external_id, contact_mapping.c.properties)
        .select_from(contact.join(contact_mapping, contact_mapping.c.contact_id == contact.c.id))
        .where(
            # Named, since the index over phones begins with the account.
            any_of(connection, contact.c.account, list(settings.accounts)),
            contact.c.phone == phone,
            contact_mapping.c.deleted_at.is_(None),
        )
        .order_by(contact_mapping.c.id)
    )
    records = tuple(
        Record(row.connection, row.external_id, orjson.loads(row.properties))
        for row in found
        if row.connection in settings.connections
    )
    places = tuple(place(settings, record.connection, record.properties) for record in records)
    do_not_text = next((words for record in records if (words := record.do_not_text(settings))), "")
    return Person(records, do_not_text, places)


def says_yes(rule: PropertyRule, properties: Mapping[str, Any]) -> bool:
    """Whether the field has one of the values that mean yes; of a list, any of its values. Missing is no."""
    name = property_named(rule.field, properties)
    value = None if name is None else properties[name]
    wanted = {one.strip().casefold() for one in rule.values}
    return any(
        value_text(one).strip().casefold() in wanted for one in (value if isinstance(value, list | tuple) else [value])
    )


def place(settings: Settings, connection: str, properties: Mapping[str, Any]) -> RecordPlace:
    """What a record says of its person's place."""
    fields = settings.connections[connection].fields
    return RecordPlace(
        first_filled(fields.time_zone, properties),
        first_filled(fields.state, properties),
        first_filled(fields.postal_code, properties),
    )


def owner_number(settings: Settings, connection: str, properties: Mapping[str, Any]) -> str | None:
    """The number that texts of the record's owner are sent from; None where its connection names none for them."""
    configured = settings.connections[connection]
    owner = first_filled(configured.fields.owner, properties).casefold()
    numbers = {name.strip().casefold(): number for name, number in configured.owner_numbers.items()}
    return numbers.get(owner)


def lost_its_phone() -> Exists:
    """Whether a row of ``contact_mapping`` has no phone that can be used any more: it still names its old contact."""
    r, m = rejected_record.c, contact_mapping.c
    return exists().where(r.connection == m.connection, r.key == m.external_id, r.code != "unreadable")


def first_filled(names: Iterable[str], properties: Mapping[str, Any]) -> str:
    """The first of the fields that holds something."""
    for name in names:
        key = property_named(name, properties)
        if key is not None and (text := value_text(properties[key]).strip()):
            return text
    return ""
