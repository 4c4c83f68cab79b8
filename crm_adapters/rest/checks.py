"""Looks at a few records of a list before anything depends on it: are the ids, times and marks where they should be?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from config.fields import FieldMapping
from crm_adapters.base import CONTACT, SourceInvalid
from crm_adapters.described import nearest_fields
from crm_adapters.fields import find_columns
from crm_adapters.http import value_at
from crm_adapters.rest.fields import describe_fields
from crm_adapters.rest.lists import PROBED, RestList, is_older
from crm_adapters.rest.options import ChangesFilter
from crm_adapters.rest.records import UnreadableItem

_MISSING = object()


def check_list(one: RestList, mapping: FieldMapping) -> str:
    """Read a page and return what was understood, in a line. Raises SourceInvalid for what was not."""
    items = one.first(PROBED).items
    if not items:
        return f"{one.where} has no records yet, so nothing could be tried"
    _check_ids(one, items)
    said = [f"{one.where} has ids"]
    if one.chosen.deleted is not None and one.chosen.deleted.field is not None and not one.chosen.omits_empty:
        _require(one, items, "deleted.field", one.chosen.deleted.field)
    if one.chosen.since is None:
        said.append("every run reads every record")
    else:
        said.append(_check_since(one, one.chosen.since, items))
    if one.shape.kind == CONTACT:
        said.append(_contact_fields(one, items, mapping))
    return ", ".join(said)


def _check_ids(one: RestList, items: Sequence[Any]) -> None:
    try:
        ids = [one.shape.external_id(item, one.chosen.id) for item in items]
    except UnreadableItem as problem:
        raise SourceInvalid(f"{one.where}: {problem}. Or correct id in the options of this connection") from None
    if len(set(ids)) < len(ids):
        raise SourceInvalid(
            f'{one.where}: two records have the same "{one.chosen.id}", so it is not an id; correct id in the options'
            " of this connection"
        )


def _check_since(one: RestList, since: ChangesFilter, items: Sequence[Any]) -> str:
    _require(one, items, "since.field", since.field)
    times = [moment for item in items if (moment := one.shape.changed(item)) is not None]
    if not times:
        raise SourceInvalid(
            f'{one.where}: "{since.field}" holds no time that can be read; set since.field to the time of change'
        )
    newest = max(times)
    found = one.first(len(items), newest).items
    later = [moment for item in found if (moment := one.shape.changed(item)) is not None]
    if not found:
        raise SourceInvalid(
            f'{one.where}: "{since.parameter}" finds nothing since {newest:%Y-%m-%d %H:%M} UTC, although a record'
            " changed then; correct since.parameter, since.format and timezone"
        )
    if any(is_older(since, newest, moment) for moment in later):
        raise SourceInvalid(
            f'{one.where} ignores "{since.parameter}": it sends records that are older than what was asked for; correct'
            " since.parameter and since.format, or remove since, and every run reads every record"
        )
    return f'changes by "{since.parameter}" (newest here {_minute(newest)})'


def _contact_fields(one: RestList, items: Sequence[Any], mapping: FieldMapping) -> str:
    columns = find_columns(tuple(sorted(_names(one, items))), mapping)
    names = columns.full_name or columns.name_parts or columns.bare_name
    parts = {"phone": columns.phones, "name": names, "email": columns.emails}
    return ", ".join(f"{part} {_listed(found)}" for part, found in parts.items())


def _require(one: RestList, items: Sequence[Any], option: str, path: str) -> None:
    if any(isinstance(item, Mapping) and value_at(item, path, _MISSING) is not _MISSING for item in items):
        return
    fields = describe_fields(one.shape.kind, one.shape, items, sorted(_names(one, items)), FieldMapping())
    near = nearest_fields(path, fields)
    hint = f"; similar fields: {', '.join(near)}" if near else ""
    raise SourceInvalid(f'{one.where}: no record has "{path}"; correct {option}{hint}')


def _names(one: RestList, items: Sequence[Any]) -> set[str]:
    return {name for item in items for name in one.shape.properties(item)}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names[:3]) or "not found"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
