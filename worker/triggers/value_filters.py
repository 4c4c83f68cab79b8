"""The filters of a text that read values as people write them: numbers and money, dates and times, names. Pure.

What cannot be read, or can mean two things, is an error, so that the text is not sent. It never becomes 0, or the hour
of another time zone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from liquid import RenderContext
from liquid.builtin.filters.math import round_
from liquid.exceptions import FilterError
from liquid.filter import with_context

from crm_adapters.placeholders import is_no_name
from worker.policy.locations import zone_info
from worker.triggers.comparisons import region_of_record
from worker.triggers.context import ZONES
from worker.triggers.date_text import Moment, is_day, possible_dates, read_date
from worker.triggers.names import first_name_of, written_name
from worker.triggers.notation import currency_named, currency_of, date_locale, may_be_currency, number_locale
from worker.triggers.number_text import PERCENT, Amount, Money, possible_amounts, read_amount
from worker.triggers.values import value_text

_PRODUCTS = ("times", "divided_by")
_CLOCKS = ("date", "local_date", "local_time")
_HOURS = re.compile(r"%[-_0^#]*[HIklMSfpPXcrRTsZz]")
"""What writes a time of day, or its zone."""
_AS_ON_PHONES = {0x2019: "'", 0x2212: "-", 0xFFE5: "¥"}
_REMEDY = 'name the field with the time zone (fields.time_zone), or write the zone: | date: "%H:%M", "America/Denver"'
_EXCERPT = 40


def calculating(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Pass only numbers to a filter of the library, which takes text that it cannot read as 0. Money stays money."""

    @with_context
    @wraps(function)
    def filter_(*args: object, context: RenderContext) -> Any:
        amounts = [_amount(value, region_of_record(context)) for value in args]
        units = [amount.unit for amount in amounts if amount.unit]
        if len(set(units)) > 1:
            raise FilterError(f"{' and '.join(sorted(set(units)))} cannot be calculated with each other", token=None)
        result = function(*(float(one.number) if one.unit else one.number for one in amounts))
        if not units or (name in _PRODUCTS and len(units) > 1):
            return result
        return Money(result, units[0])

    return filter_


def rounded(number: float, digits: float = 0) -> object:
    """Apply Liquid's ``round``."""
    if not 0 <= digits <= 10:
        raise FilterError("round takes 0 to 10 digits", token=None)
    return round_(number, int(digits))


@with_context
def number(value: object, digits: object = None, *, context: RenderContext) -> str:
    """Write a number as the people of the region do: ``1,250.5``. ``digits``: so many decimals."""
    from babel.numbers import format_decimal

    region = region_of_record(context)
    amount = _amount(value, region)
    places = None if digits is None else _amount(digits, region).number
    if places is not None and places not in range(11):
        raise FilterError("number takes 0 to 10 digits", token=None)
    locale = number_locale(region)
    pattern = str(locale.decimal_formats[None].pattern)
    if places is not None:
        pattern = pattern.replace("0.###", "0." + "0" * int(places) if places else "0")
    exact = Decimal(str(amount.number))
    return _on_a_phone(format_decimal(exact, pattern, locale, decimal_quantization=places is not None))


@with_context
def money(value: object, currency: object = None, *, context: RenderContext) -> str:
    """Write money as the people of the region do: ``$1,250.00``.

    The currency is that of the value, else ``currency`` (``USD``), else that of the region.
    """
    from babel.numbers import format_currency

    region = region_of_record(context)
    amount = _amount(value, region)
    named = None if currency is None else currency_named(value_text(currency), region)
    if currency is not None and (named is None or len(named) != 3):
        raise FilterError(_no_currency(value_text(currency)), token=None)
    if named is not None and amount.unit not in ("", named) and not may_be_currency(amount.unit, named):
        raise FilterError(f"the value is in {amount.unit}, not in {named}", token=None)
    code = named or amount.unit or currency_of(region)
    if code is None or len(code) != 3:
        shown = f'"{code}" may be several currencies' if code else "it is not known in which currency this is"
        raise FilterError(f'{shown}; name it: | money: "USD"', token=None)
    return _on_a_phone(format_currency(Decimal(str(amount.number)), code, locale=number_locale(region)))


@with_context
def date(value: object, form: object, zone: object = None, *, context: RenderContext) -> str:
    """Write a date or time in another form (``%d %B``), a time with a zone by the person's clock.

    ``zone``: by the clocks of this time zone instead, such as ``America/Denver``.
    """
    return _written(value, str(form), zone, context)


@with_context
def local_date(value: object, form: object = None, zone: object = None, *, context: RenderContext) -> str:
    """Write the day by the person's clock, in the form of the region: ``Dec 1, 2026``."""
    return _written(value, None if form is None else str(form), zone, context)


@with_context
def local_time(value: object, form: object = None, zone: object = None, *, context: RenderContext) -> str:
    """Write the time of day by the person's clock, in the form of the region: ``9:00 AM``."""
    return _written(value, None if form is None else str(form), zone, context, hours=True)


def name(value: object) -> str:
    """Write a name with its capitals: ``Mary Ann O'Brien`` for ``MARY ANN O'BRIEN``. A placeholder is no name."""
    text = value_text(value)
    return "" if is_no_name(text) else written_name(text)


def first_name(value: object) -> str:
    """Return the name to greet somebody by, from a full name; empty if it has none."""
    return first_name_of(value_text(value))


def _written(value: object, form: str | None, zone: object, context: RenderContext, *, hours: bool = False) -> str:
    region = region_of_record(context)
    moment = read_date(value, region)
    shown = value_text(value)[:_EXCERPT]
    if moment is None:
        why = "may be two dates" if possible_dates(value, region) else "is not a date that can be read without doubt"
        raise FilterError(f'"{shown}" {why}; a date is written like 2026-03-01', token=None)
    hours = hours or (form is not None and _HOURS.search(form) is not None)
    if hours and is_day(value, moment):
        raise FilterError(f'"{shown}" is a day without a time of day', token=None)
    written: dict[str, str] = {}
    for clock, local in _on_clocks(moment, shown, zone, context):
        written.setdefault(_form(local, form, region, hours=hours), clock)
    if zone is None and not hours and isinstance(moment, datetime) and _may_be_a_day(moment):
        written.setdefault(_form(moment.date(), form, region, hours=False), "a day, not a time")
    if len(written) > 1:
        choices = " or ".join(f"{text} ({clock})" for text, clock in written.items())
        raise FilterError(f'"{shown}" may be {choices}; {_REMEDY}', token=None)
    return next(iter(written))


def _on_clocks(moment: Moment, shown: str, zone: object, context: RenderContext) -> Sequence[tuple[str, Moment]]:
    """Return (zone, what its clocks show) for each zone that the person may be in."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        return [("", moment)]
    zones = context.globals.get(ZONES)
    names = [value_text(zone)] if zone is not None else sorted(zones()) if callable(zones) else []
    if not names:
        raise FilterError(
            f'it is not known in which time zone the person is, and "{shown}" is in another one; {_REMEDY}', token=None
        )
    unknown = next((one for one in names if not _is_zone(one)), None)
    if unknown is not None:
        raise FilterError(_no_zone(unknown), token=None)
    return [(one, moment.astimezone(zone_info(one))) for one in names]


def argument_fault(name: str, arguments: Sequence[str | None]) -> str:
    """Return why a filter can never work with these arguments, "" if it can. None: known only with a record."""
    if name in _CLOCKS and len(arguments) > 1 and arguments[1] is not None and not _is_zone(arguments[1]):
        return _no_zone(arguments[1])
    if (
        name == "money"
        and arguments
        and arguments[0] is not None
        and len(currency_named(arguments[0], None) or "") != 3
    ):
        return _no_currency(arguments[0])
    return ""


def _is_zone(text: str) -> bool:
    try:
        zone_info(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _no_zone(text: str) -> str:
    return f'there is no time zone "{text[:_EXCERPT]}"; write it like America/Denver'


def _no_currency(text: str) -> str:
    return f'"{text[:_EXCERPT]}" is no currency; write its code, such as USD'


def _may_be_a_day(moment: datetime) -> bool:
    """Return True for midnight in UTC, which is also how systems write a day."""
    return moment.tzinfo == UTC and moment.time() == time(0)


def _form(moment: Moment, form: str | None, region: str | None, *, hours: bool) -> str:
    if form is not None:
        return moment.strftime(form)
    from babel.dates import format_date, format_time

    locale = date_locale(region)
    if hours and isinstance(moment, datetime):
        return _on_a_phone(format_time(moment.time(), "short", locale=locale))
    return _on_a_phone(format_date(moment, "medium", locale=locale))


def _amount(value: object, region: str | None) -> Amount:
    amount = read_amount(value, region)
    if amount is not None and amount.unit != PERCENT:
        return amount
    shown = f'"{value_text(value)[:_EXCERPT]}"' if isinstance(value, str | bool) else "this"
    if amount is not None:
        why = "may mean a number or hundredths"
    elif len(possible_amounts(value, None)) > 1:
        why = "may be two numbers; set default_region of the connection, or write it like 1234.5"
    else:
        why = "is not a number that can be read without doubt, such as 1234.5"
    raise FilterError(f"{shown} {why}", token=None)


def _on_a_phone(text: str) -> str:
    """Return text of the CLDR with plain spaces and signs: others halve the length of a segment."""
    shown = (" " if one.isspace() else one for one in text if unicodedata.category(one) != "Cf")
    return "".join(shown).translate(_AS_ON_PHONES).strip()
