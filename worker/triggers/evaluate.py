"""Which texts a change in the CRM calls for. Pure: rules and an event in, intents out.

Values are compared as people read them: as text, without spaces around, capital or small letters alike. So
``"Ready "`` is ``"ready"``, ``3.0`` is ``3``, an absent value is an empty one, and tidying up the spelling in the CRM
is no change that texts anybody.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from config.models import Settings
from worker.triggers.conditions import holds
from worker.triggers.dates import DateRule
from worker.triggers.templates import Template, TemplateProblem, compile_template, context_for
from worker.triggers.values import property_named, value_text

Kind: TypeAlias = Literal["created", "changed"]
On: TypeAlias = Literal["created", "changed", "entered", "date"]


ANY_TIME = DateRule()


@dataclass(frozen=True, slots=True)
class Rule:
    """A configured trigger, ready to use. ``from_value`` and ``to_value``: None is any value, "" an empty one."""

    name: str
    connections: tuple[str, ...]
    on: On
    field: str | None
    from_value: str | None
    to_value: str | None
    template: Template
    media: tuple[str, ...] = ()
    from_number: str | None = None
    expires_after: timedelta | None = None
    condition: str | None = None
    only_if: str | None = None
    dates: DateRule = ANY_TIME
    again: Literal["always", "never"] | timedelta = "always"
    delay: timedelta | None = None
    urgent: bool = False

    @property
    def fingerprint(self) -> str:
        """What the rule watches, not what it says: with another one, what is so now becomes the new baseline.

        The connections are left out, since the baseline is kept for each of them.
        """
        watched = [self.on, self.field, self.from_value, self.to_value]
        if self.on in ("entered", "date"):
            watched += [self.condition, str(self.dates)]
        return hashlib.blake2b(json.dumps(watched).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """A CRM record that is new (``old`` is None) or has a new version; ``old`` and ``new`` are its properties."""

    connection: str
    external_id: str
    contact_id: int | None
    phone: str
    full_name: str
    email: str
    kind: Kind
    old: Mapping[str, Any] | None
    new: Mapping[str, Any]
    revision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class TextIntent:
    """A text that a rule calls for. ``occurrence`` names what happened, for the idempotency key.

    ``problem``: why the text could not be written, for a person; it is kept and shown, and never sent.
    ``do_not_text``, ``no_consent``: the field of its record that forbids it, in words, as in ``PolicyFacts``.
    ``called_for_at``: when it should be made, where that is not now; its delay and its expiry count from then on.
    """

    trigger: str
    connection: str
    external_id: str
    contact_id: int | None
    phone: str
    text: str
    media: tuple[str, ...]
    from_number: str | None
    expires_after: timedelta | None
    occurrence: str
    problem: str = ""
    delay: timedelta | None = None
    urgent: bool = False
    do_not_text: str = ""
    no_consent: str = ""
    called_for_at: datetime | None = None


def compile_rules(settings: Settings) -> dict[str, tuple[Rule, ...]]:
    """The enabled triggers of each connection that has any, in the order of the configuration.

    Raises TemplateProblem for a text that is no template.
    """
    rules: dict[str, tuple[Rule, ...]] = {}
    for name, trigger in settings.triggers.items():
        if not trigger.enabled:
            continue
        rule = Rule(
            name=name,
            connections=trigger.connections,
            on=trigger.on,
            field=trigger.field,
            from_value=trigger.from_value,
            to_value=trigger.to_value,
            template=compile_template(trigger.message),
            media=trigger.media,
            from_number=trigger.from_number,
            expires_after=trigger.expires_after,
            condition=trigger.condition,
            only_if=trigger.only_if,
            dates=DateRule(trigger.offset or timedelta(0), trigger.at, trigger.every_year),
            again=trigger.again,
            delay=trigger.delay,
            urgent=trigger.urgent,
        )
        for connection in dict.fromkeys(trigger.connections):
            rules[connection] = (*rules.get(connection, ()), rule)
    return rules


def evaluate(rules: Iterable[Rule], event: RecordEvent) -> list[TextIntent]:
    """The texts that ``event`` calls for, in the order of the rules."""
    occurrence = "created" if event.kind == "created" else f"r{event.revision}"
    intents = (write(rule, event, occurrence) for rule in rules if _fires(rule, event))
    return [intent for intent in intents if intent is not None]


def _fires(rule: Rule, event: RecordEvent) -> bool:
    if event.connection not in rule.connections:
        return False
    if rule.on == "entered" and rule.condition is not None:
        before = event.old is not None and _holds(rule.condition, event, event.old)
        return not before and _holds(rule.condition, event, event.new)
    if rule.on != event.kind:
        return False
    if rule.on == "created":
        return True
    return rule.field is not None and event.old is not None and _field_changed(rule, rule.field, event.old, event.new)


def _field_changed(rule: Rule, field: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    name = property_named(field, new, old)
    if name is None or name not in old:
        return False  # a column that was just added to the CRM or to the export says nothing about a change
    before, after = _comparable(old[name]), _comparable(new.get(name))
    return (
        before != after
        and (rule.from_value is None or before == _comparable(rule.from_value))
        and (rule.to_value is None or after == _comparable(rule.to_value))
    )


def _comparable(value: object) -> str:
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, sort_keys=True, default=str)
    return unicodedata.normalize("NFC", value_text(value)).strip().casefold()


def _holds(condition: str, event: RecordEvent, properties: Mapping[str, Any]) -> bool:
    return holds(condition, properties, _contact(event))


def _contact(event: RecordEvent) -> dict[str, str]:
    return {"phone": event.phone, "full_name": event.full_name, "email": event.email}


def write(rule: Rule, event: RecordEvent, occurrence: str) -> TextIntent | None:
    """The text of a rule that fires for ``event``; None where its ``only_if`` does not hold."""
    if rule.only_if is not None and not _holds(rule.only_if, event, event.new):
        return None
    contact = _contact(event)
    text, problem = "", ""
    try:
        text = rule.template.render(context_for(event.new, event.old, contact))
    except TemplateProblem as error:
        problem = str(error)
    return TextIntent(
        trigger=rule.name,
        connection=event.connection,
        external_id=event.external_id,
        contact_id=event.contact_id,
        phone=event.phone,
        text=text,
        media=rule.media,
        from_number=rule.from_number,
        expires_after=rule.expires_after,
        occurrence=occurrence,
        problem=problem,
        delay=rule.delay,
        urgent=rule.urgent,
    )
