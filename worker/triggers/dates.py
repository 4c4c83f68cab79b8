"""When a date trigger is due. Pure.

A time without a zone is the contact's own, and so is the clock that an offset is counted on: 24 hours before Sunday
10:00 is Saturday 10:00, also when the clocks were changed between. A time that the clocks skip is moved behind the gap;
of one that they show twice the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from worker.policy.locations import zone_info
from worker.triggers.values import value_text

_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_AMERICAN = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_EPOCH_MS = re.compile(r"\d{12,13}")
FIRST, LAST = date(1900, 1, 1), date(2200, 1, 1)


@dataclass(frozen=True, slots=True)
class DateRule:
    """What a date trigger says of time."""

    offset: timedelta = timedelta(0)
    at: time | None = None
    every_year: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """``occurrence`` names what it is about; ``at`` is when it is due, UTC."""

    occurrence: str
    at: datetime


def parse_when(value: object) -> date | datetime | None:
    """The day or the time that a CRM field holds; None for anything else.

    ISO 8601 with or without a time and a zone (Salesforce writes ``+0000``), milliseconds since 1970 (HubSpot; at
    midnight UTC they mean a day), and ``3/1/2026`` with the month first.
    """
    text = value_text(value).strip()
    if match := _DATE.fullmatch(text):
        return _day(int(match[1]), int(match[2]), int(match[3]))
    if match := _AMERICAN.fullmatch(text):
        return _day(int(match[3]), int(match[1]), int(match[2]))
    if _EPOCH_MS.fullmatch(text):
        moment = datetime.fromtimestamp(int(text) / 1000, UTC)
        return moment.date() if moment.time() == time(0) else _known(moment)
    try:
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return _known(parsed)


def due(when: date | datetime, rule: DateRule, zones: Sequence[str], now: datetime) -> Due | None:
    """When the rule is next due for a contact who may be in any of ``zones``; None: it is over.

    Where there are several zones the latest of the possible times counts, so that nobody's comes too early.
    """
    years = range(max(now.year - 1, when.year), now.year + 3) if rule.every_year else (None,)
    for year in years:
        anniversary = when if year is None else _in_year(when, year)
        at = max(_moment(anniversary, rule, zone) for zone in zones or ("UTC",))
        if at > now:
            name = when.isoformat() if year is None else f"{when.isoformat()}/{year}"
            return Due(name, at)
    return None


def occurrences_of(when: date | datetime, rule: DateRule) -> str:
    """What the names of all occurrences of this date begin with (the whole name, unless it is every year)."""
    return f"{when.isoformat()}/" if rule.every_year else when.isoformat()


def _moment(when: date | datetime, rule: DateRule, zone: str) -> datetime:
    local = _local(when, zone) + rule.offset
    if rule.at is not None:
        local = datetime.combine(local.date(), rule.at)
    # Through UTC and back: a time in a gap comes out behind it, and of two equal ones the first is taken.
    return local.replace(tzinfo=zone_info(zone), fold=0).astimezone(UTC)


def _local(when: date | datetime, zone: str) -> datetime:
    """What the contact's clocks show then, without a zone."""
    if not isinstance(when, datetime):
        return datetime.combine(when, time(0))
    return when if when.tzinfo is None else when.astimezone(zone_info(zone)).replace(tzinfo=None)


def _in_year(when: date | datetime, year: int) -> date | datetime:
    try:
        return when.replace(year=year)
    except ValueError:  # born on 29 February
        return when.replace(year=year, day=28)


def _day(year: int, month: int, day: int) -> date | None:
    try:
        found = date(year, month, day)
    except ValueError:
        return None
    return found if FIRST <= found < LAST else None


def _known(moment: datetime) -> datetime | None:
    return moment if FIRST <= moment.date() < LAST else None
