"""Pipedrive's fields, and its records as changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from crm_adapters.base import CONTACT, ContactChange, UnreadableRecord
from crm_adapters.http import DEAL, ApiField, LabelledList, Names, moment_of, numbered_id, value_at, without_id
from crm_adapters.opt_outs import Flag, OptOutRule

OBJECTS = {CONTACT: "persons", DEAL: "deals"}
LISTS = {
    "phone": LabelledList("phone", "phones", ("mobile", "work", "home", "other")),
    "email": LabelledList("email", "emails", ("work", "home", "other")),
}
"""The fields of persons that hold several values. They are described by either of their two names."""
_ALWAYS = {CONTACT: {"name": "Name", "phone": "Phone", "email": "Email"}, DEAL: {"title": "Title"}}
_COUNTS = """
    next_activity_id last_activity_id email_messages_count activities_count done_activities_count
    undone_activities_count files_count notes_count followers_count last_incoming_mail_time last_outgoing_mail_time
    smart_bcc_email
"""
ASKED_FOR = {
    CONTACT: frozenset(
        f"""
        {_COUNTS} open_deals_count related_open_deals_count closed_deals_count related_closed_deals_count
        participant_open_deals_count participant_closed_deals_count won_deals_count related_won_deals_count
        lost_deals_count related_lost_deals_count marketing_status doi_status
        """.split()
    ),
    DEAL: frozenset(f"{_COUNTS} first_won_time products_count participants_count source_lead_id".split()),
}
"""The fields that Pipedrive returns only if it is asked for them. It refuses to be asked for any other."""
_NUMBERS = dict.fromkeys(("int", "double", "monetary"), "number")
_TYPES = {**_NUMBERS, "boolean": "boolean", "date": "date", "daterange": "date", "phone": "phone"}
_OPT_OUT_TYPES = {
    **{"boolean": "boolean", "int": "number", "double": "number", "enum": "choice", "set": "choice"},
    **dict.fromkeys(("varchar", "varchar_auto", "text"), "text"),
}
_REFERENCES = {
    **dict.fromkeys(("user", "owner_id", "creator_user_id"), "users"),
    **dict.fromkeys(("org", "org_id"), "organizations"),
    **dict.fromkeys(("people", "person_id"), "persons"),
    **dict.fromkeys(("stage", "stage_id"), "stages"),
    "pipeline_id": "pipelines",
}
"""The types and the keys of fields whose values are ids of other records, and where those are."""
_ADDRESS = (
    "country admin_area_level_1 admin_area_level_2 locality sublocality route street_number subpremise postal_code"
)
_PARTS = {
    "monetary": ("currency",),
    "daterange": ("until",),
    "timerange": ("until",),
    "time": ("timezone_name",),
    "address": tuple(_ADDRESS.split()),
}
"""What the values of some types have besides the value itself."""

_FITTING = "a field of the type single option with the options Yes and No"
_LOCKED = "is not a custom field, so no opt-out is written to it; create a custom field"


def pipedrive_field(
    code: str,
    label: str,
    shape: str,
    kind: str,
    choices: Mapping[str, str] = MappingProxyType({}),
    is_custom: bool = False,
    is_optional: bool = False,
) -> ApiField:
    """Return a field of this type of Pipedrive. ``choices`` are its options, by id."""
    refers_to = _REFERENCES.get(shape) or ("" if is_custom else _REFERENCES.get(code, ""))
    is_moment = code.endswith("_time") and shape == "date"
    rule = OptOutRule(
        f'Pipedrive\'s field "{label or code}"',
        _OPT_OUT_TYPES.get(shape, shape),
        _FITTING,
        choices,
        "" if is_custom else _LOCKED,
        lambda flag: _option(flag, shape) if shape in ("enum", "set") else flag,
    )
    return ApiField(
        code,
        label,
        "choice" if choices else "datetime" if is_moment else _TYPES.get(shape, "text"),
        kind,
        rule,
        within="custom_fields" if is_custom else "",
        choices=choices,
        refers_to=refers_to,
        id_label=f"{label} ID",
        id_type="number",
        parts=_PARTS.get(shape, ()),
        entries=LISTS.get(code) if kind == CONTACT and not is_custom else None,
        is_on_request=is_custom or is_optional,
    )


def described_fields(items: Iterable[Any], kind: str) -> list[ApiField]:
    """Return the fields of Pipedrive's list of fields, and those that every record has."""
    found = {}
    for item in items:
        if value_at(item, "field_code"):
            code, is_custom = str(item["field_code"]), item.get("is_custom_field") is True
            if kind == CONTACT and not is_custom:
                code = next((one for one, several in LISTS.items() if code == several.plural), code)
            choices = {str(value_at(one, "id")): str(value_at(one, "label")) for one in item.get("options") or ()}
            title, shape = str(item.get("field_name") or ""), str(item.get("field_type") or "")
            is_optional = item.get("is_optional_response_field") is True
            found[code] = pipedrive_field(code, title, shape, kind, choices, is_custom, is_optional)
    usual = {code: pipedrive_field(code, label, "", kind) for code, label in _ALWAYS[kind].items()}
    return [*(usual | found).values()]


def change_of(
    kind: str, record: Any, where: str, fields: Sequence[ApiField], names: Mapping[str, Names]
) -> ContactChange | UnreadableRecord:
    """Return a record of a list as a change."""
    number = value_at(record, "id")
    if not is_id(number):
        return without_id("Pipedrive", OBJECTS[kind], where, f"{kind} {where}")
    person = record.get("person_id") if kind == DEAL else None
    is_deleted = record.get("is_deleted") is True or (kind == DEAL and record.get("status") == "deleted")
    properties: dict[str, Any] = {}
    for one in () if is_deleted else fields:
        properties |= one.values(record, names)
    return ContactChange(
        numbered_id(kind, number),
        properties,
        updated_at=moment_of(record.get("update_time")) or moment_of(record.get("add_time")),
        deleted=is_deleted,
        where=f"Pipedrive {OBJECTS[kind].removesuffix('s')} {number}",
        kind=kind,
        person=str(person) if is_id(person) else None,
    )


def _option(flag: Flag, shape: str) -> Any:
    """Return an option as Pipedrive wants it: its id, or in a field of several options a list of ids."""
    option = int(flag) if isinstance(flag, str) and flag.isdecimal() else flag
    return option if shape == "enum" or option is None else [option]


def is_id(value: Any) -> bool:
    """Return True if this is an id of Pipedrive."""
    return type(value) is int and value > 0
