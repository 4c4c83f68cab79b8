"""Reads values from carriers' events and responses. Never raises, whatever the JSON contains."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from worker.carriers.provider import CarrierStatus
from worker.core.times import plausible

Statuses = Mapping[str, CarrierStatus]
"""A carrier's status in lower case, letters only -> what it means."""

COMMON_STATUSES: Statuses = {
    **dict.fromkeys(("sent", "delivered", "read"), "sent"),
    **dict.fromkeys(("queued", "accepted", "sending", "scheduled", "pending"), "pending"),
    **dict.fromkeys(("failed", "undelivered", "rejected", "canceled", "cancelled", "expired"), "failed"),
    **dict.fromkeys(("received", "receiving", "inbound"), "received"),
}
"""The statuses that mean the same at every carrier. A text that has left the carrier counts as sent."""


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return ``value`` if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_text(value: Any) -> str:
    """Return a string as it is, a number as its digits, and "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).replace("\x00", "").encode("utf-8", "ignore").decode()


def as_list(value: Any) -> list[Any]:
    """Return ``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_number(value: Any) -> str:
    """Return a phone number with the "+" that some carriers leave out. Short codes and names stay as they are."""
    text = as_text(value).strip()
    return f"+{text}" if text[:1].isdigit() and len(text) > 6 else text


def as_time(value: Any) -> datetime | None:
    """Return an ISO 8601 time with a zone, in this century, and None for anything else."""
    try:
        parsed = datetime.fromisoformat(as_text(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None and plausible(parsed) else None


def as_http_time(value: Any) -> datetime | None:
    """Return a time such as "Sun, 01 Mar 2026 10:00:00 +0000", and None for anything else."""
    try:
        return parsedate_to_datetime(as_text(value))
    except (ValueError, TypeError):
        return None


def status_of(status: Any, own: Statuses | None = None) -> CarrierStatus:
    """Return what a carrier's status means. ``own`` holds the ones that only this carrier has."""
    letters = "".join(letter for letter in as_text(status).casefold() if letter.isalpha())
    return (own or {}).get(letters) or COMMON_STATUSES.get(letters, "other")
