"""What templates and conditions can use of a record: plain values only, and nothing that is empty. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from crm_adapters.fields import is_name_column, is_placeholder
from worker.triggers.values import Scalar, scalar, slug

CONTACT_FIELDS = ("phone", "full_name", "first_name", "email")

_Missing: TypeAlias = Callable[[str, Scalar], bool]
"""Return True if the value of the field with this name stands for a missing one."""


def text_context(
    properties: Mapping[str, Any], old: Mapping[str, Any] | None, contact: Mapping[str, str]
) -> dict[str, Any]:
    """Return what a template can use. A name such as "unknown" or "(none)" counts as empty.

    The record's fields by their template names (``first_name`` for "First Name"; if two have the same template name,
    the first in the alphabet counts), ``record`` (by their own names: ``record["First Name"]``), ``old`` (the version
    before, by template names; empty for a new record), ``contact`` (phone, full_name, first_name, email, as VirtualText
    holds them).
    """
    return _context(properties, old, contact, _is_no_name)


def condition_context(properties: Mapping[str, Any], contact: Mapping[str, str]) -> dict[str, Any]:
    """Return what a condition can use: the same, but names as they are, so that a condition can ask for "unknown"."""
    return _context(properties, None, contact, _never)


def _context(
    properties: Mapping[str, Any], old: Mapping[str, Any] | None, contact: Mapping[str, str], missing: _Missing
) -> dict[str, Any]:
    record = _filled(properties, missing)
    return _by_slug(record, properties) | {
        "record": record,
        "old": _by_slug(_filled(old or {}, missing), old or {}),
        "contact": _person(contact, missing),
    }


def _person(contact: Mapping[str, str], missing: _Missing) -> dict[str, Scalar]:
    person = _filled({name: contact.get(name) for name in ("phone", "email", "full_name")}, missing)
    full_name = person.get("full_name")
    if not isinstance(full_name, str) or not any(map(str.isalpha, full_name)):
        person.pop("full_name", None)  # some CRMs put the number where the name is missing
        return person
    first_name = full_name.split()[0].rstrip(",")
    return person if missing("first_name", first_name) else person | {"first_name": first_name}


def _is_no_name(field: str, value: Scalar) -> bool:
    return isinstance(value, str) and is_name_column(field) and is_placeholder(value)


def _never(_field: str, _value: Scalar) -> bool:
    return False


def _by_slug(values: Mapping[str, Scalar], properties: Mapping[str, Any]) -> dict[str, Any]:
    owners: dict[str, str] = {}
    for name in sorted(properties):  # the order of ``property_named``; an empty field keeps its name from another one
        owners.setdefault(slug(name), name)
    return {key: values[name] for key, name in owners.items() if name in values}


def _filled(properties: Mapping[str, Any], missing: _Missing) -> dict[str, Scalar]:
    found = {name: scalar(value) for name, value in properties.items()}
    return {name: value for name, value in found.items() if value is not None and not missing(name, value)}
