"""What each response means: one table of statuses, and the waits that a CRM asks for. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_adapters.base import AdapterError, CredentialsRejected, RecordGone, SourceInvalid, SourceUnavailable
from crm_adapters.http.exchange import RawReply
from crm_adapters.http.scrub import spoken
from crm_adapters.http.waits import BUDGET_SECONDS, UNSAID_SECONDS, AskedWait, asked_wait
from crm_adapters.unreachable import PROXY_LOGIN

_RATE = re.compile(
    r"rate.?limit|too.?many.?requests|request.?limit|throttl|quota|limit.?exceeded|calls? per (?:second|minute|day)",
    re.IGNORECASE,
)
_BUDGET = re.compile(r"request_limit_exceeded|daily|per.?day|monthly|per.?month|quota", re.IGNORECASE)
_BURST = re.compile(r"per.?(?:minute|second)|secondly|burst", re.IGNORECASE)
_LOOKED_AT = 4096
_WAITS = frozenset({"retry-after", "retry-after-ms"})


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a request failed. ``repeats``: a read may be repeated at once. ``renews``: a new token may help."""

    error: AdapterError
    repeats: bool = False
    renews: bool = False

    @property
    def wait(self) -> float:
        """Return the seconds that the CRM asks to wait, or 0."""
        return (self.error.retry_after or 0.0) if isinstance(self.error, SourceUnavailable) else 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, as far as it matters for the meaning of the response.

    ``record`` is the external id of the record that the request is about, "" if it is about several.
    """

    vendor: str
    request: str
    record: str
    remedy: str
    secrets: Collection[str]
    now: datetime


def parse_json(body: bytes) -> Any:
    """Return the JSON of a body, None if it is empty. Numbers that JSON lacks become None. Raises ValueError."""
    if not body.strip():
        return None
    try:
        return json.loads(body, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None


def looks_like_a_page(body: bytes) -> bool:
    """Return True for HTML."""
    start = body[:_LOOKED_AT].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<!--")) or b"<html" in start


def unreadable(asked: Asked, body: bytes) -> Failed:
    """Return the meaning of a successful status with a body that cannot be read."""
    if looks_like_a_page(body):
        return Failed(
            SourceUnavailable(
                f"{asked.vendor} responds to {asked.request} with a web page in place of data; it may be down for"
                " maintenance, or a login page or a firewall is in between. The next run tries again; if this stays,"
                " check the address in the options of this connection"
            )
        )
    return Failed(
        SourceUnavailable(
            f"{asked.vendor} responds to {asked.request} with data that breaks off or is in another format; the next"
            " run tries again. If this stays, check the address in the options of this connection"
        ),
        repeats=True,
    )


def without_data(asked: Asked, status: int) -> Failed:
    """Return the meaning of a successful status without a body, as the response to a read."""
    text = f"{asked.vendor} responds to {asked.request} without data (status {status})"
    if status == 200:
        return Failed(SourceUnavailable(f"{text}; the next run tries again"), repeats=True)
    return Failed(SourceInvalid(f"{text}, where records were expected; report it to the maintainers of the adapter"))


def meaning(reply: RawReply, data: Any, asked: Asked) -> Failed | None:
    """Return why a request failed; None for a status of 2xx. ``data`` is the body's JSON, None if it has none."""
    if 200 <= reply.status < 300:
        return None
    said = spoken(data, asked.secrets)
    what = f"status {reply.status}" + (f": {said}" if said else "")
    limited = _is_limited(reply)
    # Many APIs send the state of their limits with every response. Only a limit makes it a request to wait.
    headers = (
        reply.headers if limited is not None else {name: reply.headers[name] for name in _WAITS & {*reply.headers}}
    )
    wait = asked_wait(headers, asked.now)
    if reply.status in (401, 407) or (reply.status == 403 and limited is None):
        return _refused(reply, asked, what, wait)
    if limited is not None:
        return _limited(asked, what, wait, is_budget=limited)
    if reply.status in (404, 410):
        return Failed(_not_found(asked, what))
    if reply.status in (408, 421, 423, 425) or reply.status >= 500:
        return _unavailable(reply, asked, what, wait)
    return Failed(_refusal(reply.status, asked, what))


def _is_limited(reply: RawReply) -> bool | None:
    """Return None if no limit was reached, else True for a budget of a day or longer."""
    text = reply.body[:_LOOKED_AT].decode("utf-8", "replace")
    if reply.status == 403 and looks_like_a_page(reply.body):
        return None
    spent = reply.headers.get("x-ratelimit-remaining", "").strip() == "0" or "retry-after" in reply.headers
    if reply.status == 429 or (reply.status == 403 and (spent or _RATE.search(text))):
        return bool(_BUDGET.search(text)) and not _BURST.search(text)
    return None


def _limited(asked: Asked, what: str, wait: AskedWait | None, *, is_budget: bool) -> Failed:
    unsaid = BUDGET_SECONDS if is_budget else UNSAID_SECONDS
    seconds = unsaid if wait is None else wait.seconds
    which = "the calls that it allows in a day or longer are spent" if is_budget else "too many requests"
    return Failed(
        SourceUnavailable(f"{asked.vendor}: {which} ({what}); {_again(seconds, wait)}", retry_after=seconds),
        repeats=not is_budget,
    )


def _again(seconds: float, wait: AskedWait | None) -> str:
    again = f"the connection tries again in {readable_seconds(seconds)}"
    if wait is not None and wait.is_cut:
        return f"it asks to wait {readable_seconds(wait.asked)}, which is implausible: {again}"
    return again


def _refused(reply: RawReply, asked: Asked, what: str, wait: AskedWait | None) -> Failed:
    if reply.status == 407:
        return Failed(SourceUnavailable(f"{asked.vendor} cannot be reached: {PROXY_LOGIN}"))
    if reply.status == 403 and looks_like_a_page(reply.body):
        return Failed(
            SourceUnavailable(
                f"a firewall in front of {asked.vendor} refuses {asked.request} ({what}); the next run tries again. If"
                " this stays, ask the vendor to allow the address of this machine",
                retry_after=None if wait is None else wait.seconds,
            )
        )
    if reply.status == 403:
        return Failed(
            CredentialsRejected(
                f"{asked.vendor} does not allow the credential to do this: {asked.request} ({what}); give the user or"
                f" the app this permission in the CRM, or {asked.remedy}"
            )
        )
    return Failed(CredentialsRejected(f"{asked.vendor} refuses the credential ({what}); {asked.remedy}"), renews=True)


def _not_found(asked: Asked, what: str) -> AdapterError:
    if asked.record:
        return RecordGone(f"{asked.vendor} has no record {asked.record} (any more) ({what})")
    return SourceInvalid(
        f"{asked.vendor} has nothing at {asked.request} ({what}); check the address and the options of this connection"
    )


def _unavailable(reply: RawReply, asked: Asked, what: str, wait: AskedWait | None) -> Failed:
    seconds = None if wait is None else wait.seconds
    again = "the next run tries again" if seconds is None else _again(seconds, wait)
    hint = ""
    if reply.status in (520, 530):
        hint = "; some vendors respond like this to a credential that was not copied whole"
    text = f"{asked.vendor} cannot respond to {asked.request} at the moment ({what}); {again}{hint}"
    return Failed(SourceUnavailable(text, retry_after=seconds), repeats=True)


def _refusal(status: int, asked: Asked, what: str) -> AdapterError:
    if status == 402:
        return SourceInvalid(f"{asked.vendor} wants a payment or a larger plan for this ({what}); look there")
    about = f" for record {asked.record}" if asked.record else ""
    return SourceInvalid(
        f"{asked.vendor} does not accept {asked.request}{about} ({what}); correct what it names, in the CRM or in the"
        " options of this connection"
    )


def readable_seconds(seconds: float) -> str:
    """Write a wait for people: ``30 seconds``, ``5 minutes``, ``2 hours``, ``400 days``."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}s"
    return f"{max(round(seconds), 1)} seconds"
