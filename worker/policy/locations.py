"""Find out where the owner of a number may be: all time zones, states and countries that are possible. Never guess one.

The sources, best first: the CRM's time zone, the CRM's state or postal code, the number itself, and the account's zone
for numbers that may be anywhere. Where these disagree, or a state or an area code has two zones, all of them count, and
a text goes only when it may in each. The state of an area code always counts, because several states presume that the
owner of such a number lives there (Fla. Stat. 501.059(8)(d), for example). ``numbering`` has the tables of +1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from worker.core.numbering import (
    area_code_of,
    postal_code_subdivisions,
    subdivision_named,
    subdivisions,
    zones_of_region,
)
from worker.policy.countries import region_of_number

# A number with more possible zones than this says nothing about its owner.
MOST_ZONES = 20

_AMERICAN_ZONES = {
    "eastern": "America/New_York",
    "central": "America/Chicago",
    "mountain": "America/Denver",
    "pacific": "America/Los_Angeles",
    "alaska": "America/Anchorage",
    "hawaii": "Pacific/Honolulu",
    "arizona": "America/Phoenix",
    "atlantic": "America/Puerto_Rico",
}
_SHORT_ZONES = {"et": "eastern", "ct": "central", "mt": "mountain", "pt": "pacific"} | {
    f"{letter}{kind}t": name
    for letter, name in (("e", "eastern"), ("c", "central"), ("m", "mountain"), ("p", "pacific"), ("ak", "alaska"))
    for kind in "sd"
}
# The whole text must match: "Central European Time" is not Central, "Mountain Standard Time (Mexico)" not Mountain.
_WRITTEN_ZONE = re.compile(
    r"(?:\((?:gmt|utc)[^)]*\)_?)?(?P<name>[a-z]+)(?:_(?:standard|daylight))?(?:_time)?(?:_zone)?(?:_\(us(?:_&_canada)?\))?"
)


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """The location fields of one CRM record, as written there; "" where a field is missing."""

    time_zone: str = ""
    state: str = ""
    postal_code: str = ""


@dataclass(frozen=True, slots=True)
class Locations:
    """The IANA ``zones``, two-letter ``states`` (and provinces) and ``countries`` that count.

    ``source`` says where the zones come from, for a person. Without zones nothing is known, so no hour is known to be
    allowed. Without countries, any country is possible.
    """

    zones: tuple[str, ...]
    states: tuple[str, ...] = ()
    source: str = ""
    countries: tuple[str, ...] = ()


def locations_of(phone: str, records: Iterable[RecordPlace] = (), account_zone: str | None = None) -> Locations:
    """Return the zones and states that ``phone`` (E.164) may be in. ``records``: the CRM records with this number."""
    zones: set[str] = set()
    states: set[str] = set()
    sources = set()
    for record in dict.fromkeys(records):
        known = _states_of(record, phone)
        states |= known
        of_states = {zone for state in known for zone in subdivisions()[state].zones}
        zone = zone_named(record.time_zone, american=phone.startswith("+1"))
        if zone is not None:
            zones.add(zone)
            sources.add("the CRM's time zone")
        if known and zone not in of_states:  # a zone that belongs to the state picks one of the state's zones
            zones |= of_states
            sources.add("the CRM's state or postal code")
            if not phone.startswith("+1"):  # the letters may name a state of another country
                zones |= set(number_zones(phone))
    if not zones:
        found, source = _zones_of_number(phone, account_zone)
        zones, sources = set(found), {source}
    states |= set(area_code_states(phone))
    countries = {subdivisions()[state].region for state in states}
    if not _may_be_anywhere(phone, number_zones(phone)):
        countries |= {region_of_number(phone)} - {""}
    return Locations(
        tuple(sorted(zones)), tuple(sorted(states)), " and ".join(sorted(sources)), tuple(sorted(countries))
    )


def zone_named(text: str, *, american: bool = True) -> str | None:
    """Return the IANA zone that a CRM means by ``text``; None for anything uncertain.

    Understands ``US/Eastern``, ``america_slash_new_york`` and, for ``american`` numbers, ``Eastern Time (US & Canada)``
    or ``EST``, which people also write in summer. UTC is the default of many systems and names no location.
    """
    cleaned = text.strip().replace("_slash_", "/").replace(" ", "_").casefold()
    if "/" in cleaned:
        return _zone_names().get(cleaned)
    if not american or not cleaned:
        return None
    written = _WRITTEN_ZONE.fullmatch(cleaned)
    return _AMERICAN_ZONES.get(_SHORT_ZONES.get(cleaned, written["name"] if written else ""))


def area_code_states(phone: str) -> tuple[str, ...]:
    """Return the states or provinces of the number's area code. Empty for toll-free numbers and other countries."""
    area = area_code_of(phone)
    return () if area is None else area.states


@lru_cache(maxsize=65_536)
def number_zones(phone: str) -> tuple[str, ...]:
    """Return all zones in which numbers like ``phone`` are used, most often one. Empty: not known.

    For numbers of +1 the whole area code counts. People keep their number when they move, and where the library does
    not know the next three digits, it picks one of the area code's zones, sometimes the wrong one (219, 689), or says
    that the number may be anywhere (876, Jamaica). An area code that no table has may be in any zone of its country.
    """
    if phone.startswith("+1"):
        area = area_code_of(phone)
        return zones_of_region(region_of_number(phone)) if area is None else area.zones
    import phonenumbers
    from phonenumbers.timezone import time_zones_for_number

    try:
        found = time_zones_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:  # the country code does not exist
        return ()
    return tuple(zone for zone in found if zone.casefold() in _zone_names())


def _zones_of_number(phone: str, account_zone: str | None) -> tuple[Sequence[str], str]:
    zones = number_zones(phone)
    if account_zone is not None and _may_be_anywhere(phone, zones):
        return (account_zone,), "the account's time zone"
    return zones, "the number" if zones else ""


def _may_be_anywhere(phone: str, zones: Sequence[str]) -> bool:
    """Return True if the number belongs to no place, as toll-free ones. An unknown area code of +1 belongs to one."""
    if phone.startswith("+1"):
        area = area_code_of(phone)
        return area is not None and not area.region
    return not 0 < len(zones) <= MOST_ZONES


def _states_of(record: RecordPlace, phone: str) -> set[str]:
    """Return the states of the state field and of the postal code. Where they disagree, both count."""
    states = {subdivision_named(record.state)} - {None} if record.state else set()
    # Many countries have postal codes of five digits.
    by_code = postal_code_subdivisions(record.postal_code) if record.postal_code and phone.startswith("+1") else ()
    if len(by_code) > 1 and states & set(by_code):
        by_code = ()
    return {state for state in (*states, *by_code) if state is not None}


@cache
def _zone_names() -> dict[str, str]:
    """Return the zones that name a location, by lower-case name. ``Etc/...`` and the like do not."""
    return {
        name.casefold(): name
        for name in available_timezones()
        if "/" in name and not name.startswith(("Etc/", "SystemV/", "posix/", "right/"))
    }


@cache
def zone_info(name: str) -> ZoneInfo:
    """Return the zone. ``name`` comes from this module or from the checked configuration."""
    return ZoneInfo(name)
