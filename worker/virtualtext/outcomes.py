"""The outcome of a call to VirtualText. Every call ends in exactly one of three ways.

* **done**: the platform confirmed it. ``value`` is its response.
* **not done**: provably nothing was written. ``cause`` says why, and so what to do.
* **unknown**: the request may have been carried out, but the response was lost. Creates and sends are not idempotent,
  so nobody may repeat such a call before its outcome is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Cause(StrEnum):
    """Why a call was not done, or why its outcome is unknown."""

    # not done
    REJECTED = "rejected"
    """400, 404, 413, 415, 422: this body will never be accepted. Correct it; do not repeat it."""
    CREDENTIALS = "credentials"
    """401, 403, or a 400 saying "must be admin": stop the account, not only this call."""
    OPTED_OUT = "opted_out"
    """451: the recipient has opted out."""
    RATE_LIMITED = "rate_limited"
    """429: wait ``retry_after`` seconds."""
    UNREACHABLE = "unreachable"
    """DNS failure, connection refused, connect timeout, TLS failure: the request never left."""
    REDIRECTED = "redirected"
    """3xx: the base URL is wrong. Redirects are never followed."""
    TEST_MODE = "test_mode"
    """The account is in test mode and the number is not in its list: no request was made."""
    # unknown
    TIMEOUT = "timeout"
    """No response in time, or 408."""
    CONNECTION_LOST = "connection_lost"
    """The connection ended before a complete response arrived."""
    SERVER_ERROR = "server_error"
    """A 5xx with the platform's own error envelope, or without a known format."""
    GATEWAY = "gateway"
    """A 5xx with the HTML of a gateway: an outage, or on a path with an id, an id that does not exist."""
    UNREADABLE = "unreadable"
    """A 2xx whose body is not that of a success."""


class Status(StrEnum):
    """The three ways in which a call ends."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How one call ended. ``detail`` is for a person and never holds a secret.

    ``reference_code`` is what the vendor's support asks for, ``retry_after`` is in seconds, and ``http_status`` is None
    when there was no response.
    """

    status: Status
    value: T | None = None
    cause: Cause | None = None
    detail: str = ""
    http_status: int | None = None
    reference_code: str = ""
    retry_after: float | None = None

    @property
    def done(self) -> bool:
        """The platform confirmed that it carried the call out."""
        return self.status is Status.DONE

    @property
    def failed(self) -> bool:
        """The platform failed: a 5xx, or no complete response. A response that explains a refusal is no failure."""
        return self.cause in (Cause.TIMEOUT, Cause.CONNECTION_LOST, Cause.SERVER_ERROR, Cause.GATEWAY)

    @property
    def unknown(self) -> bool:
        """The call may or may not have been carried out."""
        return self.status is Status.UNKNOWN


@dataclass(frozen=True, slots=True)
class ContactBody:
    """A contact to write. Always all three fields, since an omitted name becomes the number (documented)."""

    phone: str
    full_name: str
    email: str


@dataclass(frozen=True, slots=True)
class RemoteContact:
    """A contact as VirtualText returns it. Fields that it left out are empty, and named in ``omitted``."""

    id: str
    phone: str
    full_name: str = ""
    email: str = ""
    omitted: frozenset[str] = field(default=frozenset(), compare=False)
    opted_out: bool | None = field(default=None, compare=False)
    """What an undocumented flag says, which has been observed; None without one."""


@dataclass(frozen=True, slots=True)
class MessageBody:
    """A text. ``to`` and ``from_number`` are E.164, ``media`` public URLs."""

    to: str
    from_number: str
    text: str
    media: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The platform took a text. ``message_id`` is usually empty: the platform rarely returns one."""

    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The URLs and credentials of an account. ``repr`` leaves the token out, so that it is never printed."""

    uid: str
    token: str
    api_url: str
    create_url: str
    connect_timeout: float = 5.0
    read_timeout: float = 40.0
    concurrency: int = 16
    account: str = ""
    """The name of the account in the configuration, for metrics."""
    only_numbers: frozenset[str] | None = None
    """The only numbers that may be texted or written about; None: all. Set while the account is in test mode."""

    def __repr__(self) -> str:
        return f"Endpoint(uid={self.uid!r}, api_url={self.api_url!r}, create_url={self.create_url!r})"


def may_reach(number: str, only_numbers: frozenset[str] | None) -> bool:
    """Return True if a request about ``number`` may be made: not in test mode, unless the number is listed."""
    return only_numbers is None or number in only_numbers


def outcome_text(outcome: Outcome[Any]) -> str:
    """Return VirtualText's own text with the HTTP status and the reference code that its support asks for."""
    parts = [outcome.detail or str(outcome.cause or "unclear")]
    if outcome.http_status is not None and str(outcome.http_status) not in outcome.detail:
        parts.append(f"HTTP {outcome.http_status}")
    if outcome.reference_code and outcome.reference_code not in outcome.detail:
        parts.append(f"reference {outcome.reference_code}")
    return ", ".join(parts)
