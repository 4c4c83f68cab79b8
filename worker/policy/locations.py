"""Where a number's owner may be: the time zones and US states that count. Never a guess at one of several.

What is known best comes first: the CRM's time zone, the CRM's state or ZIP code, the number itself, and the account's
zone for numbers that may be anywhere. Where these disagree, or a state or an area code has two zones, all of them
count, and the text goes only when it may in each. The state of a US area code always counts:
several states take it that whoever has such a number is theirs (Fla. Stat. 501.059(8)(d), for one).
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

# A number that could be in more zones than this says nothing of its owner's place: toll-free ones give 42.
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
# All of it must be known: "Central European Time" is not Central Time, nor "Mountain Standard Time (Mexico)" Mountain.
_WRITTEN_ZONE = re.compile(
    r"(?:\((?:gmt|utc)[^)]*\)_?)?(?P<name>[a-z]+)(?:_(?:standard|daylight))?(?:_time)?(?:_zone)?(?:_\(us(?:_&_canada)?\))?"
)


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """What one CRM record says of its person's place, as it is written there; "" where it says nothing."""

    time_zone: str = ""
    state: str = ""
    postal_code: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """IANA ``zones`` and two-letter ``states`` that count. ``source`` says how they are known, in words.

    No zones: nothing is known, so no hour is known to be a good one.
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


def places_of(phone: str, records: Iterable[RecordPlace] = (), account_zone: str | None = None) -> Places:
    """The zones and states that ``phone`` (E.164) may be in, from the CRM records that have this number."""
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
        if known and zone not in of_states:  # a zone of one of the states says which of its zones it is
            zones |= of_states
            sources.add("the CRM's state or ZIP code")
            if not phone.startswith("+1"):  # the state's letters may be those of another country's
                zones |= set(number_zones(phone))
    if not zones:
        found, source = _zones_of_number(phone, account_zone)
        zones, sources = set(found), {source}
    states |= set(area_code_states(phone))
    return Places(tuple(sorted(zones)), tuple(sorted(states)), " and ".join(sorted(sources)))


def zone_named(text: str, *, american: bool = True) -> str | None:
    """The IANA zone that a CRM means by ``text``; None for anything uncertain.

    ``US/Eastern``, ``america_slash_new_york`` and, for ``american`` numbers, ``Eastern Time (US & Canada)`` or ``EST``,
    which people write in summer, too. UTC is what systems put where nobody chose: it is no place.
    """
    cleaned = text.strip().replace("_slash_", "/").replace(" ", "_").casefold()
    if "/" in cleaned:
        return _zone_names().get(cleaned)
    if not american or not cleaned:
        return None
    written = _WRITTEN_ZONE.fullmatch(cleaned)
    return _AMERICAN_ZONES.get(_SHORT_ZONES.get(cleaned, written["name"] if written else ""))


def state_named(text: str) -> str | None:
    """The code of the US state that ``text`` names: ``FL``, ``fl.``, ``US-FL``, ``Florida``; None for anything else."""
    cleaned = text.strip().rstrip(".").upper().removeprefix("US-")
    return cleaned if cleaned in us_states() else _state_names().get(cleaned.casefold())


def zip_states(postal_code: str) -> tuple[str, ...]:
    """The states that a ZIP code (``33101``, ``33101-1234``) is in; a few prefixes are shared. Empty: no ZIP code."""
    digits, _, more = postal_code.strip().partition("-")
    if len(digits) == 9 and not more:  # written without the dash
        digits = digits[:5]
    if len(digits) == 4:  # a spreadsheet took the leading zero away
        digits = f"0{digits}"
    if len(digits) != 5 or not digits.isascii() or not digits.isdigit():
        return ()
    return _tables().zip3.get(int(digits[:3]), ())


def area_code_states(phone: str) -> tuple[str, ...]:
    """The US state of a number's area code; empty for other countries' and toll-free numbers."""
    return _tables().area_codes.get(phone[2:5], ()) if phone.startswith("+1") else ()


@lru_cache(maxsize=65_536)
def number_zones(phone: str) -> tuple[str, ...]:
    """All zones that numbers like ``phone`` are used in, most often one. Empty: not known.

    Of US numbers the whole area code counts: people keep their number when they move, and where the library does not
    know the next three digits, it names one of the area code's zones, not always the right one (219, 689).
    """
    if (known := _tables().area_zones.get(phone[2:5])) is not None and phone.startswith("+1"):
        return known
    import phonenumbers
    from phonenumbers.timezone import time_zones_for_number

    try:
        found = time_zones_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:  # a country code that nobody has
        return ()
    return tuple(zone for zone in found if zone.casefold() in _zone_names())


def _zones_of_number(phone: str, account_zone: str | None) -> tuple[Sequence[str], str]:
    zones = number_zones(phone)
    if account_zone is not None and not 0 < len(zones) <= MOST_ZONES:
        return (account_zone,), "the account's time zone"
    return zones, "the number" if zones else ""


def _states_of(record: RecordPlace, phone: str) -> set[str]:
    """Both what the state and what the ZIP code say: where they disagree, both count."""
    states = {state_named(record.state)} - {None} if record.state else set()
    # Five digits are a postal code in many countries.
    zips = zip_states(record.postal_code) if record.postal_code and phone.startswith("+1") else ()
    if len(zips) > 1 and states & set(zips):
        zips = ()
    return {state for state in (*states, *zips) if state is not None}


def us_states() -> dict[str, UsState]:
    """The states and territories by their two letters."""
    return _tables().states


@dataclass(frozen=True, slots=True)
class _Tables:
    states: dict[str, UsState]
    area_codes: dict[str, tuple[str, ...]]
    area_zones: dict[str, tuple[str, ...]]
    zip3: dict[int, tuple[str, ...]]


@cache
def _tables() -> _Tables:
    data = tomllib.loads(files("worker.policy").joinpath("data/us_places.toml").read_text("utf-8"))
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
    """All of the state's, unless the table says in which of them the area code lies."""
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
    """Names of zones that people live in, by their small letters. ``Etc/...`` and the like are no places."""
    return {
        name.casefold(): name
        for name in available_timezones()
        if "/" in name and not name.startswith(("Etc/", "SystemV/", "posix/", "right/"))
    }


@cache
def zone_info(name: str) -> ZoneInfo:
    """The zone's rules. ``name`` is one that this module gave, or the configuration checked."""
    return ZoneInfo(name)
