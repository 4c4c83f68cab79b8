"""What templates and conditions can use of a record: plain values only, and nothing that is empty. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from crm_adapters.fields import is_name_column
from crm_adapters.placeholders import is_no_name
from worker.triggers.names import first_name_of
from worker.triggers.values import Scalar, alike, scalar, slug

CONTACT_FIELDS = ("phone", "full_name", "first_name", "email")
REGION = "the region"
ZONES = "the time zones"
FIELDS = "fields by name"
"""Keys of the region, of a function that returns the person's possible time zones, and of the fields as ``Fields``.

No template can name them, because they have spaces.
"""

Zones: TypeAlias = Callable[[], Sequence[str]]
"""Returns the time zones that a person may be in; none if nothing is known."""
_Missing: TypeAlias = Callable[[str, Scalar], bool]
"""Return True if the value of the field with this name stands for a missing one."""


def text_context(
    properties: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    contact: Mapping[str, str],
    region: str | None = None,
    zones: Zones = tuple,
) -> dict[str, Any]:
    """Return what a template can use. A name such as "unknown" or "(none)" counts as empty.

    The record's fields by their template names (``first_name`` for "First Name"; if two have the same template name,
    the first in the alphabet counts), ``record`` (by their own names: ``record["First Name"]``), ``old`` (the version
    before, by template names; empty for a new record), ``contact`` (the person: phone, full_name, first_name, email).
    ``region`` says how the record's dates and numbers are written. ``zones`` is called only if a time has to be put on
    the person's clock.
    """
    return _context(properties, old, contact, region, _is_no_name) | {ZONES: zones}


def condition_context(
    properties: Mapping[str, Any], contact: Mapping[str, str], region: str | None = None
) -> dict[str, Any]:
    """Return what a condition can use: the same, but names as they are, so that a condition can ask for "unknown"."""
    return _context(properties, None, contact, region, _never)


class Fields(dict[str, Any]):
    """Values by name. A name that is not there means the only property that differs just in case or punctuation."""

    def __init__(self, values: Mapping[str, Any], properties: Mapping[str, Any], filled: Mapping[str, Scalar]) -> None:
        super().__init__(values)
        self._properties = properties
        self._filled = filled

    def __missing__(self, name: str) -> Scalar:
        """Return the value of the property with nearly this name. Raises KeyError."""
        key = alike(name, self._properties)
        if key is None:
            raise KeyError(name)
        return self._filled[key]


def _context(
    properties: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    contact: Mapping[str, str],
    region: str | None,
    missing: _Missing,
) -> dict[str, Any]:
    record = _filled(properties, missing)
    fields = _by_slug(record, properties)
    return dict(fields) | {
        "record": Fields(record, properties, record),
        "old": _by_slug(_filled(old or {}, missing), old or {}),
        "contact": _person(contact, missing),
        REGION: region,
        FIELDS: fields,
    }


def _person(contact: Mapping[str, str], missing: _Missing) -> dict[str, Scalar]:
    person = _filled({name: contact.get(name) for name in ("phone", "email", "full_name")}, missing)
    full_name = person.get("full_name")
    if not isinstance(full_name, str) or not any(map(str.isalpha, full_name)):
        person.pop("full_name", None)  # some CRMs put the number where the name is missing
        return person
    first_name = first_name_of(full_name)
    return person | {"first_name": first_name} if first_name else person


def _is_no_name(field: str, value: Scalar) -> bool:
    return isinstance(value, str) and is_name_column(field) and is_no_name(value)


def _never(_field: str, _value: Scalar) -> bool:
    return False


def _by_slug(values: Mapping[str, Scalar], properties: Mapping[str, Any]) -> Fields:
    owners: dict[str, str] = {}
    for name in sorted(properties):  # the order of ``property_named``; an empty field keeps its name from another one
        owners.setdefault(slug(name), name)
    return Fields({key: values[name] for key, name in owners.items() if name in values}, properties, values)


def _filled(properties: Mapping[str, Any], missing: _Missing) -> dict[str, Scalar]:
    found = {name: scalar(value) for name, value in properties.items()}
    return {name: value for name, value in found.items() if value is not None and not missing(name, value)}
