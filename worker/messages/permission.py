"""What CRM records say about texts to their person: ``do_not_text`` and ``consent``. Pure.

What is not known holds the texts: a field that the source does not have any more, a record that came without it, a
record whose latest version cannot be read. A known refusal stays one: the last values that were read are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

from config.models import Connection, PropertyRule, Settings
from crm_adapters.base import CONTACT
from crm_adapters.fields import column_without_number, find_column, fold
from worker.policy.answers import allows_texts, forbids_texts, is_empty, is_known_answer
from worker.triggers.values import property_named, value_text

_EXCERPT = 40


class Answer(StrEnum):
    """What a record says about a rule."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LiveRecord:
    """A live CRM record with its properties.

    ``missing`` are the configured fields that its source does not have now, folded. ``unreadable``: its latest version
    could not be read, so the properties are older. ``person``: the external id of the person that a record of another
    ``kind`` belongs to. Only records of kind ``contact`` say who may be texted.
    """

    connection: str
    external_id: str
    properties: Mapping[str, Any]
    kind: str = CONTACT
    person: str | None = None
    missing: frozenset[str] = frozenset()
    unreadable: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The connection and the external id."""
        return self.connection, self.external_id

    def do_not_text(self, settings: Settings) -> str:
        """Return the field of this record that says not to text its person, for a person; "" if none does."""
        rule = self.rule(settings, "do_not_text")
        if rule is None or self.forbids(rule) is not Answer.YES:
            return ""
        value = self._value(rule)
        if rule.values or is_known_answer(value):
            return self.field(rule)
        return (
            f'{self.field(rule)} ("{_excerpt(value)}" is no known word for no; if it allows texts, name the values that'
            f" forbid them in connections.{self.connection}.do_not_text.values)"
        )

    def no_consent(self, settings: Settings) -> str:
        """Return the field of this record that should allow texts to its person and does not; "" if there is none."""
        rule = self.rule(settings, "consent")
        return self.field(rule) if rule is not None and self.consents(rule) is Answer.NO else ""

    def gives_consent(self, settings: Settings) -> bool:
        """Return True if this record has a consent field, and it says yes."""
        rule = self.rule(settings, "consent")
        return rule is not None and self.consents(rule) is Answer.YES

    def rule(self, settings: Settings, name: str) -> PropertyRule | None:
        """Return the rule ``do_not_text`` or ``consent`` that applies to this record."""
        found: PropertyRule | None = getattr(settings.connections[self.connection], name)
        return found if self.kind == CONTACT else None

    def forbids(self, rule: PropertyRule) -> Answer:
        """Return if the do-not-text field forbids texts. A yes that was read once counts until a no is read."""
        if any(forbids_texts(value, rule.values) for value in self._values(rule)):
            return Answer.YES
        return Answer.NO if self._is_known(rule) else Answer.UNKNOWN

    def consents(self, rule: PropertyRule) -> Answer:
        """Return if the consent field allows texts. What is not known is no consent, but may become one."""
        if self._key(rule) is None:
            return Answer.UNKNOWN
        filled = [value for value in self._values(rule) if not is_empty(value)]
        if not filled or not all(allows_texts(value, rule.values) for value in filled):
            return Answer.NO
        return Answer.YES if self._is_known(rule) else Answer.UNKNOWN

    def words(self, rule: PropertyRule) -> str:
        """Return what the field says, as text."""
        value = self._value(rule)
        return value_text(value).strip() or ("" if value is None else str(value))

    def field(self, rule: PropertyRule) -> str:
        """Name the field that the rule reads, and its record, for a person."""
        return f'the field "{rule.field}" of the CRM record {self.connection} {self.external_id}'

    def why_unknown(self, name: str, rule: PropertyRule) -> str:
        """Explain why it is not known what the record says about the rule ``name``, and what to do."""
        if fold(rule.field) in self.missing:
            return missing_field(self.connection, name, rule)
        record = f"the CRM record {self.connection} {self.external_id}"
        if self._key(rule) is None:
            return (
                f'{record} came without the field "{rule.field}" (connections.{self.connection}.{name}.field);'
                f" {_correct(self.connection)}"
            )
        return (
            f"{record} cannot be read now, so what it says about texts is not known; correct it in the CRM"
            " (`vtsync status --rejected` says what is wrong)"
        )

    def _is_known(self, rule: PropertyRule) -> bool:
        return not self.unreadable and fold(rule.field) not in self.missing and self._key(rule) is not None

    def _key(self, rule: PropertyRule) -> str | None:
        return property_named(rule.field, self.properties) or find_column(self.properties, rule.field)

    def _value(self, rule: PropertyRule) -> Any:
        """Return the value of the rule's field, to show it; a list if several fields have this name."""
        values = self._values(rule)
        return values if len(values) > 1 else next(iter(values), None)

    def _values(self, rule: PropertyRule) -> list[Any]:
        """Return the value of each field that has the rule's name. Each of them counts."""
        same = [name for name in self.properties if is_field_of(rule, name)]
        keys = dict.fromkeys([self._key(rule), *same])
        return [self.properties[key] for key in keys if key is not None]


def permission_unknown(settings: Settings, records: Sequence[LiveRecord], about: tuple[str, str] | None) -> str:
    """Explain why it is not known if the person with these records may be texted; "" if it is known.

    ``about`` as in ``no_consent``.
    """
    for record in records:
        rule = record.rule(settings, "do_not_text")
        if rule is not None and record.forbids(rule) is Answer.UNKNOWN:
            return record.why_unknown("do_not_text", rule)
    person = person_of(records, about)
    is_elsewhere = person is not None and person != about and person not in {record.key for record in records}
    if person is not None and is_elsewhere and settings.connections[person[0]].consent is not None:
        return f"the CRM record {person[0]} {person[1]}, which must give consent, has not been read; run `vtsync sync`"
    asked = _asked(settings, records, person)
    answers = [record.consents(rule) for record, rule in asked]
    if Answer.YES in answers or Answer.UNKNOWN not in answers:
        return ""
    record, rule = asked[answers.index(Answer.UNKNOWN)]
    return record.why_unknown("consent", rule)


def no_consent(settings: Settings, records: Sequence[LiveRecord], about: tuple[str, str] | None) -> str:
    """Return the field that should give consent and does not, for a person; "" if nothing is missing or not known.

    ``about``: the record (connection, external id) that the text is about. If its connection asks for consent, this
    record must give it, or the record of the person that it belongs to. For a text about no record, the consent in any
    of the records is enough.
    """
    asked = _asked(settings, records, person_of(records, about))
    answers = [record.consents(rule) for record, rule in asked]
    if Answer.YES in answers or Answer.UNKNOWN in answers or not asked:
        return ""
    record, rule = asked[0]
    others = f" (nor do {len(asked) - 1} more records)" if len(asked) > 1 else ""
    return f"{record.field(rule)}{others}"


def person_of(records: Sequence[LiveRecord], about: tuple[str, str] | None) -> tuple[str, str] | None:
    """Return the record that must give consent to a text about ``about``; None for any of them."""
    found = next((record for record in records if record.key == about), None)
    if found is None or found.kind == CONTACT:
        return about
    return None if found.person is None else (found.connection, found.person)


def _asked(
    settings: Settings, records: Sequence[LiveRecord], person: tuple[str, str] | None
) -> list[tuple[LiveRecord, PropertyRule]]:
    return [
        (record, rule)
        for record in records
        if person in (None, record.key) and (rule := record.rule(settings, "consent")) is not None
    ]


def is_field_of(rule: PropertyRule, name: str) -> bool:
    """Return True if a field has the name that the rule gives, in any spelling, or this name and a number."""
    return _is_same_field(rule.field, name)


@lru_cache(maxsize=4096)
def _is_same_field(field: str, name: str) -> bool:
    return fold(field) in (fold(name), fold(column_without_number(name)))


def is_permission(configured: Connection, name: str, value: Any) -> bool:
    """Return True if a value of the field ``name`` lets its person be texted.

    It is not carried over to a version of the record that came without the field; a refusal is.
    """
    forbids, consent = configured.do_not_text, configured.consent
    if forbids is not None and is_field_of(forbids, name):
        return not forbids_texts(value, forbids.values)
    return consent is not None and is_field_of(consent, name) and allows_texts(value, consent.values)


def missing_policy_fields(settings: Settings, connection: str, shape: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each policy field of a connection that its source does not have now.

    ``shape``: ``connection_state.shape``, read from JSON.
    """
    missing = missing_names(shape)
    configured = settings.connections[connection]
    return [
        f"texts to the people of the connection {connection} are held: {missing_field(connection, name, rule)}"
        for name, rule in (("do_not_text", configured.do_not_text), ("consent", configured.consent))
        if rule is not None and fold(rule.field) in missing
    ]


def missing_names(shape: Mapping[str, Any]) -> frozenset[str]:
    """Return the configured fields that the source does not have, folded."""
    return frozenset(fold(name) for name in shape.get("missing", ()))


def read_shape(stored: str | None) -> Mapping[str, Any]:
    """Read ``connection_state.shape``; empty before the first run."""
    shape = orjson.loads(stored or "{}")
    return shape if isinstance(shape, dict) else {}


def missing_field(connection: str, name: str, rule: PropertyRule) -> str:
    """Say that the source does not have a policy field, and what to do."""
    return (
        f'the source has no field "{rule.field}" now (connections.{connection}.{name}.field), so it is not known who'
        f" may be texted; {_correct(connection)}"
    )


def _correct(connection: str) -> str:
    return f"put the field back, or correct the configuration (`vtsync fields {connection}` lists the fields)"


def _excerpt(value: Any) -> str:
    text = value_text(value) or str(value)
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable if len(printable) <= _EXCERPT else f"{printable[:_EXCERPT]}…"
