"""Times of change as databases store them: timestamps with or without a zone, dates, text, epoch numbers.

A watermark stays in the column's own form, so that the database can compare it.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

_OFFSET = re.compile(r"(Z|[+-]\d{2}:?\d{2})$")
MILLISECONDS_FROM = 100_000_000_000  # as seconds this would be the year 5138


def parse_time(value: Any, zone: ZoneInfo) -> datetime | None:
    """Return a column value as an aware time; None if it is not a time. Times without a zone are in ``zone``."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=zone).astimezone(UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), zone).astimezone(UTC)
    if isinstance(value, bool) or value is None:
        return None
    try:
        if isinstance(value, int | float | Decimal):
            return datetime.fromtimestamp(float(value) / _unit(value), UTC)
        return parse_time(datetime.fromisoformat(str(value).strip()), zone)
    except (ValueError, OverflowError, OSError):
        return None


def format_time(moment: datetime, like: Any, zone: ZoneInfo) -> Any:
    """Return ``moment`` in the form of ``like``: the same type, unit, precision and notation."""
    if isinstance(like, datetime):
        return moment.astimezone(zone).replace(tzinfo=None) if like.tzinfo is None else moment.astimezone(like.tzinfo)
    if isinstance(like, date):
        return moment.astimezone(zone).date()
    if isinstance(like, int | float | Decimal):
        # Round down: an earlier bound only reads a few more rows.
        return type(like)(int(moment.timestamp() * _unit(like)))
    return _written(moment, str(like).strip(), zone)


def earlier(value: Any, by: timedelta, zone: ZoneInfo) -> Any:
    """Return a column value that is earlier by this much, in the same form. Raises ValueError if it is not a time."""
    moment = parse_time(value, zone)
    if moment is None:
        raise ValueError(f"{value!r:.60} is not a time")
    return format_time(moment - by, value, zone)


def before_all_times(like: Any) -> Any:
    """Return a bound in the form of ``like``. Smaller values are no times: zero, an empty text, the zero date."""
    if isinstance(like, datetime):
        return datetime(1800, 1, 1, tzinfo=like.tzinfo)
    if isinstance(like, date):
        return date(1800, 1, 1)
    return 1 if isinstance(like, int | float | Decimal) else "0~"  # which SQLite takes for no number


def _unit(number: float | Decimal) -> int:
    """Return how many units of ``number`` make one second."""
    return 1000 if abs(float(number)) >= MILLISECONDS_FROM else 1


def _written(moment: datetime, like: str, zone: ZoneInfo) -> str:
    parsed = datetime.fromisoformat(like)
    if len(like) == len("2026-03-01"):
        return moment.astimezone(zone).date().isoformat()
    local = moment.astimezone(zone if parsed.tzinfo is None else parsed.tzinfo)
    # Cut to whole seconds, not rounded: a shorter text sorts before a longer text with the same beginning.
    offset = _OFFSET.search(like)
    return local.replace(tzinfo=None, microsecond=0).isoformat(sep=like[10]) + (offset[0] if offset else "")
