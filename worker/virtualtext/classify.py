"""Classifies a response as done, not done or unknown. Pure: turns a response or an error into an ``Outcome``.

A call is *not done* only if that is proven: a response refuses it, or the request never left. Everything else that is
not a success is *unknown*. Status codes and the two error envelopes are as VirtualText documents them, and as other
integrations of the same platform have observed them.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import BadStatusLine, RemoteDisconnected
from typing import NamedTuple, TypeVar

import orjson
from urllib3.exceptions import (
    ClosedPoolError,
    DecodeError,
    EmptyPoolError,
    InvalidHeader,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as ConnectionTimeoutError

from crm_adapters.unreachable import PROXY_LOGIN, causes_of, explain_unreachable
from worker.core.clock import utcnow
from worker.core.http import HttpResponse, NoResponse, ResponseTooLarge
from worker.virtualtext.outcomes import Cause, Outcome, Status

T = TypeVar("T")
Reader = Callable[[bytes], T]
"""Reads the value of a success from a body. Raises ValueError, with a text for a person, when it is not there."""

MAX_DETAIL = 300
MAX_RETRY_AFTER_SECONDS = 86_400.0

_REFUSALS = {
    401: Cause.CREDENTIALS,
    403: Cause.CREDENTIALS,
    407: Cause.UNREACHABLE,  # a proxy on the way wants its own credentials and forwarded nothing
    429: Cause.RATE_LIMITED,
    451: Cause.OPTED_OUT,
}
_NEEDS_ADMIN = "must be admin"


def classify(answer: HttpResponse | NoResponse, read: Reader[T], secrets: tuple[str, ...] = ()) -> Outcome[T]:
    """Classify ``answer``. ``secrets`` are redacted wherever the response repeats them."""
    if isinstance(answer, NoResponse):
        return _unanswered(answer, secrets)
    if not 200 <= answer.status < 300:
        return _refused_or_failed(answer, secrets)
    if answer.trouble is not None:
        cause, detail = _lost(answer.trouble)
        return Outcome(Status.UNKNOWN, None, cause, clean(detail, secrets), answer.status)
    try:
        return Outcome(Status.DONE, read(answer.body), http_status=answer.status)
    except ValueError as error:
        detail = "the response is not JSON" if isinstance(error, orjson.JSONDecodeError) else str(error)
        said = _error_of(answer)
        detail = f"{detail}; it says: {said.detail}" if said.detail else detail
        return Outcome(
            Status.UNKNOWN,
            None,
            Cause.UNREADABLE,
            clean(detail, secrets),
            answer.status,
            clean(said.reference_code, secrets),
        )


def clean(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return ``text`` on one line, without the secrets, cut to ``MAX_DETAIL`` characters."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Return a ``Retry-After`` header in seconds from ``now``, at most a day. None: missing or unreadable."""
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000" or an unknown zone: HTTP dates are GMT
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def _refused_or_failed(answer: HttpResponse, secrets: tuple[str, ...]) -> Outcome[T]:
    said = _error_of(answer)
    cause = _cause(answer, said.detail)
    unknown = cause in (Cause.TIMEOUT, Cause.GATEWAY, Cause.SERVER_ERROR, Cause.UNREADABLE)
    return Outcome(
        Status.UNKNOWN if unknown else Status.NOT_DONE,
        None,
        cause,
        clean(said.detail or _fallback(answer), secrets),
        answer.status,
        clean(said.reference_code, secrets),
        retry_after_seconds(answer.headers.get("Retry-After"), utcnow()),
    )


def _cause(answer: HttpResponse, detail: str) -> Cause:
    """Return the cause of a status other than 2xx."""
    status = answer.status
    if status == 408:
        return Cause.TIMEOUT
    if status == 400 and _NEEDS_ADMIN in detail.lower():
        return Cause.CREDENTIALS
    if 400 <= status < 500:
        return _REFUSALS.get(status, Cause.REJECTED)
    if 300 <= status < 400:
        return Cause.REDIRECTED
    if 500 <= status < 600:
        return Cause.GATEWAY if _is_html(answer) else Cause.SERVER_ERROR
    return Cause.UNREADABLE  # not a status of HTTP


def _is_html(answer: HttpResponse) -> bool:
    content_type = answer.headers.get("Content-Type", "").lower()
    return "html" in content_type or answer.body[:100].lstrip().startswith(b"<")


def _fallback(answer: HttpResponse) -> str:
    """Describe a response that holds no error text."""
    if answer.status == 407:
        return PROXY_LOGIN
    if location := answer.headers.get("Location"):
        return f"the address redirects to {location}; correct the base URL"
    phrase = next((f" {status.phrase}" for status in HTTPStatus if status == answer.status), "")
    return f"HTTP {answer.status}{phrase}" + (", an HTML page" if _is_html(answer) else "")


class _Error(NamedTuple):
    detail: str = ""
    reference_code: str = ""


def _error_of(answer: HttpResponse) -> _Error:
    """Read the error that a response reports, in either envelope or as plain text."""
    try:
        data = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        plain = b"" if _is_html(answer) else answer.body[:2_000]
        return _Error(plain.decode("utf-8", "replace").strip())
    if not isinstance(data, Mapping):
        return _Error()
    reference_code = _text(data.get("referenceCode"))
    if isinstance(errors := data.get("errors"), list):
        return _Error("; ".join(filter(None, map(_error_text, errors))), reference_code)
    message = _text(data.get("message")) or _text(data.get("userFriendlyMessage")) or _text(data.get("error"))
    reason = _text(data.get("reason"))
    return _Error(": ".join(filter(None, (message, reason))), reference_code)


def _error_text(error: object) -> str:
    if isinstance(error, Mapping):
        return _text(error.get("message")) or _text(error.get("reason"))
    return _text(error)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _unanswered(no_answer: NoResponse, secrets: tuple[str, ...]) -> Outcome[T]:
    if no_answer.request_left:
        cause, detail = _lost(no_answer.error)
        return Outcome(Status.UNKNOWN, None, cause, clean(detail, secrets))
    detail = _unreached(no_answer.error)
    return Outcome(Status.NOT_DONE, None, Cause.UNREACHABLE, clean(detail, secrets))


def _lost(error: Exception) -> tuple[Cause, str]:
    """Explain why a request that left has no complete response."""
    chain = list(causes_of(error))
    if isinstance(error, ResponseTooLarge):
        return Cause.UNREADABLE, str(error)
    if any(isinstance(one, ReadTimeoutError | TimeoutError) for one in chain):
        return Cause.TIMEOUT, "no complete response arrived in time"
    garbled = any(isinstance(one, BadStatusLine) and not isinstance(one, RemoteDisconnected) for one in chain)
    if garbled or isinstance(error, DecodeError | InvalidHeader):
        return Cause.UNREADABLE, "the response is not readable as HTTP"
    return Cause.CONNECTION_LOST, "the connection ended before a complete response arrived"


def _unreached(error: Exception) -> str:
    """Explain why a request never left."""
    if explained := explain_unreachable(error):
        return explained
    chain = list(causes_of(error))
    refused = next((one for one in chain if isinstance(one, OSError) and one.strerror), None)
    if any(isinstance(one, NameResolutionError | socket.gaierror) for one in chain):
        return "the host name could not be resolved"
    if isinstance(error, EmptyPoolError):
        return "no connection became free in time; make fewer requests at once or raise the concurrency"
    if isinstance(error, ClosedPoolError):
        return "the client was closed"
    if any(isinstance(one, SSLError | ssl.SSLError) for one in chain):
        return f"TLS failed: {chain[-1]}"
    if any(isinstance(one, TimeoutError) for one in chain) or _is_connect_timeout(error):
        return "no connection was made in time"
    return f"no connection could be made: {refused.strerror if refused else type(error).__name__}"


def _is_connect_timeout(error: Exception) -> bool:
    return isinstance(error, ConnectionTimeoutError) and not isinstance(error, NewConnectionError)
