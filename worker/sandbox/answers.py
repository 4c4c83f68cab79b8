"""What the platform's answers look like on the wire. Pure.

Bodies are as the vendor documents them and as integrations of the same platform have observed them; where neither
says a thing, the docstring says that the form is ours.
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


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}


def success(body: object) -> Answer:
    """200 with ``body`` as JSON."""
    return Answer(200, orjson.dumps(body))


def refusal(*errors: str) -> Answer:
    """400 with the documented envelope, one entry for every parameter that will not do."""
    return Answer(400, orjson.dumps({"errors": errors}))


def failure(status: int, message: str = "", reason: str = "") -> Answer:
    """The other envelope (observed). ``referenceCode`` is what the vendor's support asks for."""
    usual_message, usual_reason = REASONS.get(status, ("Error", ""))
    body: dict[str, Any] = {"_errType": "TXBDEV_API_ERROR_V1", "message": message or usual_message}
    if said := reason or usual_reason:
        body["reason"] = said
    body["referenceCode"] = str(uuid4())
    return Answer(status, orjson.dumps(body))


def gateway(status: int = 502) -> Answer:
    """A gateway's HTML: an outage, or an id that does not exist (observed)."""
    reason = REASONS.get(status, ("Error", ""))[0]
    return Answer(status, GATEWAY_PAGE.format(status=status, reason=reason).encode(), HTML)
