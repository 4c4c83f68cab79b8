"""HubSpot's properties as fields, and its records as changes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from crm_adapters.base import CONTACT, ContactChange, UnreadableRecord
from crm_adapters.http import (
    DEAL,
    ApiField,
    Names,
    is_number,
    moment_of,
    numbered_id,
    value_at,
    without_id,
)
from crm_adapters.opt_outs import Flag, OptOutRule

MERGED = "hs_merged_object_ids"
"""The ids of the records that were merged into this one. Since 2025, the survivor often has a new id of its own."""
CHANGED = {"contacts": "lastmodifieddate", "deals": "hs_lastmodifieddate"}
"""The time of change that the search can filter by."""
KINDS = {"contacts": CONTACT, "deals": DEAL}
PLACES = ("dealstage", "pipeline")
"""The properties of deals whose values are ids of stages and pipelines."""
_TYPES = {
    "bool": "boolean",
    "number": "number",
    "date": "date",
    "datetime": "datetime",
    "enumeration": "choice",
    "phone_number": "phone",
}
_FITTING = "a single checkbox, or a choice of Yes and No,"
_LOCKED = "cannot be written: HubSpot sets it itself; name another one in do_not_text"


def hubspot_property(
    name: str,
    label: str,
    shown: str,
    options: Iterable[tuple[str, str]] = (),
    kind: str = CONTACT,
    *,
    refers_to: str = "",
    is_read_only: bool = False,
) -> ApiField:
    """Return a property of this type of field. ``options`` are pairs of value and label."""
    choices = dict(options)
    locked = _LOCKED if is_read_only else ""
    rule = OptOutRule(f'HubSpot\'s property "{name}"', shown, _FITTING, choices, locked, _written)
    return ApiField(
        name,
        label,
        shown,
        kind,
        rule,
        within="properties",
        choices=choices if shown == "choice" and not refers_to else {},
        keeps_values=True,
        refers_to=refers_to,
        is_on_request=True,
    )


def described_properties(items: Sequence[Any], objects: str) -> list[ApiField]:
    """Return the properties of HubSpot's list of properties."""
    known = {str(item["name"]): item for item in items if value_at(item, "name")}
    return [_described(name, item, objects, known.keys()) for name, item in known.items()]


def _described(name: str, item: Mapping[str, Any], objects: str, names: Collection[str]) -> ApiField:
    shown = _TYPES.get(str(item.get("type")), "text")
    shown = "email" if name == "email" else "phone" if item.get("fieldType") == "phonenumber" else shown
    is_owner, is_place = item.get("referencedObjectType") == "OWNER", objects == "deals" and name in PLACES
    refers_to = "owners" if is_owner else name if is_place else ""
    label_field = name.removesuffix("_id")
    is_taken = any(one in names for one in {label_field, f"{label_field}_id"} - {name})
    return hubspot_property(
        name,
        str(item.get("label") or ""),
        shown,
        [(str(value_at(one, "value", "")), str(value_at(one, "label", ""))) for one in item.get("options") or ()],
        KINDS[objects],
        refers_to="" if is_taken else refers_to,
        is_read_only=value_at(item, "modificationMetadata.readOnlyValue") is True,
    )


def record_changes(
    objects: str,
    item: Any,
    where: str,
    fields: Sequence[ApiField],
    names: Mapping[str, Names],
    people: Mapping[str, str | None],
) -> list[ContactChange | UnreadableRecord]:
    """Return the change of a record, and those of the records that were merged into it.

    ``people`` has the contact of each deal.
    """
    number, sent, kind = value_at(item, "id"), value_at(item, "properties"), KINDS[objects]
    if not is_number(number) or not isinstance(sent, Mapping):
        key = numbered_id(kind, number) if is_number(number) else ""
        return [without_id("HubSpot", objects, where, key)]
    external_id = numbered_id(kind, number)
    properties: dict[str, Any] = {}
    for one in fields:
        properties |= one.values(item, names)
    change = ContactChange(
        external_id,
        properties,
        updated_at=moment_of(sent.get(CHANGED[objects])) or moment_of(item.get("updatedAt")),
        where=f"HubSpot {kind} {number}",
        kind=kind,
        person=people.get(number),
    )
    losers = [one for one in merged_ids(sent.get(MERGED)) if one != number]
    gone = [numbered_id(kind, one) for one in losers]
    return [change, *(ContactChange(one, {}, deleted=True, merged_into=external_id, kind=kind) for one in gone)]


def merged_ids(value: Any) -> list[str]:
    """Return the ids of ``hs_merged_object_ids``: ``"17;23"``."""
    parts = value.replace(",", ";").split(";") if isinstance(value, str) else ()
    return list(dict.fromkeys(part.strip() for part in parts if is_number(part.strip())))


def _written(flag: Flag) -> str:
    """Return a value as HubSpot wants it: text, in which "" is an empty value."""
    return "" if flag is None else str(flag).lower() if isinstance(flag, bool) else str(flag)
