"""Which countries may be texted. A text to another country is a mistake, or traffic that somebody else wants. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers

from config.models import Settings
from config.policy import Policy
from worker.core.numbering import area_code_of
from worker.core.phones import Phone, parse_phone

NORTH_AMERICA = 1
"""The calling code of the United States, Canada and 23 other countries."""
NO_REGION = "001"
"""What the library returns for numbers of no country, such as +800."""


@dataclass(frozen=True, slots=True)
class AllowedCountries:
    """Where an account may send texts: to ``regions`` ("MX"); if that is None, to ``codes`` (calling codes)."""

    regions: frozenset[str] | None
    codes: frozenset[int]

    def __str__(self) -> str:
        """Name them, for a person."""
        if self.regions is None:
            return ", ".join(f"+{code}" for code in sorted(self.codes))
        return ", ".join(sorted(self.regions)) or "no country"

    def allow(self, to_number: str) -> bool:
        """Return True if a text may go to this E.164 number."""
        code, region = _place(to_number)
        return code in self.codes if self.regions is None else region in self.regions

    def allow_region(self, region: str) -> bool:
        """Return True if texts may go to numbers of this country."""
        if self.regions is None:
            return phonenumbers.country_code_for_region(region) in self.codes
        return region in self.regions


def allowed_countries(own_number: str, countries: Collection[str] | None) -> AllowedCountries:
    """Return where the account with ``own_number`` may send texts.

    ``countries`` is ``policy.countries``: two-letter codes. None: the calling codes +1 and that of ``own_number``
    ("" if it is not known).
    """
    if countries is not None:
        return AllowedCountries(frozenset(countries), frozenset())
    return AllowedCountries(None, frozenset({NORTH_AMERICA, _place(own_number)[0]} - {0}))


def country_problem(to_number: str, own_number: str, policy: Policy) -> str:
    """Return why the number may not be texted, for a person; "" if it may. See ``allowed_countries``."""
    allowed = allowed_countries(own_number, policy.countries)
    if allowed.allow(to_number):
        return ""
    return (
        f"the number is in {country_name(to_number)}, and texts may go only to {allowed};"
        f" to allow the country, add it to {policy.setting('countries')}"
    )


def country_name(number: str) -> str:
    """Return the country of an E.164 number with its calling code, "MX (+52)"; "+800" for a number of no country."""
    code, region = _place(number)
    return f"{region} (+{code})" if region else f"+{code}"


def region_of_number(number: str) -> str:
    """Return the country of an E.164 number ("MX"); "" if it belongs to none."""
    return _place(number)[1]


@lru_cache(maxsize=4096)
def _place(number: str) -> tuple[int, str]:
    """Return the calling code and the region of a number; (0, "") for what is no number.

    Our table knows new area codes of +1 before the library does. The library assigns toll-free numbers to the US.
    """
    if (area := area_code_of(number)) is not None and area.region:
        return NORTH_AMERICA, area.region
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return 0, ""
    region = phonenumbers.region_code_for_number(parsed) or ""
    return int(parsed.country_code or 0), "" if region == NO_REGION else region


def own_regions(settings: Settings) -> list[str]:
    """Return the countries of the accounts' own numbers and of the connections."""
    regions = {region_of_number(one.from_number) for one in settings.accounts.values()}
    regions |= {one.default_region for one in settings.connections.values() if one.default_region is not None}
    return sorted(regions - {""})


def possible_numbers(text: str, settings: Settings) -> tuple[list[str], str]:
    """Return the numbers (E.164) that a person may have meant, and, if there is none, why not.

    Without a country code it may be of any country of the accounts' own numbers and of the connections.
    """
    parsed = [parse_phone(text, region) for region in (None, *own_regions(settings))]
    found = sorted({one.e164 for one in parsed if isinstance(one, Phone)})
    return found, "" if found else next(one.reason for one in reversed(parsed) if not isinstance(one, Phone))
