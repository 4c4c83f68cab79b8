"""Conditions on a CRM record, in the syntax of Liquid: ``status == 'ready' and balance > 0``. Pure.

Fields have the same names as in texts. A missing or empty field is false, and equals only ``nil``. Numbers, dates and
booleans compare as such, even if the CRM gives them as text. If a comparison decides and its value cannot be read, the
condition does not hold, and ``judge`` returns the value, so that a person can be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from worker.triggers.context import condition_context
from worker.triggers.conversation import CONVERSATION, ConversationFacts, conversation_fault, is_about_conversation
from worker.triggers.templates import FieldNames, TemplateProblem, field_comparisons, field_names

if TYPE_CHECKING:
    from liquid import BoundTemplate

LONGEST = 500

_BRACES = re.compile(r"\{[{%]|[%}]\}")


def problem(source: str) -> str:
    """Return what is wrong with a condition, for a person; "" if it is valid."""
    try:
        _compiled(source)
    except TemplateProblem as error:
        return str(error)
    return ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """If a condition holds for a record. ``unread``: (field, value) because of which that cannot be said."""

    holds: bool
    unread: tuple[str, str] | None = None


def judge(
    source: str,
    properties: Mapping[str, Any],
    contact: Mapping[str, str] | None = None,
    region: str | None = None,
    conversation: ConversationFacts | None = None,
) -> Judgement:
    """Return if the condition holds for a record. It does not hold if it cannot be evaluated for this record.

    Nor does it hold if it asks about a conversation and that is not given.

    Raises TemplateProblem if ``source`` is not a condition.
    """
    from liquid.exceptions import LiquidError

    from worker.triggers.comparisons import NotUnderstood

    template = _compiled(source)
    context = condition_context(properties, contact or {}, region)
    if asks_about_conversation(source):
        if conversation is None:
            return Judgement(holds=False)
        context[CONVERSATION] = conversation.values()
    try:
        return Judgement(template.render(context).strip() == "y")
    except NotUnderstood as error:
        if error.field.startswith(f"{CONVERSATION}."):  # what people write is shown to nobody
            return Judgement(holds=False, unread=(error.field, "..."))
        return Judgement(holds=False, unread=(error.field, error.value))
    except LiquidError:  # such as a list compared with a number
        return Judgement(holds=False)


def holds(
    source: str,
    properties: Mapping[str, Any],
    contact: Mapping[str, str] | None = None,
    region: str | None = None,
    conversation: ConversationFacts | None = None,
) -> bool:
    """Return True if the condition holds; see ``judge``."""
    return judge(source, properties, contact, region, conversation).holds


@lru_cache(maxsize=256)
def asks_about_conversation(source: str) -> bool:
    """Return True if a condition names a part of the conversation. Raises TemplateProblem if it is no condition."""
    analysis = _compiled(source).analyze()
    return any(is_about_conversation(one.segments) for group in analysis.globals.values() for one in group)


@lru_cache(maxsize=256)
def condition_fields(source: str) -> FieldNames:
    """Return the fields that a condition reads. Raises TemplateProblem if ``source`` is not a condition."""
    return field_names(_compiled(source).analyze())


@lru_cache(maxsize=256)
def condition_comparisons(source: str) -> tuple[tuple[str, str | int | float, bool], ...]:
    """Return what a condition compares with a literal, see ``field_comparisons``. Raises TemplateProblem."""
    return field_comparisons(_compiled(source))


@lru_cache(maxsize=256)
def _compiled(source: str) -> BoundTemplate:
    from liquid.exceptions import LiquidError

    from worker.triggers.liquid_dialect import ConditionEnvironment

    if not source.strip():
        raise TemplateProblem("the condition is empty")
    if len(source) > LONGEST:
        raise TemplateProblem(f"the condition has {len(source)} characters, at most {LONGEST} are allowed")
    if _BRACES.search(source):
        raise TemplateProblem("a condition is written without braces, such as  status == 'ready'")
    environment = ConditionEnvironment()
    try:
        bound = environment.from_string("{% if " + " ".join(source.split()) + " %}y{% endif %}")
        analysis = bound.analyze()
        unknown = [name for name in analysis.filters if name not in environment.filters]
    except (LiquidError, RecursionError) as error:
        reason = getattr(error, "message", "it is nested too deeply")
        raise TemplateProblem(f"the condition cannot be read: {reason}") from None
    if unknown:
        raise TemplateProblem(f'there is no filter "{unknown[0]}"; there are: {", ".join(sorted(environment.filters))}')
    paths = [one.segments for group in analysis.globals.values() for one in group]
    faults = [conversation_fault(path) for path in paths if is_about_conversation(path)]
    if any(faults):
        raise TemplateProblem("; ".join(filter(None, faults)))
    return bound
