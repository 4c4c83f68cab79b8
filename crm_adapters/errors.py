"""The errors of adapters. ``crm_adapters.base`` explains them; import them from there."""

from __future__ import annotations


class AdapterError(Exception):
    """A problem on the CRM's side. The text tells the operator what happened, where, and what to do now."""


class CredentialsRejected(AdapterError):
    """The CRM refused the credential. Trying again changes nothing."""


class SourceUnavailable(AdapterError):
    """The CRM cannot be reached or asks to wait. Try again after ``retry_after`` seconds (None: not said)."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CursorExpired(AdapterError):
    """The CRM no longer accepts the cursor that ``pull`` got. The engine calls ``pull(None)`` instead."""


class RecordGone(AdapterError):
    """The CRM has no record with this external id, so nothing was written."""


class SourceIncomplete(AdapterError):
    """The source exists but is not complete. The run stops, and no record is treated as deleted."""


class SourceInvalid(AdapterError):
    """The source does not have what the options name. A person must change one or the other."""
