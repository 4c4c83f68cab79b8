"""Days on which no text goes: public holidays where the person may be, and dates that the configuration names.

The ``holidays`` library knows the public holidays of each country and state, with the days on which they are observed.
It is loaded when the first text needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from worker.core.numbering import subdivisions
from worker.policy.locations import Locations

_COUNTRY = len("US")
_LANGUAGE = "en_US"
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class ClosedCalendar:
    """The public holidays of a ``country`` or one of its states ("" for the country's own); or one day.

    ``why`` names the setting or the law that closes them, for a person.
    """

    why: str
    country: str = ""
    subdivision: str = ""
    rule: str = ""
    """A day of every year (``12-24``, ``11-02 Tue``, ``Easter-2``; see ``quiet_hours.toml``), or ``2027-12-24``."""

    def on(self, day: date) -> str:
        """Return what closes that day, for a person; "" if nothing does."""
        if self.rule:
            return f"no text goes on {day:%B} {day.day} ({self.why})" if _falls_on(self.rule, day) else ""
        name = _holidays(self.country, self.subdivision, day.year).get(day, "")
        return f"{name} is a public holiday ({self.why})" if name else ""


def _falls_on(rule: str, day: date) -> bool:
    if rule.startswith("Easter"):
        from dateutil.easter import easter

        return bool(day - easter(day.year) == timedelta(days=int(rule.removeprefix("Easter"))))
    first, _, weekday = rule.partition(" ")
    if not weekday:
        return f"{day:%Y-%m-%d}".endswith(rule)
    since_first = day - date.fromisoformat(f"{day.year}-{first}")
    return _WEEKDAYS[day.weekday()] == weekday and timedelta(0) <= since_first < timedelta(days=7)


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """All calendars that close a day. It is closed if one of them says so."""

    calendars: tuple[ClosedCalendar, ...] = ()

    def __bool__(self) -> bool:
        """Return True if any day may be closed."""
        return bool(self.calendars)

    def __or__(self, other: ClosedDays) -> ClosedDays:
        """Return the days that one of the two closes."""
        return ClosedDays(tuple(dict.fromkeys(self.calendars + other.calendars)))

    def on(self, day: date) -> str:
        """Return what closes that day, for a person; "" if nothing does."""
        return next((reason for one in self.calendars if (reason := one.on(day))), "")


def configured_closed_days(holidays: Iterable[str], setting: str, locations: Locations) -> ClosedDays:
    """Return the days that the setting ``holidays`` closes for somebody who may be in all ``locations``.

    A country counts with the states that are possible, and also where the person's country is not known.
    """
    return ClosedDays(tuple(_configured(holidays, setting, locations)))


def _configured(holidays: Iterable[str], setting: str, locations: Locations) -> Iterator[ClosedCalendar]:
    for one in holidays:
        if len(one) != _COUNTRY:
            yield ClosedCalendar(setting, rule=one)
            continue
        states = [state for state in locations.states if subdivisions()[state].country == one]
        for state in states:
            yield ClosedCalendar(setting, one, state)
        if not states and (one in locations.countries or not locations.countries):
            yield ClosedCalendar(setting, one)


@lru_cache(maxsize=512)
def _holidays(country: str, subdivision: str, year: int) -> Mapping[date, str]:
    from holidays import country_holidays

    found = country_holidays(country, subdiv=subdivision or None, years=year)
    if _LANGUAGE in found.supported_languages:
        found = country_holidays(country, subdiv=subdivision or None, years=year, language=_LANGUAGE)
    return dict(found)
