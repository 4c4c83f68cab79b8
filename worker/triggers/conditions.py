"""Conditions on a CRM record, in the syntax of Liquid: ``status == 'ready' and balance > 0``. Pure.

Fields have the same names as in texts. A missing or empty field is false, and equals only ``nil``. Numbers, even if the
CRM gives them as text, compare with numbers. A comparison that makes no sense is false.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from worker.triggers.context import condition_context
from worker.triggers.templates import TemplateProblem
from worker.triggers.values import read_number

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


def holds(source: str, properties: Mapping[str, Any], contact: Mapping[str, str] | None = None) -> bool:
    """Return True if the condition holds for a record, False if it does not or cannot be evaluated for this record.

    Raises TemplateProblem if ``source`` is not a condition.
    """
    from liquid.exceptions import LiquidError

    template = _compiled(source)
    context = {name: _numbered(value) for name, value in condition_context(properties, contact or {}).items()}
    try:
        return template.render(context).strip() == "y"
    except LiquidError:  # such as a text compared with a number
        return False


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
        unknown = [name for name in bound.analyze().filters if name not in environment.filters]
    except (LiquidError, RecursionError) as error:
        reason = getattr(error, "message", "it is nested too deeply")
        raise TemplateProblem(f"the condition cannot be read: {reason}") from None
    if unknown:
        raise TemplateProblem(f'there is no filter "{unknown[0]}"; there are: {", ".join(sorted(environment.filters))}')
    return bound


def _numbered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _numbered(one) for name, one in value.items()}
    number = read_number(value)
    return value if number is None else number
