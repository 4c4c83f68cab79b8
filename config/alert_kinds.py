"""The alerts that channels and subscribers can ask for: what waits for a person, or does not work."""

from __future__ import annotations

from enum import StrEnum


class AlertKind(StrEnum):
    """The public names of alerts. They are stable once released."""

    UNKNOWN_TEXTS = "unknown_texts"
    APPROVAL_NEEDED = "approval_needed"
    REVIEW_NEEDED = "review_needed"
    """A reply may mean STOP, and texts to its number wait until somebody has read it."""
    SYNC_FAILED = "sync_failed"
    SYNC_REFUSED = "sync_refused"
    SYNC_LATE = "sync_late"
    REJECTS_UP = "rejects_up"
    """Many more records of a CRM than before cannot be used."""
    ACCOUNT_STOPPED = "account_stopped"
    CONNECTION_STOPPED = "connection_stopped"
    BREAKER_OPEN = "breaker_open"
    """VirtualText fails again and again, so vtsync makes no requests for a while."""
    BUDGET_USED_UP = "budget_used_up"
    VERSION_ENDING = "version_ending"
    """The vendor is about to switch off the version of its API that an adapter calls."""
    TEXTS_LATE = "texts_late"
    DELIVERY_FAILED = "delivery_failed"
    NO_TICK = "no_tick"
    """No schedule runs: processes are gone, or nobody carries out the tick."""

    @property
    def words(self) -> str:
        """Return the name as words, such as ``sync failed``."""
        return self.value.replace("_", " ")
