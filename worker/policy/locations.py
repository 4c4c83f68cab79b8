"""Find out where the owner of a number may be: all time zones and US states that are possible. Never guess one of them.

The sources, best first: the CRM's time zone, the CRM's state or ZIP code, the number itself, and the account's zone for
numbers that may be anywhere. Where these disagree, or a state or an area code has two zones, all of them count, and a
text goes only when it may in each. The state of a US area code always counts, because several states presume that the
owner of such a number lives there (Fla. Stat. 501.059(8)(d), for example).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

# A number with more possible zones than this says nothing about its owner: toll-free numbers have 42.
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
    """The IANA ``zones`` and two-letter ``states`` that count. ``source`` says where they come from, for a person.

    Without zones nothing is known, so no hour is known to be allowed.
    """

    zones: tuple[str, ...]
    states: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class UsState:
    """A US state or territory."""

    code: str
    name: str
    zones: tuple[str, ...]


def locations_of(phone: str, records: Iterable[RecordPlace] = (), account_zone: str | None = None) -> Locations:
    """Return the zones and states that ``phone`` (E.164) may be in. ``records``: the CRM records with this number."""
    zones: set[str] = set()
    states: set[str] = set()
    sources = set()
    for record in dict.fromkeys(records):
        known = _states_of(record, phone)
        states |= known
        of_states = {zone for state in known for zone in us_states()[state].zones}
        zone = zone_named(record.time_zone, american=phone.startswith("+1"))
        if zone is not None:
            zones.add(zone)
            sources.add("the CRM's time zone")
        if known and zone not in of_states:  # a zone that belongs to the state picks one of the state's zones
            zones |= of_states
            sources.add("the CRM's state or ZIP code")
            if not phone.startswith("+1"):  # the letters may name a state of another country
                zones |= set(number_zones(phone))
    if not zones:
        found, source = _zones_of_number(phone, account_zone)
        zones, sources = set(found), {source}
    states |= set(area_code_states(phone))
    return Locations(tuple(sorted(zones)), tuple(sorted(states)), " and ".join(sorted(sources)))


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


def state_named(text: str) -> str | None:
    """Return the code of a US state written as ``FL``, ``fl.``, ``US-FL`` or ``Florida``; None for anything else."""
    cleaned = text.strip().rstrip(".").upper().removeprefix("US-")
    return cleaned if cleaned in us_states() else _state_names().get(cleaned.casefold())


def zip_states(postal_code: str) -> tuple[str, ...]:
    """Return the states of a ZIP code (``33101``, ``33101-1234``). Empty: it is no ZIP code.

    A few prefixes belong to more than one state.
    """
    digits, _, more = postal_code.strip().partition("-")
    if len(digits) == 9 and not more:  # ZIP+4 without the dash
        digits = digits[:5]
    if len(digits) == 4:  # a spreadsheet removed the leading zero
        digits = f"0{digits}"
    if len(digits) != 5 or not digits.isascii() or not digits.isdigit():
        return ()
    return _tables().zip3.get(int(digits[:3]), ())


def area_code_states(phone: str) -> tuple[str, ...]:
    """Return the US states of the number's area code. Empty for toll-free numbers and other countries."""
    return _tables().area_codes.get(phone[2:5], ()) if phone.startswith("+1") else ()


@lru_cache(maxsize=65_536)
def number_zones(phone: str) -> tuple[str, ...]:
    """Return all zones in which numbers like ``phone`` are used, most often one. Empty: not known.

    For US numbers the whole area code counts. People keep their number when they move, and where the library does not
    know the next three digits, it picks one of the area code's zones, sometimes the wrong one (219, 689).
    """
    if (known := _tables().area_zones.get(phone[2:5])) is not None and phone.startswith("+1"):
        return known
    import phonenumbers
    from phonenumbers.timezone import time_zones_for_number

    try:
        found = time_zones_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:  # the country code does not exist
        return ()
    return tuple(zone for zone in found if zone.casefold() in _zone_names())


def _zones_of_number(phone: str, account_zone: str | None) -> tuple[Sequence[str], str]:
    zones = number_zones(phone)
    if account_zone is not None and not 0 < len(zones) <= MOST_ZONES:
        return (account_zone,), "the account's time zone"
    return zones, "the number" if zones else ""


def _states_of(record: RecordPlace, phone: str) -> set[str]:
    """Return the states of the state field and of the ZIP code. Where they disagree, both count."""
    states = {state_named(record.state)} - {None} if record.state else set()
    # Many countries have postal codes of five digits.
    zips = zip_states(record.postal_code) if record.postal_code and phone.startswith("+1") else ()
    if len(zips) > 1 and states & set(zips):
        zips = ()
    return {state for state in (*states, *zips) if state is not None}


def us_states() -> dict[str, UsState]:
    """Return the states and territories by their two-letter codes."""
    return _tables().states


@dataclass(frozen=True, slots=True)
class _Tables:
    states: dict[str, UsState]
    area_codes: dict[str, tuple[str, ...]]
    area_zones: dict[str, tuple[str, ...]]
    zip3: dict[int, tuple[str, ...]]


@cache
def _tables() -> _Tables:
    data = tomllib.loads(files("worker.policy").joinpath("data/us_locations.toml").read_text("utf-8"))
    states = {code: UsState(code, row["name"], tuple(row["zones"])) for code, row in data.items() if code.isupper()}
    area_codes: dict[str, tuple[str, ...]] = {}
    area_zones: dict[str, tuple[str, ...]] = {}
    zip3: dict[int, tuple[str, ...]] = {}
    for code in states:
        for area in data[code]["area_codes"]:
            area_codes[str(area)] = (*area_codes.get(str(area), ()), code)
            area_zones[str(area)] = _area_zones(data[code], area)
        for span in data[code]["zip3"]:
            first, _, last = span.partition("-")
            for prefix in range(int(first), int(last or first) + 1):
                zip3[prefix] = (*zip3.get(prefix, ()), code)
    return _Tables(states, area_codes, area_zones, zip3)


def _area_zones(state: Mapping[str, Any], area: int) -> tuple[str, ...]:
    """Return all zones of the state, unless the table names the one of this area code."""
    other = [zone for zone, areas in state.get("other_zones", {}).items() if area in areas]
    usual = state.get("usual_zone")
    if usual is None or area in state.get("split_codes", ()):
        return tuple(state["zones"])
    return tuple(other or [usual])


@cache
def _state_names() -> dict[str, str]:
    return {state.name.casefold(): code for code, state in us_states().items()} | {"washington dc": "DC"}


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
