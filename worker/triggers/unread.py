"""Collects the values that triggers cannot read, so that a person is told: how many, which, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

Expected = Literal["date", "ambiguous date", "spreadsheet date", "value", "ambiguous number"]

LISTED = 10
"""Records that a note names for each trigger and field."""
_REMEDIES: dict[Expected, str] = {
    "date": "Write it like 2027-04-03 or 2027-04-03 10:30.",
    "spreadsheet date": "It looks like a spreadsheet's number of a day: give the column the format of a date, and "
    "export it again.",
    "ambiguous number": "Set `default_region` of the connection, which says if 1,234 is a thousand; or write a plain "
    "number such as 1234.5.",
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

    @property
    def remedy(self) -> str:
        """What to do, for a person."""
        return _REMEDIES[self.expected]

    def fault(self, *, several: bool = False) -> str:
        """Return what is wrong with the value of a record, as the end of a sentence."""
        have = "have" if several else "has"
        match self.expected:
            case "date" | "spreadsheet date":
                return f'{have} a value in "{self.field}" that cannot be read as a date'
            case "ambiguous date":
                return f'{have} a date in "{self.field}" that can mean two days'
            case "ambiguous number":
                return f'{have} a number in "{self.field}" that can mean two'
            case _:
                return f'{have} a value in "{self.field}" that the trigger\'s `{self.option}` cannot compare'


@dataclass(slots=True)
class _Found:
    examples: list[tuple[UnreadValue, str]]
    records: int = 1


@dataclass(slots=True)
class Unreadable:
    """The values that triggers could not read in a run. Its size depends on the configuration, not on the records."""

    _found: dict[tuple[str, str, str, Expected], _Found] = field(default_factory=dict)

    def add(self, trigger: str, value: UnreadValue, external_id: str) -> None:
        """Count the value of a record."""
        key = (trigger, value.option, value.field, value.expected)
        if key in self._found:
            found = self._found[key]
            found.records += 1
            if len(found.examples) < LISTED:
                found.examples.append((value, external_id))
        else:
            self._found[key] = _Found([(value, external_id)])

    def restart(self, triggers: Collection[str]) -> None:
        """Forget what was counted of these triggers: all their records are read again."""
        self._found = {key: found for key, found in self._found.items() if key[0] not in triggers}

    def __len__(self) -> int:
        return sum(found.records for found in self._found.values())

    def notes(self) -> Iterator[str]:
        """Yield a sentence per trigger and field, for a person."""
        for (trigger, *_), found in self._found.items():
            several, (first, _) = found.records > 1, found.examples[0]
            named = ", ".join(f'"{value.shown}" (record {record})' for value, record in found.examples)
            hidden = found.records - len(found.examples)
            more = f" and {hidden} more, see `vtsync status --unread`" if hidden else ""
            yield (
                f"{found.records} record{'s' if several else ''} {first.fault(several=several)}: {named}{more}. "
                f"The trigger {trigger} does not text {'them' if several else 'this person'}. {first.remedy}"
            )
