"""Describes the fields of some records by their names and values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from config.fields import FieldMapping
from crm_adapters.base import CONTACT, CrmField
from crm_adapters.fields import find_columns
from crm_adapters.http import moment_of
from crm_adapters.rest.records import RecordShape

SAMPLES = 5
_LONGEST = 60


def describe_fields(
    kind: str, shape: RecordShape, items: Sequence[Any], known: Sequence[str], mapping: FieldMapping
) -> list[CrmField]:
    """Return all known fields of a list, with samples from these records."""
    records = list(map(shape.properties, items))
    columns = find_columns(tuple(known), mapping)
    described = []
    for name in known:
        values = [record[name] for record in records if record.get(name) not in (None, "")]
        samples = dict.fromkeys(str(value)[:_LONGEST] for value in values)
        held = "phone" if name in columns.phones else "email" if name in columns.emails else type_of(values)
        described.append(
            CrmField(
                name, type=held if kind == CONTACT else type_of(values), values=tuple(samples)[:SAMPLES], kind=kind
            )
        )
    return described


def type_of(values: Sequence[Any]) -> str:
    """Return the type that all of these values have."""
    if not values:
        return ""
    if all(isinstance(value, bool) for value in values):
        return "boolean"
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "number"
    if all(isinstance(value, str) and "-" in value and moment_of(value) is not None for value in values):
        return "datetime" if any(len(value) > len("2026-03-01") for value in values) else "date"
    return "text"
