"""Reads numbers and money as CRMs, spreadsheets and people write them. Pure.

A text that can mean two numbers is not guessed. ``1,234`` is a thousand or little more than one: the region of the
connection decides. A value that contradicts the region, such as ``1.234,50`` in the United States, is not read, because
then the region is probably wrong for the other values, too. Money in a foreign currency may be written in either way.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from worker.triggers.notation import currency_named, currency_of, decimal_mark, may_be_currency

PERCENT = "%"

_LONGEST = 48
_MOST_DIGITS = 15
"""Digits before the decimals: those that every float keeps, and more than any amount has."""
_PLAIN = re.compile(r"-?(0|[1-9][0-9]{0,14})(?:\.(?:[0-9]{1,2}|[0-9]{4,20}))?")
"""What can mean one number only, wherever it was written."""
_BODY = re.compile(r"[0-9](?:[0-9.,' ]*[0-9])?")
_DECIMALS = re.compile(r"(?P<whole>0|[1-9][0-9]*)(?P<mark>[.,])(?P<rest>[0-9]{1,20})")
_FRACTION = re.compile(r"(?P<mark>[.,])(?P<rest>[0-9]{1,20})")
_GROUPS = re.compile(
    r"(?P<whole>[1-9][0-9]{0,2}(?:(?P<group>[,.' ])[0-9]{3})(?:(?P=group)[0-9]{3})*|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3})"
    r"(?:(?P<mark>[.,])(?P<rest>[0-9]{1,20}))?"
)
_NO_CENTS = re.compile(r"[.,] ?[-\u2013\u2014]{1,2}|:-|/[-=]")
"""How people write that there are none: ``99,-`` in German, Dutch and Swiss, ``99:-`` in Swedish, ``99/-`` in India."""
_CODE_AND_SIGN = re.compile(r"([A-Z]{3}) ?([^\w\s])|([^\w\s]) ?([A-Z]{3})")
"""A code and a sign on one side of a number: ``CAD$20``, ``$USD 20``."""
_PARENTHESES = re.compile(r"([^()]*)\(([^()]+)\)([^()]*)")
_MINUS = "-\u2212"
_AS_ASCII = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {
    **dict.fromkeys((0x2019, 0x2018, 0x02BC, 0xB4, 0x60), "'"),
    **dict.fromkeys((0x2212, 0x2010, 0x2011, 0xFE63), "-"),
    **{0xFFE5: "¥", 0xFFE1: "£", 0xFFE6: "₩"},
}
"""Full-width characters of East Asia, and the apostrophes and minus signs of word processors."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with its unit: a currency (its code, or a sign such as "$" that several have), ``PERCENT``, or ""."""

    number: int | float
    unit: str = ""

    def is_comparable(self, other: Amount) -> bool:
        """Return True if two amounts can be compared: plain numbers, or of one unit. Money compares with numbers."""
        return self.unit == other.unit or ("" in (self.unit, other.unit) and PERCENT not in (self.unit, other.unit))

    def may_equal(self, other: Amount) -> bool:
        """Return True if two amounts may be the same: "$5" may be 5, and "USD 5", and is not "€5"."""
        mine, its = self.unit, other.unit
        same_unit = self.is_comparable(other) or may_be_currency(mine, its) or may_be_currency(its, mine)
        return self.number == other.number and same_unit


class Money(float):
    """A computed number that still knows its currency."""

    currency: str

    def __new__(cls, number: float, currency: str) -> Money:
        """Return the number with its currency."""
        made = super().__new__(cls, number)
        made.currency = currency
        return made


@dataclass(frozen=True, slots=True)
class _Reading:
    number: int | float
    mark: str = ""
    group: str = ""


def read_amount(value: object, region: str | None) -> Amount | None:
    """Return the number that a value holds, with its unit; None if it holds none, or may hold another one.

    Read are plain numbers, thousands in groups (of two, too, as in India), and a minus before, after, or as the
    parentheses of accountants, with or without a currency or a percent sign. Not read are exponents, and leading zeros
    as in ZIP codes.
    """
    found = possible_amounts(value, region)
    return found[0] if len(found) == 1 else None


def possible_amounts(value: object, region: str | None) -> tuple[Amount, ...]:
    """Return every number that a value may hold, with its unit."""
    match value:
        case str():
            return _of_text(value, region) if len(value) <= _LONGEST else ()
        case Money():
            return (Amount(float(value), value.currency),)
        case float():
            return (Amount(value),) if math.isfinite(value) else ()
        case int() if not isinstance(value, bool):
            return (Amount(value),)
        case _:
            return ()


@lru_cache(maxsize=4096)
def _of_text(text: str, region: str | None) -> tuple[Amount, ...]:
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return (Amount(float(text) if "." in text else int(text)),)
    if not any("0" <= character <= "9" or "\uff10" <= character <= "\uff19" for character in text):
        return ()
    return _possible(_cleaned(text), region)


def _cleaned(text: str) -> str:
    """Return the text with plain spaces, apostrophes and minus signs, and without what cannot be seen."""
    shown = (" " if one.isspace() else one for one in text if unicodedata.category(one) != "Cf")
    return "".join(shown).translate(_AS_ASCII).strip()


def _possible(text: str, region: str | None) -> tuple[Amount, ...]:
    minuses = 0
    if match := _PARENTHESES.fullmatch(text):
        text, minuses = "".join(match.groups()), 1
    body = _BODY.search(text)
    if body is None:
        return ()
    before, number, after = text[: body.start()], body[0], text[body.end() :]
    if before.endswith((".", ",")):
        if not _is_abbreviation(before, region):  # ".50"
            number = before[-1] + number
        before = before[:-1]
    after = _NO_CENTS.sub("", after, count=1) if _NO_CENTS.match(after) else after
    before, minus_before = _without_minus(before)
    after, minus_after = _without_minus(after)
    minuses += minus_before + minus_after
    unit = _unit(before, after, region)
    if unit is None or minuses > 1:
        return ()
    is_money = unit not in ("", PERCENT)
    if is_money and unit != currency_of(region):
        mark = None
    else:
        mark = decimal_mark(region) or (decimal_mark(region, sign_first=bool(before)) if is_money else None)
    found = (reading.number for reading in _fitting(list(_readings(number)), mark))
    return tuple(Amount(-one if minuses else one, unit) for one in dict.fromkeys(found))


def _is_abbreviation(before: str, region: str | None) -> bool:
    """Return True for ``Rs.`` in ``Rs.50``, and False for the point of ``$.50`` and ``.50``."""
    name = before[:-1].strip(_MINUS)
    return name[-1:].isalpha() and not name.isupper() and currency_named(name, region) is not None


def _without_minus(text: str) -> tuple[str, int]:
    """Return what stands beside a number without the minus sign at its start or end, and how many there are."""
    bare = text.strip()
    signs = sum((bare[:1] in _MINUS, bare[-1:] in _MINUS)) if len(bare) > 1 else int(bare in _MINUS and bool(bare))
    return bare.strip(_MINUS).strip() if signs else bare, signs


def _unit(before: str, after: str, region: str | None) -> str | None:
    """Return the unit that stands before or after a number; None if it is none that is known, or there are two."""
    if (both := _CODE_AND_SIGN.fullmatch(before or after)) and not (before and after):
        before, after = both[2] or both[3], both[1] or both[4]
    found = [PERCENT if text == PERCENT else currency_named(text, region) for text in (before, after) if text]
    if not found:
        return ""
    first, last = found[0], found[-1]
    if first is None or last is None or (PERCENT in found and len(found) > 1):
        return None
    if first == last:
        return first
    signs = currency_named(before, None) or "", currency_named(after, None) or ""  # "$5 CAD", wherever
    return last if may_be_currency(signs[0], last) else first if may_be_currency(signs[1], first) else None


def _readings(text: str) -> Iterator[_Reading]:
    """Yield the numbers that digits with separators may mean."""
    if text.isdigit() and (text == "0" or not text.startswith("0")):
        yield from _reading(text, "", "", "")
    if match := _FRACTION.fullmatch(text):
        yield from _reading("0", match["rest"], match["mark"], "")
    if match := _DECIMALS.fullmatch(text):
        yield from _reading(match["whole"], match["rest"], match["mark"], "")
    if (match := _GROUPS.fullmatch(text)) and match["mark"] != (group := match["group"] or ","):
        whole = "".join(filter(str.isdigit, match["whole"]))
        yield from _reading(whole, match["rest"] or "", match["mark"] or "", group)


def _reading(whole: str, rest: str, mark: str, group: str) -> Iterator[_Reading]:
    if len(whole) <= _MOST_DIGITS:
        yield _Reading(float(f"{whole}.{rest}") if rest else int(whole), mark, group)


def _fitting(readings: list[_Reading], mark: str | None) -> Iterator[_Reading]:
    """Yield the readings that fit a region with this decimal mark; all if both marks are in use there.

    Software writes a decimal point everywhere, without groups.
    """
    for one in readings:
        by_software = one.mark == "." and not one.group and len(readings) == 1
        if mark is None or by_software or (one.mark in ("", mark) and one.group != mark):
            yield one
