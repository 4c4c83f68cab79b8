"""What HubSpot's refusals mean, beyond their statuses, and how it signs webhooks. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from crm_adapters.base import AdapterError, CredentialsRejected, SourceInvalid, SourceUnavailable
from crm_adapters.http import ApiReply, is_recent, is_signed
from crm_adapters.http.scrub import one_line
from crm_adapters.http.waits import BUDGET_SECONDS

_NAMES = ("name", "rule", "scope", "propert")
"""A context of an error names something under these keys. Under others, it may hold a person's data."""
_DECODED = {
    f"%{ord(character):02X}": character for character in ":/?@!$'()*,;"
}  # the characters that HubSpot decodes in the address before it signs


def refusal(reply: ApiReply, *, worked_before: bool) -> AdapterError | None:
    """Return the meaning of a response that the usual table does not know; None to leave it to that table."""
    said = one_line(" ".join(_details(reply.data)), ())
    if reply.status == 530 and not worked_before:
        return CredentialsRejected(
            "HubSpot does not recognise the token as one (status 530); copy it again, whole, from HubSpot, and replace"
            " it in the options of this connection"
        )
    if reply.status == 429 and "DAILY" in str(reply.at("policyName", "")).upper():
        return SourceUnavailable(
            "HubSpot: the calls that the account may make in a day are spent, by all its apps together; the connection"
            " tries again in an hour. HubSpot shows under Development which app uses how many",
            retry_after=BUDGET_SECONDS,
        )
    if reply.status == 403 and reply.at("category") == "MISSING_SCOPES":
        return CredentialsRejected(
            f"HubSpot does not allow the credential to do this: {reply.request} ({said}); add the scopes that it names"
            " to the service key or the app, and connect the app again"
        )
    if reply.status in (400, 409, 422) and said:
        return SourceInvalid(
            f"HubSpot does not accept {reply.request} ({said}); correct what it names: the value, or the property or"
            " its validation rule in HubSpot"
        )
    return None


def is_genuine(secret: Any, url: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Return True if HubSpot has signed this request in the last 5 minutes (signature version 3)."""
    stamp = headers.get("x-hubspot-request-timestamp", "")
    before = headers.get(":method", "POST") + _decoded(url)
    message = before.encode(errors="replace") + body + stamp.encode(errors="replace")
    signature = headers.get("x-hubspot-signature-v3", "")
    return is_recent(stamp) and is_signed(secret, message, signature, encoding="base64")


def _decoded(url: str) -> str:
    for code, character in _DECODED.items():
        url = url.replace(code, character).replace(code.lower(), character)
    return url


def _details(data: Any) -> Iterator[str]:
    """Yield the messages of an error, and the names of what they are about."""
    if not isinstance(data, Mapping):
        return
    errors = data.get("errors")
    for one in [data, *(errors if isinstance(errors, list) else ())][:6]:
        if not isinstance(one, Mapping):
            continue
        if isinstance(one.get("message"), str):
            yield _readable(one["message"])
        context = one.get("context")
        for key, found in context.items() if isinstance(context, Mapping) else ():
            if any(name in str(key).lower() for name in _NAMES):
                yield f"{key}: {', '.join(map(str, found)) if isinstance(found, list) else found}"


def _readable(message: str) -> str:
    """Return a message without the JSON in it: "Property values were not valid: [{"message": ..., "name": ...}]"."""
    before, bracket, rest = message.partition("[{")
    try:
        broken = json.loads(bracket + rest) if bracket else []
    except ValueError:
        return message
    parts = [f"{one.get('name')}: {one.get('message')}" for one in broken if isinstance(one, Mapping)]
    return f"{before}{'; '.join(parts)}"
