"""Checks cron lines: five fields, in the subset of the language that ``celery.schedules.crontab`` reads as documented.

The library ``cronsim`` would compute the next run too, but it follows Debian: when day of month and day of week are
both restricted, one of them is enough. Here both must hold. Its errors name the field only, not what is wrong.
"""

from __future__ import annotations

import re

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[0-9]{1,2}))?")


def cron_problem(line: str) -> str | None:
    """Return what is wrong with a cron line, to continue "this line ...", or None if it is valid."""
    fields = line.split()
    if len(fields) != len(_FIELDS):
        return f"is a cron line with {len(fields)} fields; it needs five: minute hour day month weekday"
    chosen: list[set[int]] = []
    for text, (name, low, high) in zip(fields, _FIELDS, strict=True):
        try:
            chosen.append(_field_values(text, low, high))
        except ValueError as problem:
            return f'is a cron line whose {name} "{text[:40]}" {problem}'
    if min(chosen[2]) > max(_LONGEST_MONTH_DAYS[month - 1] for month in chosen[3]):
        return "is a cron line for a day that none of its months has, so it would never run"
    return None


def _field_values(text: str, low: int, high: int) -> set[int]:
    return set().union(*(_part_values(part, low, high) for part in text.split(",")))


def _part_values(part: str, low: int, high: int) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError("is not *, a number, a range, a list or */step")
    step = int(match["step"] or 1)
    if step == 0:
        raise ValueError("has a step of 0")
    if match["first"] is None:
        return range(low, high + 1, step)
    first = _number(match["first"], low, high)
    last = _number(match["last"], low, high) if match["last"] else first
    if match["step"] and not match["last"]:
        raise ValueError("has a step without a range")
    if last < first:
        raise ValueError("is a range that runs backwards")
    return range(first, last + 1, step)


def _number(text: str, low: int, high: int) -> int:
    if high == len(_WEEKDAYS) - 1 and text.lower() in _WEEKDAYS:
        return _WEEKDAYS.index(text.lower())
    if not re.fullmatch(r"[0-9]{1,2}", text) or not low <= int(text) <= high:
        raise ValueError(f"is not between {low} and {high}")
    return int(text)
