"""Fields that a CRM describes: what they are called in properties, and their values by type. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from config.fields import FieldMapping
from crm_adapters.base import CONTACT, CrmField
from crm_adapters.fields import find_columns
from crm_adapters.http.records import Scalar, chosen_fields, scalar_of, value_at
from crm_adapters.opt_outs import OptOutRule

Names: TypeAlias = Mapping[Any, str | None]
"""The names of records by their ids."""


@dataclass(frozen=True, slots=True)
class LabelledList:
    """A person's phones or emails: ``[{"value": "1", "label": "work", "primary": true}]``.

    They become the fields ``phone`` (the primary one, or else the first), ``phone_work`` (the first with this label)
    and ``phones`` (all). ``sorts`` are the labels; an entry with any other one counts as the last of them.
    """

    name: str
    plural: str
    sorts: tuple[str, ...]

    def described(self, label: str) -> Iterator[CrmField]:
        """Yield the fields that persons have for it. ``label`` is the CRM's own for the list."""
        yield CrmField(self.name, label, self.name, (), CONTACT)
        for sort in self.sorts:
            yield CrmField(f"{self.name}_{sort}", f"{label} - {sort.capitalize()}", self.name, (), CONTACT)
        yield CrmField(self.plural, f"All {self.plural}", "text", (), CONTACT)

    def values(self, entries: Any) -> dict[str, Scalar]:
        """Return the values of these fields."""
        given = [one for one in entries if isinstance(one, Mapping)] if isinstance(entries, list) else []
        given.sort(key=lambda one: one.get("primary") is not True)
        found: dict[str, Scalar] = dict.fromkeys((self.name, *(f"{self.name}_{sort}" for sort in self.sorts)))
        every: list[Scalar] = []
        for one in given:
            value, sort = scalar_of(one.get("value")), str(one.get("label")).lower()
            if value in (None, ""):
                continue
            every.append(value)
            for name in (self.name, f"{self.name}_{sort if sort in self.sorts else self.sorts[-1]}"):
                found[name] = value if found[name] is None else found[name]
        return found | {self.plural: _joined(every)}


@dataclass(frozen=True, slots=True)
class ApiField:
    """A field as the CRM describes it. ``key`` is its name in a record, ``type`` is that of ``CrmField``.

    ``within``: the object of a record that has the field; there, a missing key is an empty field. ``choices`` are
    values and their labels; records show the labels, unless ``keeps_values``. ``refers_to``: the values are ids of
    other records; such a field becomes ``owner`` with the name and ``owner_id``. ``parts``: a value is an object that
    has these besides ``value``. ``entries``: the value is a list of phones or emails. ``is_on_request``: the CRM
    returns the field only if it is asked for it. ``rule`` is for opt-outs.
    """

    key: str
    label: str
    type: str
    kind: str
    rule: OptOutRule
    within: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    keeps_values: bool = False
    refers_to: str = ""
    id_label: str = ""
    id_type: str = "text"
    parts: tuple[str, ...] = ()
    entries: LabelledList | None = None
    is_on_request: bool = False

    @property
    def name(self) -> str:
        """The name of its main property."""
        return self.key.removesuffix("_id") if self.refers_to else self.key

    def described(self) -> Iterator[CrmField]:
        """Yield the properties that records have for it."""
        if self.entries:
            yield from self.entries.described(self.label)
            return
        choices = dict.fromkeys(one for one in (self.choices if self.keeps_values else self.choices.values()) if one)
        yield CrmField(self.name, self.label, "reference" if self.refers_to else self.type, (*choices,), self.kind)
        if self.refers_to:
            yield CrmField(f"{self.name}_id", self.id_label, self.id_type, (), self.kind)
        for part in self.parts:
            yield CrmField(f"{self.name}.{part}", f"{self.label} {part}", "text", (), self.kind)

    def values(self, record: Mapping[str, Any], names: Mapping[str, Names]) -> dict[str, Any]:
        """Return the properties that a record has for it; none if the record does not say.

        ``names`` are those of the records that are referred to, by ``refers_to``. The name of an id that is not there
        is left out: it is unknown.
        """
        holder = record.get(self.within) if self.within else record
        if not isinstance(holder, Mapping) or not (self.within or self._source in holder):
            return {}
        value = holder.get(self._source)
        if self.entries:
            return dict(self.entries.values(value))
        if self.refers_to:
            return self._reference(value, names.get(self.refers_to, {}))
        if self.choices and not self.keeps_values:
            shown = [self.choices.get(str(one), one) for one in _ids(value)]
            return {self.name: shown[0] if len(shown) == 1 else _joined(shown)}
        given = value if isinstance(value, Mapping) else {"value": value}
        others = {f"{self.name}.{part}": scalar_of(given.get(part)) for part in self.parts}
        return {self.name: scalar_of(given.get("value")), **others}

    def referred(self, record: Mapping[str, Any]) -> list[Any]:
        """Return the ids that a record has in this reference, without those that cannot be ids."""
        ids = _split(self.values(record, {}).get(f"{self.name}_id"))
        return [one for one in ids if self.id_type != "number" or (type(one) is int and one > 0)]

    def opt_out(self, value: bool) -> Any:
        """Return what to write for "must not be texted", or for the opposite. Raises SourceInvalid."""
        return self.rule.written(value)

    @property
    def _source(self) -> str:
        return self.entries.plural if self.entries else self.key

    def _reference(self, value: Any, names: Names) -> dict[str, Any]:
        number = scalar_of(value_at(value, "id", value))
        ids = _split(number)
        found = [names.get(one) for one in ids]
        both = {self.name: _joined(found) if ids else number, f"{self.name}_id": number}
        return {f"{self.name}_id": number} if None in found else both


def used_fields(
    fields: Sequence[ApiField], wanted: AbstractSet[str] | None, mapping: FieldMapping
) -> tuple[list[ApiField], list[ApiField]]:
    """Return the fields to read, and those of them that are references whose names are needed.

    To read are the fields that are wanted, those of a person's phone, name, email and country, and those that the CRM
    returns anyway.
    """
    described = [made for one in fields for made in one.described()]
    header = tuple(made.name for made in described if made.kind == CONTACT)
    if wanted is not None and header:
        wanted = wanted | {*mapping.phone, *mapping.full_name, *mapping.email, *mapping.country}
    used = find_columns(header, mapping).all.union(made.name for made in chosen_fields(described, wanted))
    read = [one for one in fields if not one.is_on_request or any(made.name in used for made in one.described())]
    return read, [one for one in read if one.refers_to and one.name in used]


def _ids(value: Any) -> list[Any]:
    """Return the choices of a value: each is its id, or an object such as ``{"id": 4, "label": "Hot"}``."""
    found = [scalar_of(value_at(one, "id", one)) for one in (value if isinstance(value, list) else [value])]
    return [one for one in found if one is not None]


def _split(ids: Any) -> list[Any]:
    """Return several ids that are one text: ``77;78``."""
    return ids.split(";") if isinstance(ids, str) and ids else [] if ids in (None, "") else [ids]


def _joined(values: Sequence[Any]) -> str | None:
    return ";".join(map(str, values)) or None
