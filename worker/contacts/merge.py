"""What VirtualText should hold for a phone that one or several CRM records share. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)  # not frozen: that would make each of a million more expensive
class Contribution:
    """What one live CRM record says about a contact.

    ``priority`` and ``clear_empty`` are those of its connection, ``updated_at`` is the CRM's own time of change.
    """

    connection: str
    external_id: str
    full_name: str
    email: str
    updated_at: datetime | None
    priority: int
    clear_empty: bool


def merge(
    contributions: Collection[Contribution], full_name: str, email: str, held: Collection[str] = ()
) -> tuple[str, str]:
    """Return the name and the email that VirtualText should hold, given those that it should hold so far.

    Each field comes from the record with the lowest priority value, then from the newest. A field that no record fills
    is kept, or cleared where a connection says so and its records ``held`` the value: what only VirtualText knew is
    kept. The external id breaks ties, so that the order in which records arrive never matters.
    """
    if len(contributions) == 1:  # nearly always
        (only,) = contributions
        name = only.full_name or ("" if only.clear_empty and full_name in held else full_name)
        return name, only.email or ("" if only.clear_empty and email in held else email)
    ranked = sorted(contributions, key=_rank)
    may_clear = any(c.clear_empty for c in ranked)
    return (
        _pick([c.full_name for c in ranked], full_name, may_clear and full_name in held),
        _pick([c.email for c in ranked], email, may_clear and email in held),
    )


def _rank(c: Contribution) -> tuple[int, float, str, str]:
    return c.priority, -(c.updated_at or _EPOCH).timestamp(), c.connection, c.external_id


def _pick(values: list[str], current: str, may_clear: bool) -> str:
    for value in values:
        if value:
            return value
    return "" if may_clear else current


def wanted_hash(phone: str, full_name: str, email: str) -> bytes:
    """Hash the three fields that a push sends."""
    return hashlib.blake2b("\x1f".join((phone, full_name, email)).encode(), digest_size=16).digest()
