"""The platform's responses as they are on the wire. Pure.

Bodies follow the vendor's documentation and observations of the same platform; docstrings mark the observed ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"

GATEWAY_PAGE = (
    "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n"
    "<center><h1>{status} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
REASONS = {
    401: ("Invalid API Credentials", "The account or its token is not known"),
    403: ("Forbidden", "The user may not do this"),
    404: ("Not Found", "There is nothing at this address"),
    408: ("Request timeout", ""),
    429: ("Too many requests", "The rate limit is used up"),
    451: ("Unavailable For Legal Reasons", "The recipient has opted out"),
    500: ("Internal server error", ""),
    502: ("Bad Gateway", ""),
    503: ("Service Temporarily Unavailable", ""),
    504: ("Gateway Time-out", ""),
}


class SandboxAnswer(NamedTuple):
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}


def ok_json(body: object) -> SandboxAnswer:
    """Return 200 with ``body`` as JSON."""
    return SandboxAnswer(200, orjson.dumps(body))


def bad_request(*errors: str) -> SandboxAnswer:
    """Return 400 with the documented envelope, one entry for every invalid parameter."""
    return SandboxAnswer(400, orjson.dumps({"errors": errors}))


def error_envelope(status: int, message: str = "", reason: str = "") -> SandboxAnswer:
    """Return the other envelope (observed). The vendor's support asks for its ``referenceCode``."""
    usual_message, usual_reason = REASONS.get(status, ("Error", ""))
    body: dict[str, Any] = {"_errType": "TXBDEV_API_ERROR_V1", "message": message or usual_message}
    if reason := reason or usual_reason:
        body["reason"] = reason
    body["referenceCode"] = str(uuid4())
    return SandboxAnswer(status, orjson.dumps(body))


def gateway_page(status: int = 502) -> SandboxAnswer:
    """Return a gateway's HTML, as for an outage or an id that does not exist (observed)."""
    reason = REASONS.get(status, ("Error", ""))[0]
    return SandboxAnswer(status, GATEWAY_PAGE.format(status=status, reason=reason).encode(), HTML)
