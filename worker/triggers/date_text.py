"""Reads dates and times as CRMs, spreadsheets and people write them. Pure.

A date that can mean two days is not guessed. ``03/04/2027`` is the third of April or the fourth of March: the region of
the connection decides. A value that contradicts the region, such as ``13/04/2027`` in the United States, is not read,
because then the region is probably wrong for the other values, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from typing import TypeAlias

from crm_adapters.fields import fold
from worker.triggers.values import value_text

Moment: TypeAlias = date | datetime

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2200, 1, 1)


class DateOrder(StrEnum):
    """Which number comes first in ``03/04/2027``."""

    DAY_FIRST = "day first"
    MONTH_FIRST = "month first"
    YEAR_FIRST = "year first"
    """Usually the year; where it comes last, it is the day. So ``03/04/27`` can mean two days, ``03/04/2027`` one."""
    UNKNOWN = "unknown"


_MONTH_FIRST = frozenset("US AS GU MH MP PH PR UM VI".split())
_YEAR_FIRST = frozenset("SE ZA".split())
_BOTH_IN_USE = frozenset("BI CA CN ER FM HU JP KP KR KY LT MN NP PA PW TW".split())
"""Regions that write days first and months first, or hardly ever end a date with the year."""

_MONTHS = (
    "january jan januar jaenner janvier janv enero ene gennaio gen janeiro januari",
    "february feb februar februari fevrier fevr fev febrero febbraio fevereiro",
    "march mar marz maerz mrz mars marzo marco maart mrt marts",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag maio mei maj",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug aout agosto ago augustus augusti",
    "september sep sept septembre septiembre settembre set setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez decembre diciembre dic dicembre dezembro desember des",
)
"""Month names and their abbreviations, folded: English, German, French, Spanish, Italian, Portuguese, Dutch, Swedish,
Danish and Norwegian.
"""
_MONTH = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()} | {"janner": 1}
_WEEKDAYS = (
    "monday mon montag mo lundi lun lunes lunedi segundafeira segunda maandag ma",
    "tuesday tue tues dienstag di mardi mar martes martedi tercafeira terca dinsdag",
    "wednesday wed mittwoch mi mercredi mer miercoles mie mercoledi quartafeira quarta woensdag wo",
    "thursday thu thur thurs donnerstag do jeudi jeu jueves jue giovedi gio quintafeira quinta donderdag",
    "friday fri freitag fr vendredi ven viernes vie venerdi sextafeira sexta vrijdag vr",
    "saturday sat samstag sonnabend sa samedi sam sabado sab sabato zaterdag za",
    "sunday sun sonntag so dimanche dim domingo dom domenica zondag zo",
)
_WEEKDAY = {name: number for number, names in enumerate(_WEEKDAYS) for name in names.split()}

_SHORT_YEAR_IS_CLEAR = {**{year: 2000 + year for year in range(30)}, **{year: 1900 + year for year in range(69, 100)}}
"""Years of two digits in which spreadsheets (1930 to 2029) and POSIX (1969 to 2068) agree."""

_SERIAL = re.compile(r"[2-7]\d{4}(?:[.,]\d+)?", re.ASCII)
_EPOCH_MS = re.compile(r"\d{12,13}")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_FRACTION_OF_AN_HOUR = re.compile(r"[\d-]{8,10}[ T]\d{2}[.,]\d+.*")
_YEAR_THEN = re.compile(r"(\d{4})([-/.]) ?(\d{1,2})\2 ?(\d{1,2})\.?")
_THEN_YEAR = re.compile(r"(\d{1,2})([-/.]) ?(\d{1,2})\2 ?(\d{4}|\d{2})\.?")
_EAST_ASIAN = re.compile(r"(\d{4}) ?[\u5e74\ub144] ?(\d{1,2}) ?[\u6708\uc6d4] ?(\d{1,2}) ?[\u65e5\uc77c]")
_DAY_MONTH = re.compile(
    r"(?:(?:the|le|el|il|am|den|op) )?"
    r"(\d{1,2})(?:\.|st|nd|rd|th|er|º|°)?[ -]*(?:of |de )?([^\W\d_]+)\.?,?[ -]*(?:de |del )?(\d{4}|\d{2})"
)
_MONTH_DAY = re.compile(r"([^\W\d_]+)\.?[ -]*(\d{1,2})(?:st|nd|rd|th)?(?:, ?|[ -]+)(\d{4})")
_WEEKDAY_BEFORE = re.compile(r"([^\W\d_]+(?:-feira)?)\.?,? +(?=\w)")
_TIME_AFTER = re.compile(
    r"(?P<day>.*?\w\.?)(?:,? +(?:(?:at|um|à|a las|alle|alle ore|ore|às|om|kl\.?|klo|@|-) +)?|[Tt](?=\d))"
    r"(?P<hour>\d{1,2})(?:[:h.](?P<minute>\d{2}))?(?::(?P<second>\d{2})(?:[.,]\d+)?)?"
    r"(?: ?(?P<half>[ap])\.? ?m\.?)?(?P<full> ?(?:Uhr|uur|h))?"
    r"(?: ?(?P<zone>Z|UTC|GMT|(?:GMT|UTC)?[+-]\d{2}(?::?\d{2})?)(?: \([^()]*\))?)?",
    re.IGNORECASE,
)
_TIME_BEFORE = re.compile(
    r"(?P<time>\d{1,2}:\d{2}(?: ?[ap]\.? ?m\.?)?)(?:,? +(?:(?:-|on|am|le|el) +)?)(?P<day>\S.*)", re.IGNORECASE
)
_NAMED_OFFSET = re.compile(r"(.*[\d:](?:Z|[+-]\d{2}:?\d{2}))\[[\w/+-]+\]", re.ASCII)
"""An offset and, in brackets, the zone that it is of, as Java writes them. The offset says when."""
_JSON_DATE = re.compile(r"/Date\((\d{12,13})(?:[+-]\d{4})?\)/", re.ASCII)
"""How older web services of Microsoft and Xero write a moment."""
_DAY_IN_ISO = re.compile(r"\d{8}|\d{4}-?W\d{2}(?:-?\d)?", re.ASCII)
_LONGEST = 80
_SPACES = re.compile(r"\s+")


def date_order(region: str | None) -> DateOrder:
    """Return how dates are written in a region, such as ``US``; unknown without one."""
    if region is None or region in _BOTH_IN_USE:
        return DateOrder.UNKNOWN
    if region in _MONTH_FIRST:
        return DateOrder.MONTH_FIRST
    return DateOrder.YEAR_FIRST if region in _YEAR_FIRST else DateOrder.DAY_FIRST


def read_date(value: object, region: str | None) -> Moment | None:
    """Return the day or the time that a value holds; None if it holds none, or may hold another one.

    Read are ISO 8601 and dates whose year comes first, dates whose year comes last (``region`` decides), names of
    months in ten languages, times after the date (of 12 or 24 hours, with or without a zone), and milliseconds since
    1970 (HubSpot; midnight UTC means a day). Other numbers are not read: they could mean anything.
    """
    found = possible_dates(value, region)
    return found[0] if len(found) == 1 else None


def possible_dates(value: object, region: str | None) -> tuple[Moment, ...]:
    """Return every day or time that a value may hold."""
    text = value_text(value)
    return _possible(text, date_order(region)) if len(text) <= 2 * _LONGEST and any(map(str.isdigit, text)) else ()


def is_day(value: object, moment: Moment) -> bool:
    """Return True if a value names a day without a time of day, in any form: ``2026-05-01``, ``20260501``."""
    return not isinstance(moment, datetime) or _DAY_IN_ISO.fullmatch(value_text(value).strip()) is not None


def may_be_serial(value: object) -> bool:
    """Return True for a number by which a spreadsheet may mean a day: 46357 is 2026-12-01 in one kind of workbook.

    It is not read: in the other kind it is a day four years later, and it may just be a number.
    """
    return _SERIAL.fullmatch(value_text(value).strip()) is not None


@lru_cache(maxsize=4096)
def _possible(text: str, order: DateOrder) -> tuple[Moment, ...]:
    text = _SPACES.sub(" ", text).strip()
    if len(text) > _LONGEST or not text.isprintable():
        return ()
    if match := _JSON_DATE.fullmatch(text) or _NAMED_OFFSET.fullmatch(text):
        text = match[1]
    if text.isdigit():
        return _in_range(_of_digits(text))
    if (iso := _iso(text)) is not None:
        return _in_range([iso])
    if match := _TIME_BEFORE.fullmatch(text):
        text = f"{match['day']} {match['time']}"
    days = list(_days(text, order))
    if days or (match := _TIME_AFTER.fullmatch(text)) is None:
        return _in_range(days)
    moments = [_at(day, match) for day in _days(match["day"], order)]
    return _in_range(moment for moment in moments if moment is not None)


def _in_range(found: Iterator[Moment] | list[Moment]) -> tuple[Moment, ...]:
    inside = [one for one in found if FIRST_DAY <= (one.date() if isinstance(one, datetime) else one) < LAST_DAY]
    return tuple(dict.fromkeys(inside))


def _of_digits(text: str) -> list[Moment]:
    """``20260501`` is midnight of that day."""
    if not text.isascii():
        return []
    if match := _COMPACT.fullmatch(text):
        return [datetime.combine(day, time(0)) for day in _day(match[1], match[2], match[3])]
    if not _EPOCH_MS.fullmatch(text):
        return []
    moment = datetime.fromtimestamp(int(text) / 1000, UTC)
    return [moment.date() if moment.time() == time(0) else moment]


def _iso(text: str) -> Moment | None:
    if match := _ISO.fullmatch(text):
        return next(_day(match[1], match[2], match[3]), None)
    if _FRACTION_OF_AN_HOUR.fullmatch(text):  # Danes and Finns write 15.07 for 15:07
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _days(text: str, order: DateOrder) -> Iterator[date]:
    """Yield the days that a text without a time may mean. A weekday before the date must be right."""
    days = list(_plain_days(text, order))
    match = _WEEKDAY_BEFORE.match(text)
    weekday = _WEEKDAY.get(fold(match[1])) if match else None
    if days or match is None or weekday is None:  # "Mar 3, 2027" is in March, "Mar. 3 avril" a Tuesday
        return iter(days)
    return (day for day in _plain_days(text[match.end() :], order) if day.weekday() == weekday)


def _plain_days(text: str, order: DateOrder) -> Iterator[date]:
    if match := _YEAR_THEN.fullmatch(text):
        return _day(match[1], match[3], match[4])
    if match := _THEN_YEAR.fullmatch(text):
        return _year_last(match[1], match[3], match[4], _order_of(match[2], order))
    if match := _EAST_ASIAN.fullmatch(text):
        return _day(match[1], match[2], match[3])
    if match := _DAY_MONTH.fullmatch(text):
        return _named(match[3], match[2], match[1])
    if match := _MONTH_DAY.fullmatch(text):
        return _named(match[3], match[1], match[2])
    return iter(())


def _order_of(separator: str, order: DateOrder) -> DateOrder:
    """Dots are day first where days come first. Elsewhere people write them both ways."""
    return DateOrder.UNKNOWN if separator == "." and order is DateOrder.MONTH_FIRST else order


def _year_last(first: str, second: str, third: str, order: DateOrder) -> Iterator[date]:
    day_first, month_first = _day(third, second, first), _day(third, first, second)
    year_first = _day(first, second, third) if len(first) == len(third) == 2 else iter(())
    if order is DateOrder.DAY_FIRST:
        return day_first
    if order is DateOrder.MONTH_FIRST:
        return month_first
    if order is DateOrder.YEAR_FIRST:
        return chain(day_first, year_first)
    return chain(day_first, month_first, year_first)


def _named(year: str, month: str, day: str) -> Iterator[date]:
    number = _MONTH.get(fold(month))
    return iter(()) if number is None else _day(year, str(number), day)


def _day(year: str, month: str, day: str) -> Iterator[date]:
    full = int(year) if len(year) == 4 else _SHORT_YEAR_IS_CLEAR.get(int(year))
    try:
        if full is not None:
            yield date(full, int(month), int(day))
    except ValueError:
        return


def _at(day: date, match: re.Match[str]) -> datetime | None:
    """Return the day with the time of a match of ``_TIME_AFTER``; None if there is no such time."""
    hour, half = int(match["hour"]), (match["half"] or "").lower()
    if match["minute"] is None and not half and not match["full"]:
        return None
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    try:
        clock = time(hour, int(match["minute"] or 0), int(match["second"] or 0), tzinfo=_zone(match["zone"]))
    except ValueError:
        return None
    return datetime.combine(day, clock)


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    text = text.upper().removeprefix("GMT").removeprefix("UTC")
    if text in ("Z", ""):
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)
