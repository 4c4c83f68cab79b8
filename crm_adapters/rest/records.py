"""Turns the JSON of one record into a change, by the options. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from crm_adapters.base import CONTACT, ContactChange, UnreadableRecord
from crm_adapters.http import flatten, moment_of, value_at
from crm_adapters.rest.options import DeletedOptions, ListOptions, ObjectOptions
from crm_adapters.sql.values import is_true

_MISSING = object()
_LONGEST_ID = 255


class UnreadableItem(ValueError):
    """An entry of a list cannot be read as a record. The text is a sentence for a person."""


class RecordShape:
    """Reads the records of one list."""

    def __init__(self, vendor: str, kind: str, options: ListOptions, zone: ZoneInfo) -> None:
        self.vendor = vendor
        self.kind = kind
        self.options = options
        self.zone = zone

    def external_id(self, item: Any, path: str) -> str:
        """Return the external id of an entry. Raises UnreadableItem."""
        found = item if path == "" else value_at(item, path, None) if isinstance(item, Mapping) else None
        if isinstance(found, bool) or not isinstance(found, str | int) or str(found).strip() == "":
            raise UnreadableItem(f'The record has no id at "{path}"; look at it in {self.vendor}')
        if len(text := str(found)) > _LONGEST_ID:
            raise UnreadableItem(f'The id at "{path}" is longer than {_LONGEST_ID} characters; choose another id')
        return text if self.kind == CONTACT else f"{self.kind}-{text}"

    def changed(self, item: Any) -> datetime | None:
        """Return a record's time of change, or None."""
        since = self.options.since
        return (
            None
            if since is None or not isinstance(item, Mapping)
            else moment_of(value_at(item, since.field), self.zone)
        )

    def change(
        self, item: Any, properties: dict[str, Any], known: Sequence[str], where: str
    ) -> ContactChange | UnreadableRecord:
        """Return a record. ``known`` are the names of all fields that the list is known to have."""
        content = json.dumps(item, default=str)
        key = f"entry {hashlib.blake2b(content.encode(), digest_size=8).hexdigest()}"
        try:
            key = self.external_id(item, self.options.id)
            return ContactChange(
                key,
                self._complete(item, properties, known),
                self.changed(item),
                deleted=self.is_deleted(item),
                where=f"record {key}",
                kind=self.kind,
                person=self._person(item),
            )
        except UnreadableItem as problem:
            excerpt = ", ".join(item) if isinstance(item, Mapping) else content
            return UnreadableRecord(key, str(problem), where, "".join(filter(str.isprintable, excerpt[:200])))

    def removal(self, item: Any, path: str, where: str) -> ContactChange | UnreadableRecord:
        """Return the deletion of the record that an entry of a list of deleted records names."""
        try:
            key = self.external_id(item, path)
        except UnreadableItem as problem:
            return UnreadableRecord(where, str(problem), where)
        return ContactChange(key, {}, self.changed(item), deleted=True, where=f"record {key}", kind=self.kind)

    def is_deleted(self, item: Any, *, strict: bool = True) -> bool:
        """Return True for a record that is marked as deleted. Raises UnreadableItem if the mark is missing."""
        deleted = self.options.deleted
        if deleted is None or deleted.field is None:
            return False
        found = value_at(item, deleted.field, _MISSING)
        if found is _MISSING:
            if self.options.omits_empty or not strict:
                return False
            raise UnreadableItem(
                f'The record has no field "{deleted.field}", so it is not known if it is deleted; correct'
                " deleted.field, or set omits_empty = true if the API leaves out empty fields"
            )
        return marks_deleted(deleted, found)

    def _person(self, item: Mapping[str, Any]) -> str | None:
        if not isinstance(self.options, ObjectOptions):
            return None
        found = value_at(item, self.options.person, _MISSING)
        if found is _MISSING and not self.options.omits_empty and not _is_within_empty(item, self.options.person):
            raise UnreadableItem(
                f'The record has no field "{self.options.person}", so it is not known to whom it belongs; correct'
                " person, or set omits_empty = true if the API leaves out empty fields"
            )
        if isinstance(found, list) and found:
            found = found[0]
        is_id = isinstance(found, str | int) and not isinstance(found, bool) and found != ""
        return str(found) if is_id else None

    def properties(self, item: Any) -> dict[str, Any]:
        """Return the fields that a record has; none for an entry that is no record."""
        if not isinstance(item, Mapping):
            return {}
        own: dict[str, Any] = {}
        for name, path in self.options.fields.items():
            self._add(own, name, item, path)
        for name, (label, identifier) in self.options.references.items():
            self._add(own, name, item, label)
            self._add(own, f"{name}_id", item, identifier)
        return flatten(item) | own

    def _add(self, own: dict[str, Any], name: str, item: Mapping[str, Any], path: str) -> None:
        """Add the value at a path. A field that the record lacks is unknown, unless the API leaves out empty ones."""
        found = value_at(item, path, _MISSING)
        if found is not _MISSING:
            own |= flatten({name: found})
            own.setdefault(name, None)
        elif self.options.omits_empty or _is_within_empty(item, path):
            own[name] = None

    def _complete(self, item: Mapping[str, Any], found: dict[str, Any], known: Sequence[str]) -> dict[str, Any]:
        """Add the known fields that the record lacks if they are empty, and not if they are unknown."""
        for name in known:
            if name not in found and (
                self.options.omits_empty or _is_within_empty(item, name) or _is_beside_empty(item, name)
            ):
                found[name] = None
        return found


def marks_deleted(deleted: DeletedOptions, value: Any) -> bool:
    """Return True if this value of the field means deleted."""
    if deleted.values:
        return _as_text(value) in {_as_text(one) for one in deleted.values}
    return bool(value) if isinstance(value, Mapping | list) else is_true(value)


def _as_text(value: Any) -> str:
    return str(value).strip().casefold()


def _is_within_empty(item: Any, path: str) -> bool:
    """Return True if the path leads into something empty: ``address.city`` of a null, ``phones.0`` of an empty list."""
    while isinstance(item, Mapping) and "." in path:
        name, _, path = path.partition(".")
        if name not in item:
            return False
        item = item[name]
        if item in (None, "") or isinstance(item, list):
            return True
    return False


def _is_beside_empty(item: Mapping[str, Any], name: str) -> bool:
    """Return True for a field that ``flatten`` makes of a longer list or of a reference: ``phones_2``, ``owner_id``."""
    base, _, suffix = name.rpartition("_")
    return (
        (suffix == "id" or suffix.isdecimal())
        and base in item
        and (item[base] in (None, "") or isinstance(item[base], list))
    )
