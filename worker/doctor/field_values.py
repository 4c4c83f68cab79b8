"""Compares the values that triggers ask for with those that the fields of a source have. `vtsync check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from config.connections import Connection
from config.models import Settings
from crm_adapters.base import CONTACT, CrmField
from crm_adapters.described import find_field
from worker.core.findings import Finding, FindingCode, warning
from worker.doctor.fields import listed_values
from worker.triggers.compared import ComparedField, compared_fields
from worker.triggers.date_text import possible_dates, read_date
from worker.triggers.number_text import read_amount
from worker.triggers.same_value import is_same
from worker.triggers.values import scalar

_NO_DATES = {
    "boolean": "a tick box",
    "phone": "a phone number",
    "email": "an email address",
    "reference": "a reference",
}


def judge_values(settings: Settings, connection: str, fields: Sequence[CrmField]) -> Iterator[Finding]:
    """Find what no record can have, and what triggers cannot read, by the choices and the examples of a field. Pure."""
    what, region = f"connection {connection}", settings.connections[connection].default_region
    yield from _owners_without_a_choice(what, connection, settings.connections[connection], fields)
    for asked in compared_fields(settings, connection):
        field = find_field(asked.field, [one for one in fields if one.kind == asked.kind])
        if field is None:
            continue  # which is said already
        if asked.value is not None and not asked.ordered:
            yield from _no_such_choice(what, asked, field, region)
        else:
            yield from _unreadable(what, connection, asked, field, region)


def _owners_without_a_choice(
    what: str, connection: str, configured: Connection, fields: Sequence[CrmField]
) -> Iterator[Finding]:
    people = [field for field in fields if field.kind == CONTACT]
    owners = [field for name in configured.fields.owner if (field := find_field(name, people)) is not None]
    if not owners or any(field.type != "choice" or not field.values for field in owners):
        return
    known = {value.strip().casefold() for field in owners for value in field.values}
    for owner in configured.owner_numbers:
        if owner.strip().casefold() not in known:
            yield warning(
                FindingCode.CHOICE_UNKNOWN,
                what,
                f'connections.{connection}.owner_numbers: no field of fields.owner has the choice "{owner}"',
                "no record can have this owner, so nothing is sent from the number",
                f"the choices are: {listed_values([value for field in owners for value in field.values])}",
            )


def _no_such_choice(what: str, asked: ComparedField, field: CrmField, region: str | None) -> Iterator[Finding]:
    if field.type != "choice" or not field.values or any(_is(choice, asked, region) for choice in field.values):
        return
    alike = [choice for choice in field.values if is_same(choice, asked.value, region)]
    why = "capitals and small letters count in a condition" if alike else "no record can have it"
    yield warning(
        FindingCode.CHOICE_UNKNOWN,
        what,
        f'{asked.where}: the field "{asked.field}" has no choice "{asked.value}"',
        why,
        f"its choices are: {listed_values(alike or field.values)}",
    )


def _is(choice: str, asked: ComparedField, region: str | None) -> bool:
    if choice == asked.value or not asked.exact:
        return is_same(choice, asked.value, region)
    first, second = read_amount(choice, region), read_amount(asked.value, region)
    return first is not None and second is not None and is_same(choice, asked.value, region)


def _unreadable(
    what: str, connection: str, asked: ComparedField, field: CrmField, region: str | None
) -> Iterator[Finding]:
    """Find a field that holds no dates or numbers, or others than can be read."""
    dates = asked.value is None or bool(possible_dates(asked.value, region))
    numbers = not dates and read_amount(asked.value, region) is not None
    if not (dates or numbers):
        return
    kind = "a date" if dates else "a number"
    if field.type in _NO_DATES:
        yield warning(
            FindingCode.VALUES_UNREADABLE,
            what,
            f'{asked.where}: the field "{asked.field}" is {_NO_DATES[field.type]}, not {kind}',
            "the trigger cannot read it, so it texts nobody about such a record",
            f"name another field (`vtsync fields {connection}` lists all fields)",
        )
        return
    filled = [value for value in field.values if scalar(value) is not None]
    odd = [value for value in filled if (read_date if dates else read_amount)(value, region) is None]
    if odd:
        ambiguous = any(len(possible_dates(value, None)) > 1 for value in odd) and region is None
        yield warning(
            FindingCode.VALUES_UNREADABLE,
            what,
            f'{asked.where}: {len(odd)} of {len(filled)} values of "{asked.field}" that were looked at cannot be read '
            f"as {kind}: {listed_values(odd)}",
            "the trigger texts nobody about such a record; `vtsync status --unread` names them after a sync",
            f"set connections.{connection}.default_region"
            if ambiguous
            else "correct the values in the CRM, or set connections."
            f"{connection}.default_region to the country of those who write them",
        )
