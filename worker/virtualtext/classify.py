"""Which of the three ends an exchange came to. Pure: an answer or an error goes in, an ``Outcome`` comes out.

The rule that everything follows: a call is *not done* only where that is proven, by an answer that refuses it or
because the request never left. Whatever remains is *unknown*. Status codes and the two error envelopes are as
VirtualText documents them and as integrations of the same platform have observed them.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import BadStatusLine, RemoteDisconnected
from typing import Any, NamedTuple, TypeVar

import orjson
from urllib3.exceptions import (
    ClosedPoolError,
    DecodeError,
    EmptyPoolError,
    InvalidHeader,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as ConnectionTimeoutError

from worker.core.http import HttpResponse, NoResponse, ResponseTooLarge
from worker.virtualtext.outcomes import Cause, Outcome, Status

T = TypeVar("T")
Reader = Callable[[bytes], T]
"""Reads what a success says from a body; raises ValueError, in words for a person, when it does not say it."""

MAX_DETAIL = 300
MAX_RETRY_AFTER_SECONDS = 86_400.0

_REFUSALS = {
    401: Cause.CREDENTIALS,
    403: Cause.CREDENTIALS,
    407: Cause.UNREACHABLE,  # a proxy on the way wants credentials of its own and passed nothing on
    429: Cause.RATE_LIMITED,
    451: Cause.OPTED_OUT,
}
_NEEDS_ADMIN = "must be admin"


def judge(answer: HttpResponse | NoResponse, read: Reader[T], secrets: tuple[str, ...] = ()) -> Outcome[T]:
    """The end that ``answer`` means. ``secrets`` are struck out wherever its words repeat them."""
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
        detail = "the answer is not JSON" if isinstance(error, orjson.JSONDecodeError) else str(error)
        said = _words(answer)
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
    """``text`` on one line, without the secrets, and of a bounded length."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """A ``Retry-After`` header in seconds from ``now``, at most a day; None when there is none that makes sense."""
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000" and names nobody knows: HTTP dates are GMT
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def _refused_or_failed(answer: HttpResponse, secrets: tuple[str, ...]) -> Outcome[T]:
    said = _words(answer)
    cause = _cause(answer, said.detail)
    unknown = cause in (Cause.TIMEOUT, Cause.GATEWAY, Cause.SERVER_ERROR, Cause.UNREADABLE)
    return Outcome(
        Status.UNKNOWN if unknown else Status.NOT_DONE,
        None,
        cause,
        clean(said.detail or _fallback(answer), secrets),
        answer.status,
        clean(said.reference_code, secrets),
        retry_after_seconds(answer.headers.get("Retry-After"), datetime.now(UTC)),
    )


def _cause(answer: HttpResponse, detail: str) -> Cause:
    """The cause that a status other than 2xx means."""
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
    return Cause.UNREADABLE  # no status that HTTP knows


def _is_html(answer: HttpResponse) -> bool:
    content_type = answer.headers.get("Content-Type", "").lower()
    return "html" in content_type or answer.body[:100].lstrip().startswith(b"<")


def _fallback(answer: HttpResponse) -> str:
    """What to say of an answer without words of its own."""
    if location := answer.headers.get("Location"):
        return f"the address redirects to {location}; correct the base URL"
    phrase = next((f" {status.phrase}" for status in HTTPStatus if status == answer.status), "")
    return f"HTTP {answer.status}{phrase}" + (", an HTML page" if _is_html(answer) else "")


class _Said(NamedTuple):
    detail: str = ""
    reference_code: str = ""


def _words(answer: HttpResponse) -> _Said:
    """What an answer says of its error, in either envelope or as plain text."""
    try:
        data = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        plain = b"" if _is_html(answer) else answer.body[:2_000]
        return _Said(plain.decode("utf-8", "replace").strip())
    if not isinstance(data, Mapping):
        return _Said()
    reference_code = _text(data.get("referenceCode"))
    if isinstance(errors := data.get("errors"), list):
        return _Said("; ".join(filter(None, map(_error_text, errors))), reference_code)
    message = _text(data.get("message")) or _text(data.get("userFriendlyMessage")) or _text(data.get("error"))
    reason = _text(data.get("reason"))
    return _Said(": ".join(filter(None, (message, reason))), reference_code)


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
    """Why a request that left has no whole answer."""
    chain = list(_causes(error))
    if isinstance(error, ResponseTooLarge):
        return Cause.UNREADABLE, str(error)
    if any(isinstance(one, ReadTimeoutError | TimeoutError) for one in chain):
        return Cause.TIMEOUT, "no whole answer arrived in time"
    garbled = any(isinstance(one, BadStatusLine) and not isinstance(one, RemoteDisconnected) for one in chain)
    if garbled or isinstance(error, DecodeError | InvalidHeader):
        return Cause.UNREADABLE, "the answer is not readable as HTTP"
    return Cause.CONNECTION_LOST, "the connection ended before a whole answer arrived"


def _unreached(error: Exception) -> str:
    """Why a request never left. The kind of error decides only the words."""
    chain = list(_causes(error))
    proxy = "the proxy: " if any(isinstance(one, ProxyError) for one in chain) else ""
    refused = next((one for one in chain if isinstance(one, OSError) and one.strerror), None)
    if any(isinstance(one, NameResolutionError | socket.gaierror) for one in chain):
        return f"{proxy}the host name could not be resolved"
    if isinstance(error, EmptyPoolError):
        return "no connection became free in time; fewer requests at once, or a higher concurrency, would help"
    if isinstance(error, ClosedPoolError):
        return "the client was closed"
    if any(isinstance(one, SSLError | ssl.SSLError) for one in chain):
        return f"{proxy}TLS failed: {chain[-1]}"
    if any(isinstance(one, TimeoutError) for one in chain) or _is_connect_timeout(error):
        return f"{proxy}no connection was made in time"
    if proxy:
        return f"{proxy}{chain[-1]}"
    return f"no connection could be made: {refused.strerror if refused else type(error).__name__}"


def _is_connect_timeout(error: Exception) -> bool:
    return isinstance(error, ConnectionTimeoutError) and not isinstance(error, NewConnectionError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it was made of, which urllib3 keeps in ``args`` or as the cause."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        inner: Any = next((one for one in following.args if isinstance(one, BaseException)), None)
        following = inner or following.__cause__ or following.__context__
