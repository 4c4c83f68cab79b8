"""How long a CRM asks to wait. Pure: reads the headers of a response."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 86_400.0
"""A longer wait is an error of the server's clock or a ban; the connection tries again after a day and says so."""
UNSAID_SECONDS = 30.0
"""The wait after "too many requests" without a time. Airtable wants 30 seconds, most others less."""
BUDGET_SECONDS = 3600.0
"""The wait after a spent budget of a day or month without a time. Such budgets often roll: some calls are back soon."""

_EPOCH_FROM = 1_000_000_000.0
_MILLISECONDS_FROM = 100_000_000_000.0
_NUMBER = re.compile(r"\s*([0-9]{1,40}(?:\.[0-9]{1,20})?)\s*")
_DRAFT = re.compile(r"(?:^|[;,\s])(?:t|reset)\s*=\s*([0-9]{1,18})(?![0-9])", re.IGNORECASE)
_SPENT = re.compile(r"(?:^|[;\s])r\s*=\s*0(?![0-9])", re.IGNORECASE)

_SECONDS_OR_MOMENT = (
    "x-ratelimit-reset-after",
    "ratelimit-reset",
    "x-ratelimit-reset",
    "x-rate-limit-reset",
    "x-ratelimit-reset-requests",
)
_INTERVALS = ("x-hubspot-ratelimit-interval-milliseconds", "x-ratelimit-interval-milliseconds")
"""The length of the window in which calls are counted. After that time, there are calls again."""


@dataclass(frozen=True, slots=True)
class AskedWait:
    """``seconds`` to wait, at most a day. ``asked`` is what the server asked for."""

    seconds: float
    asked: float

    @property
    def is_cut(self) -> bool:
        """True if the server asked for more."""
        return self.asked > self.seconds


def asked_wait(headers: Mapping[str, str], now: datetime) -> AskedWait | None:
    """Return the wait that the headers (names in lower case) ask for; None if none of them says.

    ``Retry-After`` counts first, in seconds or as an HTTP date, then the headers of vendors and of the IETF's drafts.
    """
    seconds = _until(headers.get("retry-after"), now)
    if seconds is None:
        seconds = _first(headers, now)
    return None if seconds is None else _bounded(seconds)


def _bounded(seconds: float) -> AskedWait:
    # At least a second: 0 and times in the past mean "soon", and a repeat at once is refused again.
    return AskedWait(min(max(seconds, 1.0), LONGEST_SECONDS), max(seconds, 1.0))


def _first(headers: Mapping[str, str], now: datetime) -> float | None:
    number = _number(headers.get("retry-after-ms"))
    if number is not None:
        return number / 1000
    for name in _SECONDS_OR_MOMENT:
        if (seconds := _until(headers.get(name), now)) is not None:
            return seconds
    if (seconds := _draft(headers.get("ratelimit", ""))) is not None:
        return seconds
    for name in _INTERVALS:
        if (number := _number(headers.get(name))) is not None:
            return number / 1000
    return None


def _draft(value: str) -> float | None:
    """Return the wait in ``"burst";r=0;t=2, "daily";r=90;t=40000`` or in the older ``limit=100, reset=5``."""
    items = [item for item in value.split(",") if _DRAFT.search(item)]
    spent = [item for item in items if _SPENT.search(item)] or items[:1]
    return max((float(match[1]) for item in spent if (match := _DRAFT.search(item))), default=None)


def _until(value: str | None, now: datetime) -> float | None:
    """Return the seconds until a moment that is written as seconds, as an epoch (in seconds or ms), or as a date."""
    number = _number(value)
    if number is not None:
        return _since_epoch(number, now) if number >= _EPOCH_FROM else number
    return _date(value, now)


def _since_epoch(number: float, now: datetime) -> float:
    return number / (1000 if number >= _MILLISECONDS_FROM else 1) - now.timestamp()


def _number(value: str | None) -> float | None:
    match = _NUMBER.fullmatch(value or "")
    return None if match is None or not math.isfinite(float(match[1])) else float(match[1])


def _date(value: str | None, now: datetime) -> float | None:
    text = (value or "").strip()
    try:
        moment = datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000" or an unknown zone: HTTP dates are GMT
            moment = moment.replace(tzinfo=UTC)
        return (moment - now).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
