"""Reads the phone candidates, the name, the email and the country of a record, by the mapping of its connection.

This is the one place that knows expressions. An adapter gets a mapping of field names alone: for an expression, the
fields that it reads. So it checks that they exist, and asks the CRM for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from config.fields import EXPRESSIONS, FieldMapping, is_expression
from crm_adapters.base import Adapter, ContactFields, Properties
from crm_adapters.fields import ColumnFinder, clean_text, find_column, name_text, phone_text, read_country
from worker.triggers.expressions import compile_expression
from worker.triggers.templates import TemplateProblem


class UnfilledExpression(Exception):
    """An expression cannot be filled from this record. The message says why, for a person."""


class MappedRecord(NamedTuple):
    """What the mapping finds in a record, as raw text. ``country`` is its country as the CRM has it, or ""."""

    fields: ContactFields
    country: str
    country_field: str


def field_names_of(mapping: FieldMapping) -> FieldMapping:
    """Return the mapping with the fields that its expressions read in place of the expressions.

    The last field of a phone expression comes first: it is the number, after the codes.
    """
    names: dict[str, tuple[str, ...]] = {}
    for role in EXPRESSIONS:
        entries: tuple[str, ...] = getattr(mapping, role)
        if any(map(is_expression, entries)):
            found = [_read_by(entry, last_first=role == "phone") for entry in entries]
            names[role] = tuple(dict.fromkeys(name for part in found for name in part))
    return mapping.model_copy(update=names) if names else mapping


def _read_by(entry: str, *, last_first: bool) -> tuple[str, ...]:
    if not is_expression(entry):
        return (entry,)
    fields = compile_expression(entry).fields
    return fields[::-1] if last_first else fields


@dataclass(frozen=True, slots=True)
class RecordMapping:
    """How the records of one connection are read. ``default_region`` is for people whose country is not known."""

    mapping: FieldMapping
    columns: ColumnFinder
    contact_fields: Callable[[Properties], ContactFields]
    default_region: str | None = None
    expressions: frozenset[str] = frozenset()
    """The keys of the mapping that have an expression."""
    own_numbers: frozenset[str] = frozenset()
    """The numbers that texts are sent from."""

    @classmethod
    def of(
        cls, mapping: FieldMapping, adapter: Adapter, default_region: str | None, own_numbers: frozenset[str]
    ) -> RecordMapping:
        """Return the mapping of a connection that ``adapter`` reads."""
        columns = ColumnFinder(field_names_of(mapping).or_else(adapter.usual))
        expressions = frozenset(role for role in EXPRESSIONS if any(map(is_expression, getattr(mapping, role))))
        return cls(mapping, columns, adapter.contact_fields, default_region, expressions, own_numbers)

    def read(self, properties: Properties) -> MappedRecord:
        """Read one record. Raises UnfilledExpression."""
        fields = self.contact_fields(properties)
        if self.expressions:
            fields = self._filled_in(fields, properties)
        phone = fields.phones[0][0] if fields.phones else ""
        country_field, country = read_country(self.columns.of(properties), properties, phone)
        return MappedRecord(fields, country, country_field)

    def _filled_in(self, fields: ContactFields, properties: Properties) -> ContactFields:
        """Return the contact's fields with the values of the expressions."""
        if "phone" in self.expressions:
            fields = fields._replace(phones=self._candidates("phone", properties, phone_text))
        if "full_name" in self.expressions:
            parts = self._candidates("full_name", properties, name_text)
            fields = fields._replace(full_name=" ".join(part for _, part in parts))
        if "email" in self.expressions:
            found = self._candidates("email", properties, clean_text)
            fields = fields._replace(email=found[0][1] if found else "")
        return fields

    def _candidates(
        self, role: str, properties: Properties, clean: Callable[[Any], str]
    ) -> tuple[tuple[str, str], ...]:
        """Return the entries that are not empty, in order, with their values."""
        cleaned: Mapping[str, Any] = {name: _cleaned(value, clean) for name, value in properties.items()}
        found = ((entry, self._value(role, entry, cleaned)) for entry in getattr(self.mapping, role))
        return tuple((entry, value) for entry, value in found if value.strip("+ "))

    def _value(self, role: str, entry: str, cleaned: Mapping[str, Any]) -> str:
        if not is_expression(entry):
            column = find_column(cleaned, entry)
            return "" if column is None else str(cleaned[column])
        try:
            return compile_expression(entry).value(cleaned)
        except TemplateProblem as error:
            raise UnfilledExpression(f"fields.{role} = '{entry}' cannot be filled: {error}") from None


def _cleaned(value: Any, clean: Callable[[Any], str]) -> Any:
    """Return a value as an expression reads it: without placeholders, and with digits that are certain."""
    return value if isinstance(value, bool) else clean(value)
