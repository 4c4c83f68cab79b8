"""The kinds of trigger, one class each: what sets a trigger off, and how long its text is wanted. Pure.

``config.triggers`` has a model for each class. A new kind needs these two, and an entry in ``KINDS``.

Idempotency keys end with the name of an occurrence, and the store keeps fingerprints. If an upgrade changes either,
people are texted twice, or a trigger starts anew.

Values are compared as people read them: as text, without surrounding spaces, ignoring case. So ``"Ready "`` is
``"ready"``, ``3.0`` is ``3``, and a missing value is an empty one: correcting the spelling in the CRM texts nobody.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

from config.triggers import ChangedTrigger, CreatedTrigger, DateTrigger, EnteredTrigger, Trigger, TriggerOptions
from worker.triggers.conditions import holds
from worker.triggers.dates import DateRule, Due, due, occurrences_of
from worker.triggers.values import property_named, read_date, value_text

Options = TypeVar("Options", bound=TriggerOptions)

FIRST_VERSION = "created"
"""The occurrence of a new record. A contact gets only one such text, whichever of its records was new."""


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """A CRM record that is new (``old`` is None) or has a new version; ``old`` and ``new`` are its properties."""

    connection: str
    external_id: str
    contact_id: int | None
    phone: str
    full_name: str
    email: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any]
    revision: int

    @property
    def contact(self) -> dict[str, str]:
        """The person, as templates and conditions know them."""
        return {"phone": self.phone, "full_name": self.full_name, "email": self.email}

    @property
    def version(self) -> str:
        """The name of this version of the record, as an occurrence."""
        return FIRST_VERSION if self.old is None else f"r{self.revision}"


@dataclass(frozen=True, slots=True)
class TriggerKind(ABC, Generic[Options]):
    """What sets one configured trigger off: a change (``FiresOnChange``) or a planned time (``PlannedByDate``)."""

    model: ClassVar[type[TriggerOptions]]

    options: Options

    @abstractmethod
    def watched(self) -> list[str | None]:
        """Return what the trigger watches, as plain values: on, field, from, to, and more where a kind has more."""

    @property
    def fingerprint(self) -> str:
        """A hash of what the trigger watches. If it changes, the trigger needs a new baseline.

        It does not cover the text, nor the connections, because each connection has its own baseline.
        """
        return hashlib.blake2b(json.dumps(self.watched()).encode(), digest_size=16).hexdigest()


class FiresOnChange(TriggerKind[Options]):
    """A kind that compares two versions of a record. It fires only after its baseline was read."""

    @abstractmethod
    def occurrence(self, event: RecordEvent) -> str | None:
        """Return the name of the occurrence if the change sets the trigger off, else None."""


class PlannedByDate(TriggerKind[Options]):
    """A kind that fires at a time that the record names. It needs no baseline, since only future times count."""

    @abstractmethod
    def next_due(self, properties: Mapping[str, Any], zones: Callable[[], Sequence[str]], now: datetime) -> Due | None:
        """Return when it is next due for a record, or None. ``zones`` is called only if the record has a date."""

    @abstractmethod
    def moved(self, properties: Mapping[str, Any], key: str) -> str:
        """Return why the text with this idempotency key is about a time that the record no longer has, or ""."""


class RecordCreated(FiresOnChange[CreatedTrigger]):
    """A record is new."""

    model = CreatedTrigger

    def watched(self) -> list[str | None]:
        """See ``TriggerKind.watched``."""
        return [self.options.on, None, None, None]

    def occurrence(self, event: RecordEvent) -> str | None:
        """Fire for the first version of a record."""
        return event.version if event.old is None else None


class FieldChanged(FiresOnChange[ChangedTrigger]):
    """A field has another value than in the version before."""

    model = ChangedTrigger

    def watched(self) -> list[str | None]:
        """See ``TriggerKind.watched``."""
        return [self.options.on, self.options.field, self.options.from_value, self.options.to_value]

    def occurrence(self, event: RecordEvent) -> str | None:
        """Fire for a version in which the field has another value."""
        return event.version if event.old is not None and self._changed(event.old, event.new) else None

    def _changed(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        name = property_named(self.options.field, new, old)
        if name is None or name not in old:
            return False  # a column that was just added to the CRM or to the export is no change
        before, after = _comparable(old[name]), _comparable(new.get(name))
        from_value, to_value = self.options.from_value, self.options.to_value
        return (
            before != after
            and (from_value is None or before == _comparable(from_value))
            and (to_value is None or after == _comparable(to_value))
        )


class ConditionEntered(FiresOnChange[EnteredTrigger]):
    """A record meets a condition that the version before did not meet."""

    model = EnteredTrigger

    def watched(self) -> list[str | None]:
        """See ``TriggerKind.watched``."""
        return [self.options.on, None, None, None, self.options.condition, _stored(DateRule())]

    def occurrence(self, event: RecordEvent) -> str | None:
        """Fire for a version that meets the condition, if the one before did not."""
        return event.version if self._entered(event) else None

    def _entered(self, event: RecordEvent) -> bool:
        condition = self.options.condition
        before = event.old is not None and holds(condition, event.old, event.contact)
        return not before and holds(condition, event.new, event.contact)


class DateReached(PlannedByDate[DateTrigger]):
    """A time relative to a date of the record has come."""

    model = DateTrigger

    def watched(self) -> list[str | None]:
        """See ``TriggerKind.watched``."""
        return [self.options.on, self.options.field, None, None, None, _stored(self._rule)]

    def next_due(self, properties: Mapping[str, Any], zones: Callable[[], Sequence[str]], now: datetime) -> Due | None:
        """Return when the date, with offset and hour, is next due."""
        when = self._date(properties)
        return None if when is None else due(when, self._rule, zones(), now)

    def moved(self, properties: Mapping[str, Any], key: str) -> str:
        """Compare the record's date with the occurrence that the key ends with."""
        when = self._date(properties)
        if when is not None:
            occurrence = f":{occurrences_of(when, self._rule)}"
            if occurrence in key if self.options.every_year else key.endswith(occurrence):
                return ""
        return f'the field "{self.options.field}" now has another date; a text for that date is planned separately'

    @property
    def _rule(self) -> DateRule:
        return DateRule(self.options.offset or timedelta(0), self.options.at, self.options.every_year)

    def _date(self, properties: Mapping[str, Any]) -> date | datetime | None:
        name = property_named(self.options.field, properties)
        return None if name is None else read_date(properties[name])


KINDS: tuple[type[TriggerKind[Any]], ...] = (RecordCreated, FieldChanged, ConditionEntered, DateReached)
_BY_MODEL = {kind.model: kind for kind in KINDS}


def kind_of(trigger: Trigger) -> TriggerKind[Any]:
    """Return the kind of a configured trigger."""
    return _BY_MODEL[type(trigger)](trigger)


def _stored(rule: DateRule) -> str:
    """Write the rule as fingerprints have always had it, whatever the class is called."""
    return f"DateRule(offset={rule.offset!r}, at={rule.at!r}, every_year={rule.every_year!r})"


def _comparable(value: object) -> str:
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, sort_keys=True, default=str)
    return unicodedata.normalize("NFC", value_text(value)).strip().casefold()
