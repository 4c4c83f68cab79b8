"""Finds connections and contacts in countries that may not be texted (``policy.countries``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select

from config.models import Settings
from config.policy_levels import every_policy, policy_for
from worker.core.findings import Finding, FindingCode, warning
from worker.core.phones import mask
from worker.core.text import counted
from worker.policy.countries import allowed_countries, country_name, own_regions, region_of_number
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.tables import contact

NORTH_AMERICAN_AREA, OTHER_AREA = len("+1415"), len("+447797")
"""How much of a number decides about its country. Jersey and Great Britain share +44, for example."""
MOST_SHOWN = 5
_NOT_SENT = "texts to their numbers are suppressed, and never sent later"


@dataclass(frozen=True, slots=True)
class AreaCount:
    """How many contacts have numbers that begin alike. ``example`` is one of the numbers."""

    example: str
    contacts: int


def check_countries(runtime: Runtime) -> Iterator[Finding]:
    """Compare the contacts and the connections of each account with the countries that it may text."""
    length = case((contact.c.phone.startswith("+1"), NORTH_AMERICAN_AREA), else_=OTHER_AREA)
    area = func.substr(contact.c.phone, 1, length)
    counts = select(contact.c.account, func.min(contact.c.phone), func.count()).group_by(contact.c.account, area)
    found: dict[str, list[AreaCount]] = {}
    with reading(runtime.engine) as db:
        for account, example, contacts in db.execute(counts):
            found.setdefault(account, []).append(AreaCount(example, contacts))
    yield from judge_countries(runtime.settings, found)


def judge_countries(settings: Settings, contacts: Mapping[str, Sequence[AreaCount]]) -> Iterator[Finding]:
    """Name the countries that may not be texted. ``contacts``: by account. Pure."""
    remedy = _remedy(settings, contacts)
    for name, connection in settings.connections.items():
        account, region = settings.accounts.get(connection.account), connection.default_region
        if account is None or region is None:
            continue
        allowed = allowed_countries(account.from_number, policy_for(settings, connection=name).countries)
        if not allowed.allow_region(region):
            yield warning(
                FindingCode.COUNTRY_NOT_ALLOWED,
                f"connection {name}",
                f'default_region is "{region}", and the account {connection.account} may text only {allowed}',
                _NOT_SENT,
                remedy,
            )
    for name, account in settings.accounts.items():
        allowed = allowed_countries(account.from_number, policy_for(settings, account=name).countries)
        abroad = [area for area in contacts.get(name, ()) if not allowed.allow(area.example)]
        if abroad:
            total = sum(area.contacts for area in abroad)
            have = "has a number" if total == 1 else "have numbers"
            yield warning(
                FindingCode.COUNTRY_NOT_ALLOWED,
                f"account {name}",
                f"{counted(total, 'contact')} {have} in countries that it may not text: {_countries(abroad)}",
                _NOT_SENT,
                remedy,
            )


def _countries(areas: Sequence[AreaCount]) -> str:
    """Return "MX (+52): 3, such as +5255•••5678"; the country with the most contacts comes first."""
    totals: dict[str, int] = {}
    examples: dict[str, str] = {}
    for area in areas:
        country = country_name(area.example)
        totals[country] = totals.get(country, 0) + area.contacts
        examples.setdefault(country, mask(area.example))
    most = sorted(totals, key=lambda country: (-totals[country], country))
    shown = [f"{country}: {totals[country]:,}, such as {examples[country]}" for country in most[:MOST_SHOWN]]
    rest = len(most) - len(shown)
    more = [f"and {counted(rest, 'more country', 'more countries')}"] if rest else []
    return "; ".join(shown + more)


def _remedy(settings: Settings, contacts: Mapping[str, Sequence[AreaCount]]) -> str:
    """Propose a value that allows the countries of all contacts and connections, and forbids none that is allowed."""
    wanted = {region for _, policy in every_policy(settings) for region in policy.countries or ()}
    wanted |= {region_of_number(area.example) for name in settings.accounts for area in contacts.get(name, ())}
    wanted |= {*own_regions(settings)}
    if settings.policy.countries is None:
        wanted |= {"US", "CA"}
    value = ", ".join(f'"{region}"' for region in sorted(wanted - {""}))
    own = [policy.setting("countries") for _, policy in every_policy(settings) if policy.countries is not None]
    names = " and ".join(dict.fromkeys(own or ["policy.countries"]))
    return f"if texts may go there, set {names} to all countries that you text, such as [{value}]"
