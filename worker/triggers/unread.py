"""Collects the values that triggers cannot read, so that a person is told: how many, which, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

Expected = Literal["date", "ambiguous date", "value"]

_REMEDIES: dict[Expected, str] = {
    "date": "Write it like 2027-04-03 or 2027-04-03 10:30.",
    "ambiguous date": "Set `default_region` of the connection, which says if 03/04/2027 is in April or in March; or "
    "write the date like 2027-04-03.",
    "value": "Write a plain number such as 1234.5, or a date such as 2027-04-03.",
}


@dataclass(frozen=True, slots=True)
class UnreadValue:
    """A value because of which a trigger cannot decide about a record. ``option`` is the key of the trigger."""

    option: str
    field: str
    value: str
    expected: Expected

    @property
    def shown(self) -> str:
        """The value, in at most 40 characters."""
        return self.value if len(self.value) <= 40 else f"{self.value[:39]}…"


@dataclass(slots=True)
class _Found:
    first: UnreadValue
    external_id: str
    records: int = 1


@dataclass(slots=True)
class Unreadable:
    """The values that triggers could not read in a run. Its size depends on the configuration, not on the records."""

    _found: dict[tuple[str, str, str, Expected], _Found] = field(default_factory=dict)

    def add(self, trigger: str, value: UnreadValue, external_id: str) -> None:
        """Count the value of a record."""
        key = (trigger, value.option, value.field, value.expected)
        if key in self._found:
            self._found[key].records += 1
        else:
            self._found[key] = _Found(value, external_id)

    def restart(self, triggers: Collection[str]) -> None:
        """Forget what was counted of these triggers: all their records are read again."""
        self._found = {key: found for key, found in self._found.items() if key[0] not in triggers}

    def __len__(self) -> int:
        return sum(found.records for found in self._found.values())

    def notes(self) -> Iterator[str]:
        """Yield a sentence per trigger and field, for a person."""
        for (trigger, option, name, expected), found in self._found.items():
            several = found.records > 1
            such = f', such as "{found.first.shown}" (record {found.external_id})'
            only = f': "{found.first.shown}" (record {found.external_id})'
            example = such if several else only
            yield (
                f"{found.records} record{'s' if several else ''} {_fault(name, option, expected, several=several)}"
                f"{example}. The trigger {trigger} does not text {'them' if several else 'this person'}. "
                f"{_REMEDIES[expected]}"
            )


def _fault(name: str, option: str, expected: Expected, *, several: bool) -> str:
    have = "have" if several else "has"
    if expected == "date":
        return f'{have} a value in "{name}" that cannot be read as a date'
    if expected == "ambiguous date":
        return f'{have} a date in "{name}" that can mean two days'
    return f'{have} a value in "{name}" that the trigger\'s `{option}` cannot compare'
