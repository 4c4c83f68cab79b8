"""When a date trigger is due. Pure.

A time without a zone is in the contact's time zone, and offsets count on the contact's clock: 24 hours before Sunday
10:00 is Saturday 10:00, even if the clocks change in between. A time that the clocks skip moves to after the gap. If
the clocks show a time twice, the first one counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from worker.policy.locations import zone_info

_ONCE = re.compile(r":(\d{4}-\d{2}-\d{2}(?:T[\d:.+-]+)?)$")
_EVERY_YEAR = re.compile(r":(\d{4}-\d{2}-\d{2}(?:T[\d:.+-]+)?)/\d{4}$")


@dataclass(frozen=True, slots=True)
class DateRule:
    """When a date trigger fires, relative to its date."""

    offset: timedelta = timedelta(0)
    at: time | None = None
    every_year: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """The next time that a date trigger fires. ``occurrence`` names the date; ``at`` is in UTC."""

    occurrence: str
    at: datetime


def due(when: date | datetime, rule: DateRule, zones: Sequence[str], now: datetime) -> Due | None:
    """Return when the rule is next due for a contact who may be in any of ``zones``; None if that time has passed.

    With several zones the latest of the possible times counts, so that no text comes too early.
    """
    years = range(max(now.year - 1, when.year), now.year + 3) if rule.every_year else (None,)
    for year in years:
        anniversary = when if year is None else _in_year(when, year)
        at = max(_moment(anniversary, rule, zone) for zone in zones or ("UTC",))
        if at > now:
            name = when.isoformat() if year is None else f"{when.isoformat()}/{year}"
            return Due(name, at)
    return None


def occurrence_date(key: str, *, every_year: bool) -> date | datetime | None:
    """Return the date of the occurrence that an idempotency key ends with; None if it ends with no date."""
    match = (_EVERY_YEAR if every_year else _ONCE).search(key)
    if match is None:
        return None
    try:
        return date.fromisoformat(match[1]) if "T" not in match[1] else datetime.fromisoformat(match[1])
    except ValueError:
        return None


def _moment(when: date | datetime, rule: DateRule, zone: str) -> datetime:
    local = _local(when, zone) + rule.offset
    if rule.at is not None:
        local = datetime.combine(local.date(), rule.at)
    # Converting to UTC moves a time in a gap to after it; fold=0 takes the first of two equal times.
    return local.replace(tzinfo=zone_info(zone), fold=0).astimezone(UTC)


def _local(when: date | datetime, zone: str) -> datetime:
    """Return what the contact's clocks show then, without a zone."""
    if not isinstance(when, datetime):
        return datetime.combine(when, time(0))
    return when if when.tzinfo is None else when.astimezone(zone_info(zone)).replace(tzinfo=None)


def _in_year(when: date | datetime, year: int) -> date | datetime:
    try:
        return when.replace(year=year)
    except ValueError:  # born on 29 February
        return when.replace(year=year, day=28)
