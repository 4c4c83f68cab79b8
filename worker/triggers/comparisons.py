"""Compares values in the conditions of Liquid as a person reads them: text may be a number, a date or a boolean.

A value that cannot be read for its comparison, or may mean two things, is an error, unless the rest of the condition
decides alone: ``vip or due > '2027-01-01'`` holds for a VIP, whatever ``due`` is.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from typing import Any, TypeAlias

from liquid import RenderContext
from liquid.builtin.expressions import BooleanExpression, Path
from liquid.builtin.expressions.logical import (
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalOrExpression,
    LtExpression,
    NeExpression,
    is_truthy,
)
from liquid.exceptions import FilterError
from liquid.expression import Expression

from worker.triggers.context import REGION
from worker.triggers.date_text import Moment, possible_dates, read_date
from worker.triggers.number_text import Amount, possible_amounts, read_amount
from worker.triggers.same_value import is_same_date, may_mean_the_same
from worker.triggers.values import read_boolean, value_text

_Ordering: TypeAlias = Callable[[Any, Any], bool]
_ORDERINGS: Mapping[type[Expression], _Ordering] = {
    LtExpression: operator.lt,
    LeExpression: operator.le,
    GtExpression: operator.gt,
    GeExpression: operator.ge,
}


class NotUnderstood(FilterError):
    """A comparison with a value that cannot be read. ``field`` is its name in the template, "" if it has none."""

    def __init__(self, field: str, value: str, other: str, expression: Expression) -> None:
        named = field or "a value"
        super().__init__(f'{named} is "{value}", which cannot be compared with {other}', token=expression.token)
        self.field = field
        self.value = value


class Condition(BooleanExpression):
    """A condition of ``if``, ``elsif`` or ``unless``."""

    def evaluate(self, context: RenderContext) -> bool:
        """Return True if the condition holds. Raises NotUnderstood."""
        return is_truthy(_evaluate(self.expression, context))


def understanding(expression: Expression) -> Expression:
    """Return the same condition, which compares as this module does."""
    return (
        Condition(expression.token, expression.expression) if isinstance(expression, BooleanExpression) else expression
    )


def region_of_record(context: RenderContext) -> str | None:
    """Return the region whose people write the dates and numbers of the record."""
    found = context.globals.get(REGION)
    return found if isinstance(found, str) else None


def _evaluate(expression: Expression, context: RenderContext) -> object:
    match expression:
        case LogicalAndExpression():
            return _decided(expression, context, by=False)
        case LogicalOrExpression():
            return _decided(expression, context, by=True)
        case EqExpression():
            return _equal(expression, context)
        case NeExpression():
            return not _equal(expression, context)
        case LtExpression() | LeExpression() | GtExpression() | GeExpression():
            return _ordered(expression, context)
        case _:
            return expression.evaluate(context)


def _decided(expression: LogicalAndExpression | LogicalOrExpression, context: RenderContext, *, by: bool) -> bool:
    """One side that is ``by`` decides, even if the other side cannot be read."""
    try:
        if is_truthy(_evaluate(expression.left, context)) is by:
            return by
    except NotUnderstood:
        if is_truthy(_evaluate(expression.right, context)) is by:
            return by
        raise
    return is_truthy(_evaluate(expression.right, context))


def _ordered(expression: LtExpression | LeExpression | GtExpression | GeExpression, context: RenderContext) -> object:
    left, right = expression.left.evaluate(context), expression.right.evaluate(context)
    if not (_is_plain(left) and _is_plain(right)):
        return expression.evaluate(context)  # nil, a missing field, a boolean
    region = region_of_record(context)
    if isinstance(left, str) and isinstance(right, str):
        pair = _as_read(left, right, region)
    else:
        pair = _as_numbers(read_amount(left, region), read_amount(right, region))
    if None in pair:
        raise _not_understood(expression, left, right)
    return _ORDERINGS[type(expression)](*pair)


def _as_read(left: str, right: str, region: str | None) -> tuple[Any, Any]:
    """Return two texts as numbers, as dates, or as they are; None in place of what is not understood."""
    first, second = read_amount(left, region), read_amount(right, region)
    if first is not None and second is not None:
        return _as_numbers(first, second)
    if possible_dates(left, region) or possible_dates(right, region):
        return _as_dates(read_date(left, region), read_date(right, region))
    return (None, None) if possible_amounts(left, None) or possible_amounts(right, None) else (left, right)


def _as_numbers(first: Amount | None, second: Amount | None) -> tuple[int | float | None, int | float | None]:
    if first is None or second is None or not first.is_comparable(second):
        return None, None
    return first.number, second.number


def _as_dates(first: Moment | None, second: Moment | None) -> tuple[datetime | None, datetime | None]:
    if first is None or second is None:
        return None, None
    both_have_a_zone = all(isinstance(one, datetime) and one.tzinfo for one in (first, second))
    return _moment(first, zones=both_have_a_zone), _moment(second, zones=both_have_a_zone)


def _moment(moment: Moment, *, zones: bool) -> datetime:
    """Return a day as its midnight, and a time as it is written, unless both times of a comparison have a zone."""
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time(0))
    return moment.astimezone(UTC) if zones else moment.replace(tzinfo=None)


def _equal(expression: EqExpression | NeExpression, context: RenderContext) -> bool:
    left, right = expression.left.evaluate(context), expression.right.evaluate(context)
    if isinstance(left, bool) != isinstance(right, bool) and _is_plain(right if isinstance(left, bool) else left):
        first, second = read_boolean(left), read_boolean(right)
        if first is None or second is None:
            raise _not_understood(expression, left, right)
        return first is second
    if not (_is_plain(left) and _is_plain(right)):
        same = EqExpression(expression.token, expression.left, expression.right).evaluate(context)
        return bool(same)
    if left == right:
        return True
    region = region_of_record(context)
    if is_same_date(left, right, region):
        return True
    first_amount, second_amount = read_amount(left, region), read_amount(right, region)
    if first_amount is not None and second_amount is not None:
        if not first_amount.is_comparable(second_amount):
            raise _not_understood(expression, left, right)
        return first_amount.number == second_amount.number
    if may_mean_the_same(left, right, region):
        raise _not_understood(expression, left, right)
    return False


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _not_understood(expression: Any, left: object, right: object) -> NotUnderstood:
    """Blame the field of a comparison; of two fields, the one that is text."""
    sides = [(expression.left, left, right), (expression.right, right, left)]
    sides.sort(key=lambda side: (not isinstance(side[0], Path), not isinstance(side[1], str)))
    named, value, other = sides[0]
    return NotUnderstood(
        str(named) if isinstance(named, Path) else "", value_text(value)[:40], _quoted(other), expression
    )


def _quoted(value: object) -> str:
    return f'"{value[:40]}"' if isinstance(value, str) else value_text(value)
