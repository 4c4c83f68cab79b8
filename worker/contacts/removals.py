"""Decides if records that a listing did not show may be treated as deleted. Pure."""

from __future__ import annotations

from datetime import datetime

# A few missing records are normal in a small CRM, however large their share is.
ALWAYS_ALLOWED = 5


def is_confirmed(first_seen_at: datetime, confirmed_at: datetime | None) -> bool:
    """Return True if a run that ended well has seen the record. ``confirmed_at``: when the last of them ended."""
    return confirmed_at is not None and first_seen_at <= confirmed_at


def removal_refusal(missing: int, stored: int, max_share: float) -> str | None:
    """Return why the records may not be treated as deleted, for the operator, or None when they may.

    ``stored`` counts the confirmed live records before this run, ``missing`` those of them that were not listed.
    """
    if missing == 0:
        return None
    if missing == stored and stored > 1:
        return (
            f"all {stored} known records are missing; a half-written or wrong export looks like this, so none was "
            "treated as deleted. If they really are gone, run the sync with --accept-removals"
        )
    share = missing / max(stored, missing)  # somebody may have removed records just now
    if missing <= ALWAYS_ALLOWED or share <= max_share:
        return None
    return (
        f"{missing} of {stored} known records are missing ({share:.0%}, the limit is {max_share:.0%}); a half-written "
        "export looks like this, so none was treated as deleted. If they really are gone, run the sync with "
        "--accept-removals, or raise max_missing_share"
    )
