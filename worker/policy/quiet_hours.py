"""Quiet hours: when people may be texted by their own clock, and when the next allowed time begins.

The rules of states and countries come from the dated file ``data/quiet_hours.toml``. They, the federal rule and the
configuration can only narrow each other. A text goes only when every zone and state of its number allows it.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, TypeAlias

from config.policy import Policy
from worker.core.numbering import UNITED_STATES, subdivisions
from worker.policy.closed_days import ClosedCalendar, ClosedDays, configured_closed_days
from worker.policy.locations import Locations, zone_info

# A week has every kind of day. Two more, because days begin at different times around the world.
_DAYS_AHEAD = 9
_YEAR_AHEAD = 375
"""Where days are closed, more than a week may be."""
_SATURDAY, _SUNDAY = 5, 6
_NEVER = (time(12), time(12))

Span: TypeAlias = tuple[datetime, datetime]
"""Start (included) and end (excluded), in UTC."""


@dataclass(frozen=True, slots=True)
class Hours:
    """The allowed hours of a day, in local time: from ``opens`` until just before ``closes``."""

    opens: time
    closes: time

    def narrowed(self, other: Hours) -> Hours:
        """Return the hours that both allow."""
        return Hours(max(self.opens, other.opens), min(self.closes, other.closes))

    def __str__(self) -> str:
        if self == _ANY_HOUR:
            return "00:00 to 24:00"
        return f"{self.opens:%H:%M} to {self.closes:%H:%M}" if self.opens < self.closes else "not at all"


_NO_DAYS = ClosedDays()
_ANY_HOUR = Hours(time.min, time.max)


@dataclass(frozen=True, slots=True)
class QuietHoursRules:
    """The allowed hours of weekdays, Saturdays and Sundays, and the days on which there are none."""

    weekday: Hours
    saturday: Hours
    sunday: Hours
    closed: ClosedDays = _NO_DAYS

    def on(self, day: date) -> Hours:
        """Return the hours of that day."""
        if self.closed and self.closed.on(day):
            return Hours(*_NEVER)
        return {_SATURDAY: self.saturday, _SUNDAY: self.sunday}.get(day.weekday(), self.weekday)

    def narrowed(self, other: QuietHoursRules) -> QuietHoursRules:
        """Return the rules that allow what both allow."""
        return QuietHoursRules(
            self.weekday.narrowed(other.weekday),
            self.saturday.narrowed(other.saturday),
            self.sunday.narrowed(other.sunday),
            self.closed | other.closed,
        )

    def __str__(self) -> str:
        week = str(self.weekday)
        days = (("Saturdays", str(self.saturday)), ("Sundays", str(self.sunday)))
        closed = [", not on public holidays"] if self.closed else []
        return "".join([week, *(f", on {day} {hours}" for day, hours in days if hours != week), *closed])


def rules_for(policy: Policy, locations: Locations) -> QuietHoursRules | None:
    """Return the hours that ``policy`` and all states and countries of ``locations`` allow. None: any hour of any day.

    Without quiet hours, the configured holidays still count.
    """
    closed = configured_closed_days(policy.holidays, policy.setting("holidays"), locations)
    if policy.quiet_hours == "none":
        return QuietHoursRules(_ANY_HOUR, _ANY_HOUR, _ANY_HOUR, closed) if closed else None
    countries = {*locations.countries, *(subdivisions()[state].country for state in locations.states)}
    return _rules(
        policy.text_from, policy.text_until, policy.sunday_from, closed, locations.states, tuple(sorted(countries))
    )


def next_open(locations: Locations, rules: QuietHoursRules, now: datetime) -> datetime | None:
    """Return ``now`` if texts are allowed in all ``locations``, else the next such time. None: never or not known."""
    window = next_window(locations, rules, now)
    return None if window is None else window[0]


def next_window(locations: Locations, rules: QuietHoursRules, now: datetime) -> Span | None:
    """Return the rest of the window that is open in all ``locations`` at ``now``, else the next such window."""
    if not locations.zones:
        return None
    # Two days are nearly always enough.
    for days in (2, _DAYS_AHEAD, _YEAR_AHEAD) if rules.closed else (2, _DAYS_AHEAD):
        common = _spans(locations.zones[0], rules, now, days)
        for zone in locations.zones[1:]:
            common = _both(common, _spans(zone, rules, now, days))
        for start, end in common:
            if end > now:
                return max(start, now.astimezone(UTC)), end
    return None


def release_time(key: str, window: Span, spread: timedelta, expires_at: datetime | None) -> datetime:
    """Return when in ``window`` a waiting text goes: within ``spread`` of the start, always the same for ``key``.

    This spreads the texts that waited overnight. The time is never at or after the end of the window, and lies before
    ``expires_at`` where that is in the window.
    """
    start, end = window
    room = min(spread, end - start)
    if expires_at is not None and expires_at > start:
        room = min(room, expires_at - start)
    share = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") / 2**32
    return start + room * share


@lru_cache(maxsize=512)
def _rules(
    opens: time, closes: time, sunday: time, closed: ClosedDays, states: tuple[str, ...], countries: tuple[str, ...]
) -> QuietHoursRules:
    table = _table()
    own = QuietHoursRules(Hours(opens, closes), Hours(opens, closes), Hours(max(opens, sunday), closes), closed)
    rules = table.federal.narrowed(own)
    for rule in (*map(table.states.get, states), *map(table.countries.get, countries)):
        rules = rules if rule is None else rules.narrowed(rule)
    return rules


@dataclass(frozen=True, slots=True)
class _Table:
    """The rules of the dated file: of the US, and of each state and country that has its own."""

    federal: QuietHoursRules
    states: dict[str, QuietHoursRules]
    countries: dict[str, QuietHoursRules]


@cache
def _table() -> _Table:
    data = tomllib.loads(files("worker.policy").joinpath("data/quiet_hours.toml").read_text("utf-8"))
    federal = data["federal"]
    return _Table(
        _rule(federal, federal),
        {state: _rule(row, federal, state) for state, row in data["states"].items()},
        {country: _rule(row, federal) for country, row in data["countries"].items()},
    )


def _rule(row: dict[str, Any], otherwise: dict[str, Any], state: str = "") -> QuietHoursRules:
    def hours(day: str, opens: time, closes: time) -> Hours:
        named = (row.get(f"{day}from"), row.get(f"{day}until"))
        return Hours(
            *(time.fromisoformat(text) if text else usual for text, usual in zip(named, (opens, closes), strict=True))
        )

    week = hours("", time.fromisoformat(otherwise["from"]), time.fromisoformat(otherwise["until"]))
    saturday = hours("saturday_", week.opens, week.closes)
    sunday = Hours(*_NEVER) if row.get("no_sundays") else hours("sunday_", week.opens, week.closes)
    return QuietHoursRules(week, saturday, sunday, _closed(row, state))


def _closed(row: dict[str, Any], state: str) -> ClosedDays:
    why = row["source"]
    holidays = [ClosedCalendar(why, UNITED_STATES, state)] if row.get("no_holidays") else []
    return ClosedDays((*holidays, *(ClosedCalendar(why, rule=day) for day in row.get("closed_days", ()))))


def _spans(zone: str, rules: QuietHoursRules, now: datetime, days: int) -> list[Span]:
    """Return the open times of a zone for ``days`` days from its today on, in order."""
    today = now.astimezone(zone_info(zone)).date()
    return [span for offset in range(days) if (span := _span(zone, rules, today + timedelta(days=offset))) is not None]


@lru_cache(maxsize=4096)
def _span(zone: str, rules: QuietHoursRules, day: date) -> Span | None:
    """Return the open time of that day in that zone. A local time that occurs twice opens late and closes early."""
    hours = rules.on(day)
    if hours.opens >= hours.closes:
        return None
    start, end = max(_instants(zone, day, hours.opens)), min(_instants(zone, day, hours.closes))
    return (start, end) if start < end else None


def _instants(zone: str, day: date, wall: time) -> tuple[datetime, datetime]:
    """Return the one or two moments of a local time; where clocks skip it, the moment of the skip."""
    tz = zone_info(zone)
    local = datetime.combine(day, wall, tz)
    first, second = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first, second
    # The time is skipped: search for the change of the offset between the two.
    before, after = second, first
    offset = before.astimezone(tz).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(tz).utcoffset() == offset:
            before = middle
        else:
            after = middle
    skip = before.replace(microsecond=0) + timedelta(seconds=1)
    return skip, skip


def _both(one: list[Span], other: list[Span]) -> list[Span]:
    """Return the overlaps of two ordered lists of spans."""
    return list(_common(one, other))


def _common(one: list[Span], other: list[Span]) -> Iterator[Span]:
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            yield start, end
        if one[i][1] <= other[j][1]:
            i += 1
        else:
            j += 1
