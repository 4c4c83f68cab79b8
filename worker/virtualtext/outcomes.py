"""What a call to VirtualText came to. Every call ends in exactly one of three ways.

* **done**: the platform said so. ``value`` is what it answered.
* **not done**: provably nothing was written, ``cause`` says why and so what to do.
* **unknown**: the request may have been carried out, the answer was lost. Creates and sends are not idempotent,
  so nobody may repeat such a call before it is settled.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Cause(StrEnum):
    """Why a call was not done, or why nobody knows."""

    # not done
    REJECTED = "rejected"
    """400, 404, 413, 415, 422: this body will never do. Fix it; do not repeat it."""
    CREDENTIALS = "credentials"
    """401, 403, or a 400 saying "must be admin": stop the account, not this call alone."""
    OPTED_OUT = "opted_out"
    """451: the recipient has opted out."""
    RATE_LIMITED = "rate_limited"
    """429: wait ``retry_after`` seconds."""
    UNREACHABLE = "unreachable"
    """DNS failure, connection refused, connect time-out, TLS failure: the request never left."""
    REDIRECTED = "redirected"
    """3xx: the base URL is wrong. Redirects are never followed."""
    # unknown
    TIMEOUT = "timeout"
    """No answer in time, or 408."""
    CONNECTION_LOST = "connection_lost"
    """The connection ended before a whole answer arrived."""
    SERVER_ERROR = "server_error"
    """A 5xx with the platform's own envelope, or with nothing recognisable."""
    GATEWAY = "gateway"
    """A 5xx with a gateway's HTML: an outage, or on a by-id path an id that does not exist."""
    UNREADABLE = "unreadable"
    """A 2xx whose body does not say what a success says."""


class Status(StrEnum):
    """The three ways."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The end of one call. ``detail`` is for a person and never holds a secret; ``reference_code`` is what the
    vendor's support asks for; ``retry_after`` is in seconds; ``http_status`` is None when there was no answer.
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
        """The platform carried it out and said so."""
        return self.status is Status.DONE

    @property
    def failed(self) -> bool:
        """The platform did not serve: a 5xx, or no whole answer. One that says what is wrong has served."""
        return self.cause in (Cause.TIMEOUT, Cause.CONNECTION_LOST, Cause.SERVER_ERROR, Cause.GATEWAY)

    @property
    def unknown(self) -> bool:
        """It may or may not have been carried out."""
        return self.status is Status.UNKNOWN


@dataclass(frozen=True, slots=True)
class ContactBody:
    """A contact to write: always all three fields, since an omitted name becomes the number (documented)."""

    phone: str
    full_name: str
    email: str


@dataclass(frozen=True, slots=True)
class RemoteContact:
    """A contact as VirtualText answers it; fields it left out are empty."""

    id: str
    phone: str
    full_name: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class MessageBody:
    """A text. ``to`` and ``from_number`` are E.164, ``media`` public URLs."""

    to: str
    from_number: str
    text: str
    media: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """A text was taken. ``message_id`` is empty mostly: the platform seldom says."""

    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom to call. ``token`` must not be printed, so ``repr`` leaves it out."""

    uid: str
    token: str
    api_url: str
    create_url: str
    connect_timeout: float = 5.0
    read_timeout: float = 40.0
    concurrency: int = 16
    account: str = ""
    """What the configuration calls it, for metrics."""

    def __repr__(self) -> str:
        return f"Endpoint(uid={self.uid!r}, api_url={self.api_url!r}, create_url={self.create_url!r})"
