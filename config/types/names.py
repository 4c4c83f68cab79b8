"""Types for phone numbers, countries, time zones and paths."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, TypeAlias
from zoneinfo import available_timezones

from pydantic import BeforeValidator, ValidationInfo

from config.types.base import in_folder, invalid_value, one_or_many, text_schema

_DATE = re.compile(r"(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}")
_LEAP_YEAR = 2028
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def _e164(value: object) -> object:
    if isinstance(value, str) and _E164.fullmatch(value):
        return value
    raise invalid_value(
        "is not a phone number in E.164 form",
        'write "+" and digits with the country code and nothing between, such as "+14155552671"',
    )


def _time_zone(value: object) -> object:
    if isinstance(value, str) and value in _zone_names():
        return value
    raise invalid_value("is not a time zone", 'write an IANA name such as "America/New_York" or "Europe/London"')


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _region(value: object) -> object:
    from phonenumbers import SUPPORTED_REGIONS

    if isinstance(value, str) and value in SUPPORTED_REGIONS:
        return value
    upper = value.upper() if isinstance(value, str) else ""
    near = {"UK": "GB"}.get(upper, upper)
    hint = f'did you mean "{near}"? ' if near in SUPPORTED_REGIONS else ""
    raise invalid_value("is not a country", hint + 'Write a two-letter country code in capitals, such as "US"')


def _closed_day(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    if _DATE.fullmatch(text):
        try:
            date.fromisoformat(text if len(text) > len("12-24") else f"{_LEAP_YEAR}-{text}")
        except ValueError:
            raise invalid_value("is not a day of the calendar", 'write it as "12-24" or "2027-12-24"') from None
        return text
    country = text.upper()
    if re.fullmatch("[A-Z]{2}", country) and country in _holiday_countries():
        return country
    raise invalid_value(
        "is neither a country whose public holidays are known nor a date",
        'write "none", a two-letter country code such as "us", or a list of these and of dates ("12-24", "2027-12-24")',
    )


@cache
def _holiday_countries() -> frozenset[str]:
    from holidays import list_supported_countries  # only where holidays are configured: it takes time and memory

    return frozenset(list_supported_countries())


def _none_is_empty(value: object) -> object:
    return () if isinstance(value, str) and value.strip().lower() == "none" else value


def _path(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str | Path) and str(value).strip() and "\0" not in str(value):
        return in_folder(value, info.context)
    raise invalid_value("is not a path", 'write the path of a file or folder in quotes, such as "contacts.csv"')


def _network(value: object) -> object:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        if isinstance(value, str):
            return ip_network(value.strip())
    except ValueError:
        pass
    raise invalid_value(
        "is not an IP address or network", 'write "10.0.0.5", or "10.0.0.0/8" for a network whose other bits are 0'
    )


E164: TypeAlias = Annotated[str, BeforeValidator(_e164), text_schema(rf"^{_E164.pattern}$")]
TimeZone: TypeAlias = Annotated[str, BeforeValidator(_time_zone), text_schema()]
Region: TypeAlias = Annotated[str, BeforeValidator(_region), text_schema("^[A-Z]{2}$")]
Holidays: TypeAlias = Annotated[
    tuple[Annotated[str, BeforeValidator(_closed_day), text_schema()], ...],
    one_or_many(),
    BeforeValidator(_none_is_empty),  # runs first
]
"""Countries (in capitals) and dates, written as one of them, a list, or ``"none"``."""
IpNetwork: TypeAlias = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network), text_schema()]
"""An IP address, or all addresses of a network."""
ConfigPath: TypeAlias = Annotated[Path, BeforeValidator(_path), text_schema()]
"""A path (or a glob pattern). A relative one starts at the configuration file's folder; ``~`` is expanded."""
