"""Checks the tables of carriers. The caller passes which carriers exist and which keys each of them needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from config.errors import ConfigProblem
from config.problems import did_you_mean, dotted, unknown_name
from config.redact import redact_value
from config.types import is_loopback


@dataclass(frozen=True, slots=True)
class CarrierNeeds:
    """The keys that a carrier needs in its table. ``to_list`` is None if it has no list of sent texts."""

    to_verify: tuple[str, ...]
    to_list: tuple[str, ...] | None = None


KnownCarriers = Callable[[], Mapping[str, CarrierNeeds]]
"""Returns all carriers by name. Called only if the file has a table of a carrier."""


def carrier_account_problems(
    name: str, carrier: Mapping[str, Any], accounts: Collection[str]
) -> Iterator[ConfigProblem]:
    """Yield a problem if one ``[carriers.<name>]`` names an unknown account."""
    yield from unknown_name(dotted(["carriers", name, "account"]), carrier.get("account"), "account", accounts)


def carrier_problems(name: str, table: Mapping[str, Any], known_carriers: KnownCarriers) -> Iterator[ConfigProblem]:
    """Yield what is wrong with one ``[carriers.NAME]`` of a file's raw data."""
    carrier, known = table.get("carrier"), known_carriers()
    if not isinstance(carrier, str) or not known:
        return
    needs = known.get(carrier)
    if needs is None:
        remedy = did_you_mean(carrier, "carriers", known)
        yield ConfigProblem(
            dotted(["carriers", name, "carrier"]), redact_value(carrier), "is not a known carrier", remedy
        )
        return
    for key in needs.to_verify:
        if key not in table:
            yield ConfigProblem(
                dotted(["carriers", name, key]),
                None,
                f"is missing: without it nobody can verify that an event comes from {carrier}",
                "copy it from the carrier's console; secrets as { env = NAME }",
            )
    url = table.get("api_url")
    if isinstance(url, str) and url.lower().startswith("http://") and not is_loopback(url):
        yield ConfigProblem(
            dotted(["carriers", name, "api_url"]),
            redact_value(url),
            "would send the credentials of the carrier unencrypted",
            "begin it with https://",
        )
    if "poll_every" in table:
        yield from _list_problems(name, table, needs, known)


def _list_problems(
    name: str, table: Mapping[str, Any], needs: CarrierNeeds, known: Mapping[str, CarrierNeeds]
) -> Iterator[ConfigProblem]:
    if needs.to_list is None:
        with_lists = ", ".join(one for one, its in known.items() if its.to_list is not None)
        yield ConfigProblem(
            dotted(["carriers", name, "poll_every"]),
            redact_value(table["poll_every"]),
            f"cannot be set: {table['carrier']} has no list that contains the text of sent messages",
            f"remove it (these carriers have such a list: {with_lists})",
        )
        return
    for key in needs.to_list:
        if key not in table:
            remedy = "copy it from the carrier's console"
            yield ConfigProblem(dotted(["carriers", name, key]), None, "is missing: poll_every needs it", remedy)
