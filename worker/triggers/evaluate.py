"""The texts that a change in the CRM calls for. Pure: rules and an event in, intents out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from config.triggers import Trigger
from crm_adapters.base import CONTACT
from worker.triggers.conditions import asks_about_conversation, judge
from worker.triggers.context import text_context
from worker.triggers.conversation import ConversationFacts
from worker.triggers.kinds import FiresOnChange, PlannedByDate, RecordEvent, kind_of, unread_in
from worker.triggers.rules import TextRule
from worker.triggers.templates import TemplateProblem
from worker.triggers.unread import UnreadValue


@dataclass(frozen=True, slots=True)
class TextIntent:
    """A text that a rule calls for. ``occurrence`` names what happened, for the idempotency key.

    ``problem``: why the text could not be written, for a person; it is kept and shown, and never sent.
    ``do_not_text``, ``no_consent``: the field of its record that forbids it, for a person, as in ``PolicyFacts``.
    ``consent_missing``: why no consent is on record, as in ``PolicyFacts``.
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
    consent_missing: str = ""
    called_for_at: datetime | None = None
    kind: str = CONTACT


def evaluate(
    rules: Iterable[TextRule], event: RecordEvent, unread: list[tuple[str, UnreadValue]] | None = None
) -> list[TextIntent]:
    """Return the texts that ``event`` calls for, in the order of the rules.

    Values because of which a rule cannot decide are added to ``unread``, with the name of the rule.
    """
    found = []
    for rule in rules:
        if not rule.watches(event.connection, event.kind) or not isinstance(rule.kind, FiresOnChange):
            continue
        occurrence = rule.kind.occurrence(event)
        if occurrence is None:
            value = rule.kind.unread(event.new, event.contact, event.region)
        else:
            intent = write_text(rule, event, occurrence)
            found += [] if intent is None else [intent]
            value = unread_only_if(rule, event)
        if value is not None and unread is not None:
            unread.append((rule.name, value))
    return found


def unread_only_if(rule: TextRule, event: RecordEvent) -> UnreadValue | None:
    """Return the value because of which it cannot be said if the ``only_if`` of a rule holds, or None."""
    condition = rule.options.only_if
    if condition is None:
        return None
    return unread_in(condition, "only_if", event.new, event.contact, event.region, event.conversation)


def write_text(rule: TextRule, event: RecordEvent, occurrence: str) -> TextIntent | None:
    """Write the text of a rule that fires for ``event``; None if its ``only_if`` does not hold.

    The text has a problem if a value in it, or in its ``only_if``, is not understood.
    """
    options = rule.options
    text, problem = "", ""
    if options.only_if is not None:
        judged = judge(options.only_if, event.new, event.contact, event.region, event.conversation)
        if judged.unread is not None:
            problem = _not_understood(options.only_if, *judged.unread)
        elif not judged.holds:
            return None
    try:
        if not problem:
            text = rule.template.render(text_context(event.new, event.old, event.contact, event.region, event.zones))
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
    return trigger.only_if is not None or trigger.stop_on_reply or isinstance(kind_of(trigger), PlannedByDate)


def watches_conversation(trigger: Trigger) -> bool:
    """Return True if what the person writes can make the trigger's queued texts unwanted."""
    return trigger.stop_on_reply or asks_first(trigger)


def asks_first(trigger: Trigger) -> bool:
    """Return True if the conversation decides if the trigger fires."""
    return trigger.only_if is not None and asks_about_conversation(trigger.only_if)


UNWANTED = ("moved", "replied", "stop_condition")
"""The codes of ``no_longer_wanted``."""


def no_longer_wanted(
    trigger: Trigger,
    properties: Mapping[str, Any],
    contact: Mapping[str, str],
    key: str,
    region: str | None,
    conversation: ConversationFacts | None = None,
) -> tuple[str, str] | None:
    """Return (code, reason) if the record, as it is now, makes the text with this idempotency key unwanted.

    So does a reply of the person, if the trigger stops on one. ``conversation``: see ``watches_conversation``.
    """
    kind = kind_of(trigger)
    if isinstance(kind, PlannedByDate) and (reason := kind.moved(properties, key, region)):
        return "moved", reason
    if trigger.stop_on_reply and conversation is not None and conversation.replied:
        at = f"{conversation.last_reply_at:%Y-%m-%d %H:%M} UTC"
        return "replied", f"the person has written since it was called for, at {at}, and its trigger stops on a reply"
    if trigger.only_if is None:
        return None
    judged = judge(trigger.only_if, properties, contact, region, conversation)
    if judged.unread is not None:
        return "stop_condition", _not_understood(trigger.only_if, *judged.unread)
    return None if judged.holds else ("stop_condition", f"its condition no longer holds: {trigger.only_if}")


def _not_understood(condition: str, field: str, value: str) -> str:
    named = f'"{value}" in {field}' if field else f'"{value}"'
    return f"{named} is not understood, so it is not known if its condition holds: {condition}"
