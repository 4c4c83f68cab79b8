"""The texts that a change in the CRM calls for. Pure: rules and an event in, intents out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from config.triggers import Trigger
from worker.triggers.conditions import holds
from worker.triggers.context import text_context
from worker.triggers.kinds import FiresOnChange, PlannedByDate, RecordEvent, kind_of
from worker.triggers.rules import TextRule
from worker.triggers.templates import TemplateProblem


@dataclass(frozen=True, slots=True)
class TextIntent:
    """A text that a rule calls for. ``occurrence`` names what happened, for the idempotency key.

    ``problem``: why the text could not be written, for a person; it is kept and shown, and never sent.
    ``do_not_text``, ``no_consent``: the field of its record that forbids it, for a person, as in ``PolicyFacts``.
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


def evaluate(rules: Iterable[TextRule], event: RecordEvent) -> list[TextIntent]:
    """Return the texts that ``event`` calls for, in the order of the rules."""
    found = []
    for rule in rules:
        if event.connection in rule.options.connections and isinstance(rule.kind, FiresOnChange):
            occurrence = rule.kind.occurrence(event)
            intent = None if occurrence is None else write_text(rule, event, occurrence)
            if intent is not None:
                found.append(intent)
    return found


def write_text(rule: TextRule, event: RecordEvent, occurrence: str) -> TextIntent | None:
    """Write the text of a rule that fires for ``event``; None if its ``only_if`` does not hold."""
    options = rule.options
    if options.only_if is not None and not holds(options.only_if, event.new, event.contact):
        return None
    text, problem = "", ""
    try:
        text = rule.template.render(text_context(event.new, event.old, event.contact))
    except TemplateProblem as error:
        problem = str(error)
    return TextIntent(
        trigger=rule.name,
        connection=event.connection,
        external_id=event.external_id,
        contact_id=event.contact_id,
        phone=event.phone,
        text=text,
        media=options.media,
        from_number=options.from_number,
        expires_after=options.expires_after,
        occurrence=occurrence,
        problem=problem,
        delay=options.delay,
        urgent=options.urgent,
    )


def depends_on_record(trigger: Trigger) -> bool:
    """Return True if a later change of the record can make the trigger's queued texts unwanted."""
    return trigger.only_if is not None or isinstance(kind_of(trigger), PlannedByDate)


def no_longer_wanted(
    trigger: Trigger, properties: Mapping[str, Any], contact: Mapping[str, str], key: str
) -> tuple[str, str] | None:
    """Return (code, reason) if the record, as it is now, makes the text with this idempotency key unwanted."""
    kind = kind_of(trigger)
    if isinstance(kind, PlannedByDate) and (reason := kind.moved(properties, key)):
        return "moved", reason
    if trigger.only_if is not None and not holds(trigger.only_if, properties, contact):
        return "stop_condition", f"its condition no longer holds: {trigger.only_if}"
    return None
