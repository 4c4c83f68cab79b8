"""When people may be texted: hours by the recipient's own clock, and the next time that all of them are open.

The state rules come from the dated file ``data/us_quiet_hours.toml``. They, the federal rule and the configuration can
only narrow each other. A text goes only when it may in every zone and state that its number could be in.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, TypeAlias

from config.policy import Policy
from worker.policy.locations import Places, zone_info

# A week has every kind of day; two more, since days begin at different times around the world.
_DAYS_AHEAD = 9
_SATURDAY, _SUNDAY = 5, 6
_NEVER = (time(12), time(12))

Span: TypeAlias = tuple[datetime, datetime]
"""From the first moment on, until just before the second. UTC."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Open from ``opens`` until just before ``closes``, wall time."""

    opens: time
    closes: time

    def narrowed(self, other: Hours) -> Hours:
        """Open when both are."""
        return Hours(max(self.opens, other.opens), min(self.closes, other.closes))

    def __str__(self) -> str:
        return f"{self.opens:%H:%M} to {self.closes:%H:%M}" if self.opens < self.closes else "not at all"


@dataclass(frozen=True, slots=True)
class Rules:
    """The hours of Monday to Friday, of Saturdays and of Sundays, and what they were made of, in words."""

    weekday: Hours
    saturday: Hours
    sunday: Hours
    sources: tuple[str, ...] = ()

    def on(self, day: date) -> Hours:
        """The hours of that day."""
        return {_SATURDAY: self.saturday, _SUNDAY: self.sunday}.get(day.weekday(), self.weekday)

    def narrowed(self, other: Rules) -> Rules:
        """Open when both are."""
        return Rules(
            self.weekday.narrowed(other.weekday),
            self.saturday.narrowed(other.saturday),
            self.sunday.narrowed(other.sunday),
            self.sources + other.sources,
        )

    def __str__(self) -> str:
        week = str(self.weekday)
        days = (("Saturdays", str(self.saturday)), ("Sundays", str(self.sunday)))
        return "".join([week, *(f", on {day} {hours}" for day, hours in days if hours != week)])


def rules_for(policy: Policy, states: Iterable[str]) -> Rules | None:
    """The hours that hold in all of ``states`` under ``policy``. None: texts go at any hour."""
    if policy.quiet_hours == "none":
        return None
    return _rules(policy.text_from, policy.text_until, policy.sunday_from, tuple(sorted(set(states))))


def next_open(places: Places, rules: Rules, now: datetime) -> datetime | None:
    """``now`` if it is open everywhere in ``places``, else when it next is. None: never, or the zone is not known."""
    window = next_window(places, rules, now)
    return None if window is None else window[0]


def next_window(places: Places, rules: Rules, now: datetime) -> Span | None:
    """The rest of the window that is open everywhere at ``now``, else the next such window."""
    if not places.zones:
        return None
    for days in (2, _DAYS_AHEAD):  # nearly always tomorrow is enough
        common = _spans(places.zones[0], rules, now, days)
        for zone in places.zones[1:]:
            common = _both(common, _spans(zone, rules, now, days))
        for start, end in common:
            if end > now:
                return max(start, now.astimezone(UTC)), end
    return None


def release_time(key: str, window: Span, spread: timedelta, expires_at: datetime | None) -> datetime:
    """When in ``window`` a text that waited for it goes: within ``spread`` of its start, always the same for ``key``.

    So the texts that waited overnight do not all go in the same second. Never at or after the window's end, and before
    ``expires_at`` where that is in the window.
    """
    start, end = window
    room = min(spread, end - start)
    if expires_at is not None and expires_at > start:
        room = min(room, expires_at - start)
    share = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") / 2**32
    return start + room * share


@lru_cache(maxsize=512)
def _rules(opens: time, closes: time, sunday: time, states: tuple[str, ...]) -> Rules:
    table = _table()
    own = Rules(Hours(opens, closes), Hours(opens, closes), Hours(max(opens, sunday), closes), ("policy",))
    rules = table["federal"].narrowed(own)
    for state in states:
        if state in table:
            rules = rules.narrowed(table[state])
    return rules


@cache
def _table() -> dict[str, Rules]:
    """``federal`` and each state with rules of its own."""
    data = tomllib.loads(files("worker.policy").joinpath("data/us_quiet_hours.toml").read_text("utf-8"))
    federal = data["federal"]
    return {"federal": _rule(federal, federal)} | {state: _rule(row, federal) for state, row in data["states"].items()}


def _rule(row: dict[str, Any], otherwise: dict[str, Any]) -> Rules:
    def hours(day: str, opens: time, closes: time) -> Hours:
        named = (row.get(f"{day}from"), row.get(f"{day}until"))
        return Hours(
            *(time.fromisoformat(text) if text else usual for text, usual in zip(named, (opens, closes), strict=True))
        )

    week = hours("", time.fromisoformat(otherwise["from"]), time.fromisoformat(otherwise["until"]))
    saturday = hours("saturday_", week.opens, week.closes)
    sunday = Hours(*_NEVER) if row.get("no_sundays") else hours("sunday_", week.opens, week.closes)
    return Rules(week, saturday, sunday, (row["source"],))


def _spans(zone: str, rules: Rules, now: datetime, days: int) -> list[Span]:
    """The open times of a zone from its today on, in order."""
    today = now.astimezone(zone_info(zone)).date()
    return [span for offset in range(days) if (span := _span(zone, rules, today + timedelta(days=offset))) is not None]


@lru_cache(maxsize=4096)
def _span(zone: str, rules: Rules, day: date) -> Span | None:
    """When it is open on that day of that zone. A wall time that comes twice opens late and closes early."""
    hours = rules.on(day)
    if hours.opens >= hours.closes:
        return None
    start, end = max(_instants(zone, day, hours.opens)), min(_instants(zone, day, hours.closes))
    return (start, end) if start < end else None


def _instants(zone: str, day: date, wall: time) -> tuple[datetime, datetime]:
    """The moment or the two moments at which a wall time comes; where clocks skip it, the moment of the skip."""
    tz = zone_info(zone)
    local = datetime.combine(day, wall, tz)
    first, second = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first, second
    # Skipped: the offset changes somewhere between the two.
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
    """What is in both lists of spans, each in order."""
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
