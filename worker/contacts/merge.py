"""What VirtualText should hold for a phone that one or several CRM records share. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)  # not frozen, which would make each of a million dearer
class Contribution:
    """What one live CRM record says. ``priority`` is its connection's; ``updated_at`` the CRM's time of change."""

    connection: str
    external_id: str
    full_name: str
    email: str
    updated_at: datetime | None
    priority: int
    clear_empty: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """The fields that VirtualText should hold."""

    full_name: str
    email: str


def merge(contributions: Collection[Contribution], current: Wanted) -> Wanted:
    """Field by field: lowest priority value first, then newest; no record fills it: keep, or clear if asked to.

    The external id settles ties, so that the order in which records arrive never matters.
    """
    ranked = sorted(contributions, key=_rank) if len(contributions) > 1 else contributions
    may_clear = any(c.clear_empty for c in ranked)
    return Wanted(
        full_name=_pick([c.full_name for c in ranked], current.full_name, may_clear),
        email=_pick([c.email for c in ranked], current.email, may_clear),
    )


def _rank(c: Contribution) -> tuple[int, float, str, str]:
    return c.priority, -(c.updated_at or _EPOCH).timestamp(), c.connection, c.external_id


def _pick(values: list[str], current: str, may_clear: bool) -> str:
    for value in values:
        if value:
            return value
    return "" if may_clear else current


def wanted_hash(phone: str, full_name: str, email: str) -> bytes:
    """Of the three fields that a push sends."""
    return hashlib.blake2b("\x1f".join((phone, full_name, email)).encode(), digest_size=16).digest()
