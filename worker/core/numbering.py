"""The tables of the numbering plan of +1: its countries, states and provinces, with their area codes and time zones.

They come from two dated files, ``data/us_locations.toml`` and ``data/nanp_locations.toml``, which name their sources.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

UNITED_STATES, CANADA = "US", "CA"
_CANADIAN_POSTAL_CODE = "A0A0A0"
_NEW_NUMBER = re.compile(r"\+1[2-9][0-8][0-9][2-9](?!11)[0-9]{6}")


@dataclass(frozen=True, slots=True)
class Subdivision:
    """A state or territory of the US, or a province or territory of Canada. ``country``: whose rules it has.

    ``region`` is the country code of its numbers, which US territories have for themselves ("PR").
    """

    code: str
    name: str
    zones: tuple[str, ...]
    country: str
    region: str


@dataclass(frozen=True, slots=True)
class AreaCode:
    """Where the numbers of an area code are used: the country ("" if that may be any), and all states and zones."""

    region: str
    zones: tuple[str, ...]
    states: tuple[str, ...] = ()

    def shared_with(self, other: AreaCode) -> AreaCode:
        """Return the area code of both places: 867 belongs to three territories."""
        zones = dict.fromkeys(self.zones + other.zones)
        return AreaCode(self.region, tuple(zones), self.states + other.states)


def subdivisions() -> dict[str, Subdivision]:
    """Return the states, provinces and territories of the US and Canada by their two-letter codes."""
    return _tables().subdivisions


def area_code_of(phone: str) -> AreaCode | None:
    """Return what is known about the area code of a number of +1; None for an unknown one, or another country."""
    return _tables().area_codes.get(phone[2:5]) if phone.startswith("+1") else None


def has_new_area_code(phone: str) -> bool:
    """Return True for a number of +1 with an area code that phonenumbers does not know yet."""
    return phone[2:5] in _tables().new_area_codes and _NEW_NUMBER.fullmatch(phone) is not None


def zones_of_region(region: str) -> tuple[str, ...]:
    """Return all zones of a country of the plan; of the whole plan for a country that is not in it."""
    tables = _tables()
    found = {zone for area in tables.area_codes.values() if area.region == region for zone in area.zones}
    return tuple(sorted(found or {zone for area in tables.area_codes.values() for zone in area.zones}))


def subdivision_named(text: str) -> str | None:
    """Return the code of a state or province written as ``FL``, ``fl.``, ``US-FL``, ``Florida`` or ``Québec``."""
    cleaned = text.strip().rstrip(".").upper().removeprefix("US-").removeprefix("CA-")
    return cleaned if cleaned in subdivisions() else _tables().names.get(cleaned.casefold())


def postal_code_subdivisions(postal_code: str) -> tuple[str, ...]:
    """Return the states of a ZIP code (``33101``, ``33101-1234``) or the provinces of a Canadian postal code.

    Empty: it is neither. A few ZIP prefixes belong to more than one state, and X to two territories of Canada.
    """
    code = postal_code.strip()
    if province := _tables().postal.get(code[:1].upper()):
        return province if _is_canadian(code) else ()
    digits, _, more = code.partition("-")
    if len(digits) == 9 and not more:  # ZIP+4 without the dash
        digits = digits[:5]
    if len(digits) == 4:  # a spreadsheet removed the leading zero
        digits = f"0{digits}"
    if len(digits) != 5 or not digits.isascii() or not digits.isdigit():
        return ()
    return _tables().zip3.get(int(digits[:3]), ())


def _is_canadian(code: str) -> bool:
    """Return True for ``K1A 0B1`` and ``k1a0b1``. A British ``W1A 1AA`` has its last digit elsewhere."""
    letters = code.replace(" ", "").replace("-", "")
    return len(letters) == len(_CANADIAN_POSTAL_CODE) and all(
        one.isascii() and (one.isalpha() if kind == "A" else one.isdigit())
        for one, kind in zip(letters, _CANADIAN_POSTAL_CODE, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Tables:
    subdivisions: dict[str, Subdivision]
    names: dict[str, str]
    area_codes: dict[str, AreaCode]
    zip3: dict[int, tuple[str, ...]]
    postal: dict[str, tuple[str, ...]]
    new_area_codes: frozenset[str]


@cache
def _tables() -> _Tables:
    plan = _read("nanp_locations.toml")
    found = _Tables({}, {"washington dc": "DC"}, {}, {}, {}, frozenset(map(str, plan["new_area_codes"])))
    for code, row in _read("us_locations.toml").items():
        if code.isupper():
            _add(found, code, row, UNITED_STATES, code if row.get("territory") else UNITED_STATES)
    for code, row in plan["provinces"].items():
        _add(found, code, row, CANADA, CANADA)
    for region, row in plan["countries"].items():
        found.area_codes.update({str(area): AreaCode(region, tuple(row["zones"])) for area in row["area_codes"]})
    nowhere = plan["non_geographic"]
    canada = dict.fromkeys(zone for row in plan["provinces"].values() for zone in row["zones"])
    found.area_codes.update({str(area): AreaCode(CANADA, tuple(canada)) for area in nowhere[CANADA]})
    every = tuple(dict.fromkeys(zone for area in found.area_codes.values() for zone in area.zones))
    found.area_codes.update({str(area): AreaCode("", every) for area in nowhere["anywhere"]})
    return found


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("worker.core").joinpath(f"data/{name}").read_text("utf-8"))


def _add(tables: _Tables, code: str, row: Mapping[str, Any], country: str, region: str) -> None:
    tables.subdivisions[code] = Subdivision(code, row["name"], tuple(row["zones"]), country, region)
    tables.names.update({name.casefold(): code for name in (row["name"], *row.get("also", ()))})
    for area in row["area_codes"]:
        mine = AreaCode(region, _zones_of_code(row, area), (code,))
        other = tables.area_codes.get(str(area))
        tables.area_codes[str(area)] = mine if other is None else other.shared_with(mine)
    for prefix in _zip_prefixes(row.get("zip3", ())):
        tables.zip3[prefix] = (*tables.zip3.get(prefix, ()), code)
    for letter in row.get("postal", ""):
        tables.postal[letter] = (*tables.postal.get(letter, ()), code)


def _zip_prefixes(spans: list[str]) -> Iterator[int]:
    for span in spans:
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _zones_of_code(row: Mapping[str, Any], area: int) -> tuple[str, ...]:
    """Return all zones of the state, unless the table names the one of this area code."""
    other = [zone for zone, areas in row.get("other_zones", {}).items() if area in areas]
    usual = row.get("usual_zone")
    if usual is None or area in row.get("split_codes", ()):
        return tuple(row["zones"])
    return tuple(other or [usual])
