"""The texts that a change in the CRM calls for. Pure: rules and an event in, intents out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from config.triggers import Trigger
from crm_adapters.base import CONTACT
from worker.triggers.conditions import holds
from worker.triggers.context import text_context
from worker.triggers.date_text import DateOrder
from worker.triggers.kinds import FiresOnChange, PlannedByDate, RecordEvent, kind_of, unread_in
from worker.triggers.rules import TextRule
from worker.triggers.templates import TemplateProblem
from worker.triggers.unread import Unreadable, UnreadValue


@dataclass(frozen=True, slots=True)
class TextIntent:
    """A text that a rule calls for. ``occurrence`` names what happened, for the idempotency key.

    ``problem``: why the text could not be written, for a person; it is kept and shown, and never sent.
    ``do_not_text``, ``no_consent``: the field of its record that forbids it, for a person, as in ``PolicyFacts``.
    ``kind``: the kind of record that it is about.
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
    kind: str = CONTACT


def evaluate(rules: Iterable[TextRule], event: RecordEvent, unreadable: Unreadable | None = None) -> list[TextIntent]:
    """Return the texts that ``event`` calls for, in the order of the rules.

    Values because of which a rule cannot decide are added to ``unreadable``.
    """
    found = []
    for rule in rules:
        if not rule.watches(event.connection, event.kind) or not isinstance(rule.kind, FiresOnChange):
            continue
        occurrence = rule.kind.occurrence(event)
        intent = None if occurrence is None else write_text(rule, event, occurrence)
        if intent is not None:
            found.append(intent)
        elif unreadable is not None:
            value = (
                _unread_only_if(rule, event) if occurrence else rule.kind.unread(event.new, event.contact, event.order)
            )
            if value is not None:
                unreadable.add(rule.name, value, event.external_id)
    return found


def _unread_only_if(rule: TextRule, event: RecordEvent) -> UnreadValue | None:
    condition = rule.options.only_if
    return None if condition is None else unread_in(condition, "only_if", event.new, event.contact, event.order)


def write_text(rule: TextRule, event: RecordEvent, occurrence: str) -> TextIntent | None:
    """Write the text of a rule that fires for ``event``; None if its ``only_if`` does not hold."""
    options = rule.options
    if options.only_if is not None and not holds(options.only_if, event.new, event.contact, event.order):
        return None
    text, problem = "", ""
    try:
        text = rule.template.render(text_context(event.new, event.old, event.contact, event.order))
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
        kind=event.kind,
    )


def depends_on_record(trigger: Trigger) -> bool:
    """Return True if a later change of the record can make the trigger's queued texts unwanted."""
    return trigger.only_if is not None or isinstance(kind_of(trigger), PlannedByDate)


def no_longer_wanted(
    trigger: Trigger, properties: Mapping[str, Any], contact: Mapping[str, str], key: str, order: DateOrder
) -> tuple[str, str] | None:
    """Return (code, reason) if the record, as it is now, makes the text with this idempotency key unwanted."""
    kind = kind_of(trigger)
    if isinstance(kind, PlannedByDate) and (reason := kind.moved(properties, key, order)):
        return "moved", reason
    if trigger.only_if is not None and not holds(trigger.only_if, properties, contact, order):
        return "stop_condition", f"its condition no longer holds: {trigger.only_if}"
    return None
