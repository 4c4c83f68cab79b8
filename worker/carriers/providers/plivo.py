"""Plivo: form-encoded, without the text (plivo.com/docs/messaging/concepts/message-status)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from config.integrations import Carrier
from worker.carriers import signing
from worker.carriers.channels import channel_named
from worker.carriers.provider import CarrierText, OptOutCode, Provider, SignatureInvalid, SignedRequest
from worker.carriers.reading import as_mapping, as_number, as_text, status_of


def verify(config: Carrier, request: SignedRequest) -> None:
    """Check signature V3: HMAC over URL, sorted fields and nonce (plivo.com/docs, signature validation).

    The header ``Ma`` is signed with the token of the main account, the other one with that of the subaccount.
    """
    nonce = request.headers.get("x-plivo-signature-v3-nonce", "")
    if not nonce:
        raise SignatureInvalid("the nonce is missing")
    signing.require_covered_body(request)
    key = signing.secret_of(config.auth_token, "auth_token")
    headers = (request.headers.get(name, "") for name in ("x-plivo-signature-v3", "x-plivo-signature-ma-v3"))
    given = [one.strip() for header in headers for one in header.split(",")]
    signing.require_one_of(given, [signing.hmac_base64(key, f"{_signed_url(request)}.{nonce}".encode())])


def parse(payload: Any) -> list[CarrierText]:
    """Read a message status or an inbound message."""
    event = as_mapping(payload)
    text_id = as_text(event.get("MessageUUID"))
    if not text_id:
        raise ValueError("there is no MessageUUID")
    inbound = "Text" in event and "Status" not in event
    return [
        CarrierText(
            text_id,
            "received" if inbound else status_of(event.get("Status")),
            as_number(event.get("To")),
            as_number(event.get("From")),
            detail=as_text(event.get("ErrorCode")),
            channel=channel_named(event.get("Type")),
        )
    ]


def _signed_url(request: SignedRequest) -> str:
    """Return the URL with sorted query and form fields. A dot separates them; form fields always have a "?"."""
    parts = urlsplit(request.url)
    base = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    query = "&".join(f"{name}={value}" for name, value in _sorted_pairs(parse_qs(parts.query, keep_blank_values=True)))
    if not request.form:
        return f"{base}?{query}" if query else base
    form: dict[str, list[str]] = defaultdict(list)
    for name, value in request.form:
        form[name].append(value)
    fields = "".join(name + value for name, value in _sorted_pairs(form))
    return f"{base}?{query}.{fields}" if query else f"{base}?{fields}"


def _sorted_pairs(values: dict[str, list[str]]) -> Iterable[tuple[str, str]]:
    return ((name, value) for name in sorted(values) for value in sorted(values[name]))


OPT_OUT_CODES = {
    "200": OptOutCode(
        "source number blocked by STOP from destination number", "https://www.plivo.com/docs/messaging/troubleshooting/"
    ),
}
PROVIDER = Provider(verify, parse, needs=("auth_token",), opt_out_codes=OPT_OUT_CODES, signs_fields=True)
