"""The kinds of trigger, one class each: what sets a trigger off, and how long its text is wanted. Pure.

``config.triggers`` has a model for each class. A new kind needs these two, and an entry in ``KINDS``.

Idempotency keys end with the name of an occurrence, and the store keeps fingerprints. If an upgrade changes either,
people are texted twice, or a trigger starts anew.

Values are compared as people read them, see ``worker.triggers.same_value``: another spelling of a value texts nobody. A
field that one of two versions does not have is unknown there, and has not changed.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

from config.triggers import ChangedTrigger, CreatedTrigger, DateTrigger, EnteredTrigger, Trigger, TriggerOptions
from crm_adapters.base import CONTACT
from worker.triggers.conditions import condition_fields, holds, judge
from worker.triggers.context import Zones
from worker.triggers.conversation import ConversationFacts
from worker.triggers.date_text import may_be_serial, possible_dates, read_date
from worker.triggers.dates import DateRule, Due, due, occurrence_date
from worker.triggers.number_text import possible_amounts
from worker.triggers.same_value import is_same, may_be_same, moment_key
from worker.triggers.templates import FieldNames
from worker.triggers.unread import Expected, UnreadValue
from worker.triggers.values import property_named, scalar, value_text
from worker.triggers.versions import aligned, names_in_both

Options = TypeVar("Options", bound=TriggerOptions)

FIRST_VERSION = "created"
"""The occurrence of the first record of a person: a contact gets only one such text. Further records are ``r1``."""


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """A CRM record that is new (``old`` is None) or has a new version; ``old`` and ``new`` are its properties.

    ``kind`` is ``contact``, or what belongs to the person, such as ``deal``. ``region`` says how its dates and
    numbers are written. ``zones`` returns the time zones that the person may be in. ``of_known_person``: it is one
    more record of somebody whom the connection knows already. ``conversation`` is given if a rule asks about it.
    """

    connection: str
    external_id: str
    contact_id: int | None
    phone: str
    full_name: str
    email: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any]
    revision: int
    kind: str = CONTACT
    region: str | None = None
    zones: Zones = tuple
    of_known_person: bool = False
    conversation: ConversationFacts | None = None

    @property
    def contact(self) -> dict[str, str]:
        """The person, as templates and conditions know them."""
        return {"phone": self.phone, "full_name": self.full_name, "email": self.email}

    @property
    def version(self) -> str:
        """The name of this version of the record, as an occurrence."""
        return FIRST_VERSION if self.old is None and not self.of_known_person else f"r{self.revision}"


@dataclass(frozen=True, slots=True)
class TriggerKind(ABC, Generic[Options]):
    """What sets one configured trigger off: a change (``FiresOnChange``) or a planned time (``PlannedByDate``)."""

    model: ClassVar[type[TriggerOptions]]

    options: Options

    @abstractmethod
    def watched(self) -> list[str | None]:
        """Return what the trigger watches, as plain values: on, field, from, to, and more where a kind has more."""

    def reads(self) -> Mapping[str, FieldNames]:
        """Return the fields of the record that decide if it fires, by the option that names them."""
        return {}

    @property
    def may_be_unread(self) -> bool:
        """True if a value of a record can leave open if the trigger fires for it."""
        return type(self).unread is not TriggerKind.unread

    def unread(
        self,
        properties: Mapping[str, Any],  # noqa: ARG002
        contact: Mapping[str, str],  # noqa: ARG002
        region: str | None,  # noqa: ARG002
    ) -> UnreadValue | None:
        """Return the value because of which it cannot be said if the trigger fires for a record, or None."""
        return None

    @property
    def fingerprint(self) -> str:
        """A hash of what the trigger watches. If it changes, the trigger needs a new baseline.

        It does not cover the text, nor the connections, because each connection has its own baseline.
        """
        of_others = [] if self.options.record == CONTACT else [self.options.record]
        watched = json.dumps([*self.watched(), *of_others])
        return hashlib.blake2b(watched.encode(), digest_size=16).hexdigest()


class FiresOnChange(TriggerKind[Options]):
    """A kind that compares two versions of a record. It fires only after its baseline was read."""

    @abstractmethod
    def occurrence(self, event: RecordEvent) -> str | None:
        """Return the name of the occurrence if the change sets the trigger off, else None."""


class PlannedByDate(TriggerKind[Options]):
    """A kind that fires at a time that the record names. It needs no baseline, since only future times count."""

    @abstractmethod
    def next_due(
        self, properties: Mapping[str, Any], zones: Callable[[], Sequence[str]], now: datetime, region: str | None
    ) -> Due | None:
        """Return when it is next due for a record, or None. ``zones`` is called only if the record has a date."""

    @abstractmethod
    def moved(self, properties: Mapping[str, Any], key: str, region: str | None) -> str:
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

    def reads(self) -> Mapping[str, FieldNames]:
        """See ``TriggerKind.reads``."""
        return {"field": FieldNames((self.options.field,))}

    def unread(
        self,
        properties: Mapping[str, Any],
        contact: Mapping[str, str],  # noqa: ARG002
        region: str | None,
    ) -> UnreadValue | None:
        """Return the value that may be the one that the trigger waits for, and may be another one."""
        name, wanted = property_named(self.options.field, properties), self.options.to_value
        if name is None or not wanted or is_same(properties[name], wanted, region):
            return None
        if not may_be_same(properties[name], wanted, region):
            return None
        return UnreadValue("to", self.options.field, value_text(properties[name]), "value")

    def occurrence(self, event: RecordEvent) -> str | None:
        """Fire for a version in which the field has another value."""
        return event.version if event.old is not None and self._changed(event.old, event.new, event.region) else None

    def _changed(self, old: Mapping[str, Any], new: Mapping[str, Any], region: str | None) -> bool:
        names = names_in_both(self.options.field, old, new)
        if names is None:
            return False  # what is unknown in one version has not changed: a column was added or left out
        before, after = old[names[0]], new[names[1]]
        from_value, to_value = self.options.from_value, self.options.to_value
        return (
            not may_be_same(before, after, region)
            and (from_value is None or is_same(before, from_value, region))
            and (to_value is None or is_same(after, to_value, region))
        )


class ConditionEntered(FiresOnChange[EnteredTrigger]):
    """A record meets a condition that the version before did not meet."""

    model = EnteredTrigger

    def watched(self) -> list[str | None]:
        """See ``TriggerKind.watched``."""
        return [self.options.on, None, None, None, self.options.condition, _stored(DateRule())]

    def reads(self) -> Mapping[str, FieldNames]:
        """See ``TriggerKind.reads``."""
        return {"condition": condition_fields(self.options.condition)}

    def occurrence(self, event: RecordEvent) -> str | None:
        """Fire for a version that meets the condition, if the one before did not."""
        return event.version if self._entered(event) else None

    def _entered(self, event: RecordEvent) -> bool:
        condition = self.options.condition
        if event.old is None:
            return holds(condition, event.new, event.contact, event.region)
        before, after = aligned(event.old, event.new, event.region)
        return holds(condition, after, event.contact, event.region) and not holds(
            condition, before, event.contact, event.region
        )

    def unread(
        self, properties: Mapping[str, Any], contact: Mapping[str, str], region: str | None
    ) -> UnreadValue | None:
        """See ``TriggerKind.unread``."""
        return unread_in(self.options.condition, "condition", properties, contact, region)


class DateReached(PlannedByDate[DateTrigger]):
    """A time relative to a date of the record has come."""

    model = DateTrigger

    def watched(self) -> list[str | None]:
        """See ``TriggerKind.watched``."""
        return [self.options.on, self.options.field, None, None, None, _stored(self._rule)]

    def reads(self) -> Mapping[str, FieldNames]:
        """See ``TriggerKind.reads``."""
        return {"field": FieldNames((self.options.field,))}

    def next_due(
        self, properties: Mapping[str, Any], zones: Callable[[], Sequence[str]], now: datetime, region: str | None
    ) -> Due | None:
        """Return when the date, with offset and hour, is next due."""
        when = self._date(properties, region)
        return None if when is None else due(when, self._rule, zones(), now)

    def moved(self, properties: Mapping[str, Any], key: str, region: str | None) -> str:
        """Compare the record's date with the occurrence that the key ends with; its spelling may be another one."""
        when = self._date(properties, region)
        before = occurrence_date(key, every_year=self.options.every_year)
        if when is not None and before is not None and moment_key(when) == moment_key(before):
            return ""
        if (unread := self.unread(properties, {}, region)) is not None:
            return f'the field "{self.options.field}" now has "{unread.shown}", which cannot be read as a date'
        return f'the field "{self.options.field}" now has another date; a text for that date is planned separately'

    @property
    def _rule(self) -> DateRule:
        return DateRule(self.options.offset or timedelta(0), self.options.at, self.options.every_year)

    def unread(
        self,
        properties: Mapping[str, Any],
        contact: Mapping[str, str],  # noqa: ARG002
        region: str | None,
    ) -> UnreadValue | None:
        """See ``TriggerKind.unread``. An empty field is no value that cannot be read."""
        name = property_named(self.options.field, properties)
        value = None if name is None else scalar(properties[name])
        if value is None or (found := len(possible_dates(value, region))) == 1:
            return None
        other: Expected = "spreadsheet date" if may_be_serial(value) else "date"
        return UnreadValue("field", self.options.field, value_text(value), "ambiguous date" if found else other)

    def _date(self, properties: Mapping[str, Any], region: str | None) -> date | datetime | None:
        name = property_named(self.options.field, properties)
        return None if name is None else read_date(properties[name], region)


KINDS: tuple[type[TriggerKind[Any]], ...] = (RecordCreated, FieldChanged, ConditionEntered, DateReached)
_BY_MODEL = {kind.model: kind for kind in KINDS}


def kind_of(trigger: Trigger) -> TriggerKind[Any]:
    """Return the kind of a configured trigger."""
    return _BY_MODEL[type(trigger)](trigger)


def _stored(rule: DateRule) -> str:
    """Write the rule as fingerprints have always had it, whatever the class is called."""
    return f"DateRule(offset={rule.offset!r}, at={rule.at!r}, every_year={rule.every_year!r})"


def unread_in(
    condition: str,
    option: str,
    properties: Mapping[str, Any],
    contact: Mapping[str, str],
    region: str | None,
    conversation: ConversationFacts | None = None,
) -> UnreadValue | None:
    """Return the value because of which a condition cannot be evaluated for a record, or None."""
    unread = judge(condition, properties, contact, region, conversation).unread
    if unread is None:
        return None
    several = len(possible_amounts(unread[1], region)) > 1
    return UnreadValue(option, *unread, "ambiguous number" if several else "value")
