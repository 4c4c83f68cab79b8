"""Compares the fields that a source has with those that the configuration names. `vtsync check` and `vtsync fields`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel

from config.connections import Connection
from config.models import PropertyRule, Settings
from crm_adapters.base import CONTACT, Adapter, CrmField, SourceUnavailable
from crm_adapters.described import field_title, find_field, nearest_fields, shared_labels
from crm_adapters.fields import find_columns
from crm_adapters.policy_columns import PolicyColumn, is_about_texts, policy_column
from worker.contacts.connection_gate import paused_reason
from worker.contacts.services import open_adapter
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.phones import mask
from worker.messages.permission import is_field_of
from worker.policy.answers import Meaning, allows_texts, forbids_texts, is_listed, meaning_of
from worker.runtime import Runtime
from worker.triggers.wanted import FieldUse, field_uses

SAMPLES = 3
_LONGEST_SAMPLE = 30
_EMAIL = re.compile(r"([^\s@<>,;:\"]{1,64})@([^\s@<>,;\"]+)")
_PHONE = re.compile(r"\+?\(?\d[\d\s()./\-\u00a0]{5,}\d")
_DAY = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}(?:[ T].*)?")
_FEWEST_DIGITS = 7


@dataclass(frozen=True, slots=True)
class FieldReport:
    """A field of a source. ``samples`` are some of its values, without phone numbers and email addresses.

    ``used_for`` are the keys of the configuration that name the field, and what it is used for by its usual name.
    """

    name: str
    label: str
    type: str
    kind: str
    samples: tuple[str, ...]
    used_for: tuple[str, ...]


def report_fields(runtime: Runtime, connection: str) -> list[FieldReport]:
    """Ask the source of a connection for its fields. Raises AdapterError, also for a connection that is paused."""
    if paused := paused_reason(runtime.engine, connection):
        raise SourceUnavailable(paused)
    with closing(open_adapter(runtime, connection)) as adapter:
        fields = list(adapter.describe())
        usual = _by_usual_names(runtime.settings.connections[connection], adapter, fields)
    uses = field_uses(runtime.settings, connection)
    return [
        FieldReport(
            field.name,
            field.label,
            field.type,
            field.kind,
            samples_of(field),
            tuple(dict.fromkeys([use.where for use in uses if _meant(use, fields) == field] + usual.get(field, []))),
        )
        for field in fields
    ]


def _by_usual_names(
    configured: Connection, adapter: Adapter, fields: Sequence[CrmField]
) -> Mapping[CrmField, list[str]]:
    """Return what the contact is read from where the configuration names no fields."""
    if type(adapter).contact_fields is not Adapter.contact_fields:
        return {}
    people = {field.name: field for field in fields if field.kind == CONTACT}
    columns = find_columns(tuple(people), configured.fields.or_else(adapter.usual))
    roles = {
        "phone": columns.phones,
        "full_name": (*columns.full_name, *columns.name_parts, *columns.bare_name),
        "email": columns.emails,
        "country": columns.country,
    }
    found: dict[CrmField, list[str]] = {}
    for role, names in roles.items():
        for name in names if not getattr(configured.fields, role) else ():
            found.setdefault(people[name], []).append(f"{role}, by its usual name")
    return found


def samples_of(field: CrmField) -> tuple[str, ...]:
    """Return a few of the values of a field, short and masked. Pure."""
    return tuple(shown for value in field.values if (shown := _sample(value)))[:SAMPLES]


def may_name_deleted(options: BaseModel) -> bool:
    """Return True if an adapter reads a field that marks deleted records only if its options name it. Pure."""
    declared = type(options).model_fields.get("deleted")
    if declared is None or getattr(options, "deleted", None) is not None:
        return False
    # An option that can say that there is no such field finds it by its usual names.
    return not any(False in get_args(part) for part in get_args(declared.annotation))


def judge_fields(
    settings: Settings, connection: str, fields: Sequence[CrmField], *, deleted: bool = False
) -> list[Finding]:
    """Judge the names in the configuration of a connection by the fields that its source has. Pure.

    ``deleted``: the option of the adapter that names the field of deleted records is not set.
    """
    what, configured = f"connection {connection}", settings.connections[connection]
    if not fields:
        return [
            warning(
                FindingCode.FIELDS_UNKNOWN,
                what,
                "the source names no fields",
                "a misspelt field in the configuration is not found before a sync",
                f"look at the source; then run `vtsync fields {connection}`",
            )
        ]
    return [
        *_unknown_names(what, settings, connection, fields),
        *_policy_values(what, configured, fields),
        *_unused_policy_columns(what, connection, configured, fields, deleted=deleted),
    ]


def _unknown_names(what: str, settings: Settings, connection: str, fields: Sequence[CrmField]) -> Iterator[Finding]:
    uses = field_uses(settings, connection)
    unknown = [use for use in uses if _meant(use, fields) is None]
    for use in unknown:
        # A trigger that watches several connections may use a field that only some of them have.
        level = warning if _watches_others(settings, use) else problem
        yield level(
            FindingCode.FIELD_MISSING,
            what,
            f'{use.where}: the source has no field "{use.field}"{_kind_text(use)}',
            _consequence(use.where),
            _remedy(connection, use, fields),
        )
    if not unknown and uses:
        names = dict.fromkeys(use.field for use in uses)
        yield ok(what, f"the source has every field that the configuration names ({len(names)} of {len(fields)})")


def _meant(use: FieldUse, fields: Sequence[CrmField]) -> CrmField | None:
    return find_field(use.field, [field for field in fields if field.kind == use.kind])


def _watches_others(settings: Settings, use: FieldUse) -> bool:
    table, name = use.where.split(".")[:2]
    return table == "triggers" and len(settings.triggers[name].connections) > 1


def _kind_text(use: FieldUse) -> str:
    return "" if use.kind == CONTACT else f" (of a {use.kind})"


def _consequence(where: str) -> str:
    if where.endswith((".do_not_text.field", ".consent.field")):
        return "it is not known who may be texted, so all texts to these people are held"
    if where.startswith("triggers."):
        return "the trigger does not do what it says"
    return "the field stays empty for every record"


def _remedy(connection: str, use: FieldUse, fields: Sequence[CrmField]) -> str:
    mine = [field for field in fields if field.kind == use.kind]
    if shared := shared_labels(use.field, mine):
        return f"{len(shared)} fields have this label; write the name of one: {', '.join(shared)}"
    near = nearest_fields(use.field, mine)
    similar = f"similar fields: {', '.join(near)}; " if near else ""
    return f"{similar}correct the name (`vtsync fields {connection}` lists all fields)"


def _policy_values(what: str, configured: Connection, fields: Sequence[CrmField]) -> Iterator[Finding]:
    """Say how the values of the policy fields are read, and which configured values no record can have."""
    for name, rule in _rules(configured):
        field = find_field(rule.field, [one for one in fields if one.kind == CONTACT])
        if field is None or not field.values:
            continue
        says = forbids_texts if name == PolicyColumn.DO_NOT_TEXT else allows_texts
        verb = "forbid" if name == PolicyColumn.DO_NOT_TEXT else "allow"
        yes = [value for value in field.values if says(value, rule.values)]
        no = [value for value in field.values if value not in yes]
        yield ok(
            what,
            f'{name} reads "{rule.field}": values that {verb} texts: {listed_values(yes)}; others: {listed_values(no)}',
        )
        strange = [value for value in rule.values if not any(_same(value, choice) for choice in field.values)]
        if field.type == "choice" and strange:
            yield warning(
                FindingCode.CHOICE_UNKNOWN,
                what,
                f'{name}.values: the field "{rule.field}" has no choice {listed_values(strange)}',
                f"no record can have it, so it does not {verb} texts",
                f"its choices are: {listed_values(field.values)}",
            )


def _unused_policy_columns(
    what: str, connection: str, configured: Connection, fields: Sequence[CrmField], *, deleted: bool
) -> Iterator[Finding]:
    rules = dict(_rules(configured))
    people = [field for field in fields if field.kind == CONTACT]
    used = {find_field(rule.field, people) for rule in rules.values()}
    for kind, meaning, why in _KINDS:
        found = [
            field
            for field in people
            if policy_column(field) is kind
            and field not in used
            and not any(is_field_of(rule, field.name) for rule in rules.values())
        ]
        if not found or (kind is PolicyColumn.DELETED and not deleted):
            continue
        found.sort(key=lambda field: not is_about_texts(field))
        names = ", ".join(f'"{field_title(field)}"' for field in found)
        if kind in rules and find_field(rules[kind].field, people) is not None:
            yield ok(what, f"{names} {meaning}, and is not used, because {kind} names another field")
            continue
        table = f"connections.{connection}{'.options' if kind is PolicyColumn.DELETED else ''}"
        name = json.dumps(found[0].name, ensure_ascii=False)
        line = f"{kind} = {name}" if kind is PolicyColumn.DELETED else f"{kind} = {{ field = {name} }}"
        change = "write in" if kind in rules else "add to"
        yield warning(
            FindingCode.FIELD_UNUSED, what, f"{names} {meaning}, and is not used", why, f"{change} [{table}]:  {line}"
        )


_KINDS = (
    (
        PolicyColumn.DO_NOT_TEXT,
        "says by its name who must not be texted",
        "people who asked for no texts are texted",
    ),
    (
        PolicyColumn.CONSENT,
        "says by its name who agreed to be texted",
        "people who did not agree are texted; in the US that is illegal for marketing",
    ),
    (
        PolicyColumn.DELETED,
        "says by its name which records are deleted",
        "deleted records are synced and texted like all others",
    ),
)


def _rules(configured: Connection) -> list[tuple[str, PropertyRule]]:
    rules = (("do_not_text", configured.do_not_text), ("consent", configured.consent))
    return [(name, rule) for name, rule in rules if rule is not None]


def _same(value: str, choice: str) -> bool:
    both = {meaning_of(value), meaning_of(choice)}
    return is_listed(choice, (value,)) or both in ({Meaning.YES}, {Meaning.NO})


def listed_values(values: Sequence[str]) -> str:
    """Return some values for a person, short and masked."""
    return ", ".join(f'"{_sample(value)}"' for value in values[:8]) + (" ..." if len(values) > 8 else "") or "none"


def _sample(value: str) -> str:
    """Return a value on one line, cut, without phone numbers and email addresses."""
    text = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    text = _EMAIL.sub(lambda found: f"{found[1][0]}•••@{found[2]}", text)
    if not _DAY.fullmatch(text):
        text = _PHONE.sub(_masked, text)
    return text if len(text) <= _LONGEST_SAMPLE else f"{text[: _LONGEST_SAMPLE - 1]}…"


def _masked(found: re.Match[str]) -> str:
    digits = re.sub(r"[^\d+]", "", found[0])
    return mask(digits) if len(digits) >= _FEWEST_DIGITS else found[0]
