"""Decides if two values are the same value in another spelling. Pure.

A spreadsheet that saves a file again, or a new export, writes ``2027-04-03`` as ``4/3/2027``, ``3`` as ``3.0``, and
``true`` as ``WAHR``. No text may come of that. So where two values may be the same, they do not count as a change.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import lru_cache

from crm_adapters.entities import without_entities
from crm_adapters.fields import without_formula
from worker.triggers.date_text import Moment, possible_dates, read_date
from worker.triggers.number_text import possible_amounts, read_amount
from worker.triggers.values import BOOLEANS, read_boolean, scalar, value_text

_LONGEST_MEANING = 128  # characters
_LONGEST_NUMBER = 28  # digits that Decimal keeps
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_GROUPS = re.compile(
    r"[+-]?[1-9]\d{0,2}(?:(?P<group>[,. '\u2019])\d{3})(?:(?P=group)\d{3})*(?P<rest>[.,]\d+)?", re.ASCII
)


def may_be_same(one: object, other: object, region: str | None) -> bool:
    """Return True if two values may be the same value in two spellings."""
    return (
        one == other
        or not _readings(one, region).isdisjoint(_readings(other, region))
        or _may_be_same_amount(one, other)
    )


def is_same(one: object, other: object, region: str | None) -> bool:
    """Return True if two values are certainly the same: the same text, number, date, or a boolean and its word."""
    if _plain(one) == _plain(other) or is_same_date(one, other, region):
        return True
    if isinstance(one, bool) or isinstance(other, bool):
        return read_boolean(one) is not None and read_boolean(one) is read_boolean(other)
    first, second = read_amount(one, region), read_amount(other, region)
    return first is not None and second is not None and first.is_comparable(second) and first.number == second.number


def is_same_date(one: object, other: object, region: str | None) -> bool:
    """Return True if both values are dates, of the same day or time."""
    first, second = read_date(one, region), read_date(other, region)
    return first is not None and second is not None and moment_key(first) == moment_key(second)


def may_mean_the_same(one: object, other: object, region: str | None) -> bool:
    """Return True if two values may be the same number, day or time."""
    return not _meanings(one, region).isdisjoint(_meanings(other, region)) or _may_be_same_amount(one, other)


def _may_be_same_amount(one: object, other: object) -> bool:
    """Read both as in any region, since a spreadsheet of another one may have saved them."""
    others = possible_amounts(other, None)
    return bool(others) and any(mine.may_equal(its) for mine in possible_amounts(one, None) for its in others)


def _meanings(value: object, region: str | None) -> frozenset[str]:
    """Return the numbers, days and times that a value may mean, as comparable text."""
    text = _plain(value)
    if len(text) > _LONGEST_MEANING:  # a note, which no cache should keep
        return frozenset()
    return _meanings_of_text(text, region) if isinstance(value, str) else frozenset(_number(text))


def _readings(value: object, region: str | None) -> frozenset[str]:
    text = _plain(value)
    boolean = {value_text(BOOLEANS[text])} if text in BOOLEANS else set[str]()
    return _meanings(value, region) | boolean | {text}


@lru_cache(maxsize=4096)
def _meanings_of_text(text: str, region: str | None) -> frozenset[str]:
    found = set(_number(text))
    for moment in possible_dates(text, region) or possible_dates(text, None):
        found.add(moment_key(moment))
        if isinstance(moment, datetime):
            found.add(moment_key(moment.replace(second=0, microsecond=0)))  # spreadsheets hide the seconds
            if moment.tzinfo and moment.astimezone(UTC).time() == time(0):
                found.add(moment_key(moment.astimezone(UTC).date()))  # how systems in UTC write a day
    return frozenset(found)


def moment_key(moment: Moment) -> str:
    """Write a day as its midnight, and a time with a zone in UTC."""
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time(0)).isoformat()
    return moment.isoformat() if moment.tzinfo is None else moment.astimezone(UTC).isoformat()


def _number(text: str) -> Iterator[str]:
    """Yield the numbers that a text may mean: ``1,234`` is 1234 to some and 1.234 to others."""
    if not text or len(text) > _LONGEST_NUMBER:
        return
    if _DECIMAL.fullmatch(text):
        yield _digits(text)
    if _DECIMAL_COMMA.fullmatch(text):
        yield _digits(text.replace(",", "."))
    if (match := _GROUPS.fullmatch(text)) and (match["rest"] or "")[:1] != match["group"]:
        whole, rest = text.removesuffix(match["rest"] or ""), match["rest"] or ""
        yield _digits(whole.replace(match["group"], "") + rest.replace(",", "."))


def _digits(text: str) -> str:
    number = Decimal(text).normalize()
    return f"{number + 0:f}"  # the zero has no sign


def _plain(value: object) -> str:
    """Return a value as people read it: without the spaces around it, in small letters; empty if it means nothing."""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, sort_keys=True, default=str)
    text = unicodedata.normalize("NFC", without_entities(value_text(value)))
    shown = without_formula("".join(character for character in text if unicodedata.category(character) != "Cf").strip())
    return "" if scalar(shown) is None else " ".join(shown.split()).casefold()
