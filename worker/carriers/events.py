"""What all carriers have in common: a signed request comes in, it tells of texts, some can be looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

import orjson
import requests

from worker.messages.requests import plausible

Status: TypeAlias = Literal["sent", "pending", "failed", "received", "other"]


class Refused(Exception):
    """The request does not come from the carrier, as far as can be shown. The words are for our log only."""


class NotYet(Exception):
    """The carrier could not be asked just now; the words say why."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as the carrier signed it. ``url``: as the carrier knows it; header names in small letters."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    form: tuple[tuple[str, str], ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class CarrierText:
    """One text of a carrier. ``text`` None: the event does not carry it. Numbers are as the carrier writes them."""

    id: str
    status: Status
    to_number: str
    from_number: str
    text: str | None = None
    media: tuple[str, ...] = ()
    sent_at: datetime | None = None
    detail: str = ""


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` where it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def text_of(value: Any) -> str:
    """A string as it is, a number as its digits, anything else as ""."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).replace("\x00", "").encode("utf-8", "ignore").decode()


def moment(value: Any) -> datetime | None:
    """An ISO 8601 time with a zone, in this century; None for anything else."""
    try:
        parsed = datetime.fromisoformat(text_of(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None and plausible(parsed) else None


def status_of(word: str) -> Status:
    """The carriers' words for what became of a text. Once it has left the carrier it is sent, whatever follows."""
    plain = "".join(letter for letter in word.casefold() if letter.isalpha())
    return _STATUSES.get(plain, "other")


_STATUSES: dict[str, Status] = {
    **dict.fromkeys(
        (
            "sent",
            "delivered",
            "messagesent",
            "messagedelivered",
            "dispatched",
            "read",
            "submitted",
            "deliveryunconfirmed",
        ),
        "sent",
    ),
    **dict.fromkeys(
        ("queued", "accepted", "sending", "scheduled", "messagesending", "pending", "partiallydelivered"), "pending"
    ),
    **dict.fromkeys(
        (
            "failed",
            "undelivered",
            "rejected",
            "messagefailed",
            "canceled",
            "cancelled",
            "expired",
            "sendingfailed",
            "deliveryfailed",
            "aborted",
            "unknown",
            "undeliverable",
        ),
        "failed",
    ),
    **dict.fromkeys(("received", "receiving", "messagereceived", "inbound", "motext"), "received"),
}


def ask(session: requests.Session, method: str, url: str, **options: Any) -> Any:
    """A carrier's answer as JSON; None for 404. Raises NotYet; its words never hold the URL's credentials."""
    try:
        answer = session.request(method, url, timeout=(5, 20), allow_redirects=False, stream=True, **options)
        body = answer.raw.read(MOST_BYTES + 1, decode_content=True)
    except (requests.RequestException, OSError) as error:
        raise NotYet(f"the carrier could not be asked ({type(error).__name__})") from None
    if answer.status_code == 404:
        return None
    if answer.status_code in (401, 403):
        raise NotYet(f"the carrier refused the credential (HTTP {answer.status_code}); correct it in the configuration")
    if answer.status_code != 200 or len(body) > MOST_BYTES:
        raise NotYet(f"the carrier answered HTTP {answer.status_code}")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NotYet("the carrier's answer is not JSON") from None


MOST_BYTES = 8 << 20
