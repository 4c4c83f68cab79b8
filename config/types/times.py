"""Types for durations, offsets, times of day and schedules."""

from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from config.cron import cron_problem
from config.types.base import invalid_value, text_schema

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(s|m|h|d)")
_HOUR = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=3650)


def parse_duration(text: str) -> timedelta:
    """Return ``"15m"`` as a timedelta. Raises ValueError; its text says what is allowed."""
    return _duration(text)


def readable_duration(value: timedelta) -> str:
    """Write a duration as in the file, in the largest unit that divides it: ``24h``, ``90s``."""
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds > size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    remedy = 'write a number with its unit s, m, h or d, such as "90s", "15m", "24h" or "7d"'
    if match is None:
        raise invalid_value("is not a duration", remedy)
    seconds = float(match[1]) * timedelta(**{_UNITS[match[2]]: 1}).total_seconds()
    if not 1 <= seconds <= _LONGEST.total_seconds():
        raise invalid_value("is not a duration between one second and ten years", remedy)
    return timedelta(seconds=seconds)


def _keep(value: object) -> timedelta | None:
    if value is None or (isinstance(value, str) and value.strip() == "keep"):
        return None
    try:
        return _duration(value)
    except PydanticCustomError:
        raise invalid_value(
            "does not say how long", 'write a duration such as "90d", or "keep" to keep it forever'
        ) from None


def _written_keep(value: timedelta | None) -> str:
    return "keep" if value is None else readable_duration(value)


def _offset(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(r"[+-]?0\s*[smhd]?", text):
        return timedelta(0)
    try:
        size = _duration(text.lstrip("+-"))
    except PydanticCustomError:
        raise invalid_value(
            "is not an offset", 'write a duration with its sign, such as "-24h" (before) or "+2d" (after)'
        ) from None
    return -size if text.startswith("-") else size


def _written_offset(value: timedelta) -> str:
    """Write an offset as in the file: ``-24h``, ``+2d``, ``0s``."""
    if not value:
        return "0s"
    return ("-" if value < timedelta(0) else "+") + readable_duration(abs(value))


def _hour(value: object) -> time:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and _HOUR.fullmatch(value):
        return time.fromisoformat(value)
    raise invalid_value("is not a time of day", 'write hours and minutes, such as "09:00" or "18:30"')


def _written_hour(value: time) -> str:
    return f"{value:%H:%M}"


def _schedule(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if _DURATION.fullmatch(text):
        _duration(text)
        return text
    if len(text.split()) > 1:
        problem = cron_problem(text)
        if problem is None:
            return text
        raise invalid_value(
            problem, 'write five fields, such as "*/15 8-18 * * 1-5" (UTC), or a duration such as "15m"'
        )
    raise invalid_value(
        "is not a schedule", 'write a duration such as "15m", or a cron line such as "*/15 8-18 * * 1-5" (UTC)'
    )


Duration: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(readable_duration, return_type=str, when_used="json"),
    text_schema(rf"^{_DURATION.pattern}$"),
]
Keep: TypeAlias = Annotated[
    timedelta | None,
    BeforeValidator(_keep),
    PlainSerializer(_written_keep, return_type=str, when_used="json"),
    text_schema(rf"^(keep|{_DURATION.pattern})$"),
]
"""How long something is kept. None, written ``"keep"``, means forever."""

Offset: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_offset),
    PlainSerializer(_written_offset, return_type=str, when_used="json"),
    text_schema(r"^[+-]?[0-9.]+\s*(s|m|h|d)$"),
]
"""A duration with a sign. Negative means before."""

Hour: TypeAlias = Annotated[
    time,
    BeforeValidator(_hour),
    PlainSerializer(_written_hour, return_type=str, when_used="json"),
    text_schema(rf"^{_HOUR.pattern}$"),
]
Schedule: TypeAlias = Annotated[str, BeforeValidator(_schedule), text_schema()]
