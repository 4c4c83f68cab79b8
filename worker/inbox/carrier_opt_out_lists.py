"""Reads the opt-outs that a carrier keeps, in case its STOPs never came here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import requests

from config.integrations import Carrier
from worker.carriers.provider import ListOptOuts
from worker.core.phones import Phone, parse_phone
from worker.core.times import plausible
from worker.messages.opt_outs import NewOptOut


@dataclass(frozen=True, slots=True)
class CarrierOptOuts:
    """The opt-outs of a carrier by number. ``unreadable``: entries that are no phone number."""

    opt_outs: Mapping[str, NewOptOut] = field(default_factory=dict)
    unreadable: int = 0


def read_carrier_opt_outs(name: str, config: Carrier, list_opt_outs: ListOptOuts, now: datetime) -> CarrierOptOuts:
    """Ask the carrier. Raises CarrierUnavailable.

    The people may have written to numbers of several accounts, so the opt-outs belong to no account alone.
    """
    found: dict[str, NewOptOut] = {}
    unreadable = 0
    with requests.Session() as session:
        for one in list_opt_outs(session, config):
            phone = parse_phone(one.number, None)
            if not isinstance(phone, Phone):
                unreadable += 1
                continue
            since = one.since if one.since is not None and plausible(one.since) and one.since <= now else None
            word = f', which got "{one.keyword[:40]}"' if one.keyword else ""
            before = found.get(phone.e164)
            if before is None or _earlier(since, before.since):
                found[phone.e164] = NewOptOut(f"on the opt-out list of the carrier {name}{word}", since=since)
    return CarrierOptOuts(found, unreadable)


def _earlier(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one < other)
