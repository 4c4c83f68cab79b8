"""Bandwidth: a JSON list, never with the text (dev.bandwidth.com/docs/messaging/webhooks)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any

from config.integrations import Carrier
from worker.carriers import signing
from worker.carriers.channels import channel_named
from worker.carriers.provider import CarrierText, OptOutCode, Provider, SignatureInvalid, SignedRequest
from worker.carriers.reading import Statuses, as_list, as_mapping, as_text, as_time, status_of

STATUSES: Statuses = {
    "messagesent": "sent",
    "messagedelivered": "sent",
    "messagesending": "pending",
    "messagefailed": "failed",
    "messagereceived": "received",
}
_CODES = "https://dev.bandwidth.com/docs/messaging/errors"
OPT_OUT_CODES = {
    "4475": OptOutCode("destination rejected due to user opt-out", _CODES),
    "4775": OptOutCode("carrier rejected due to user opt-out", _CODES),
}


def verify(config: Carrier, request: SignedRequest) -> None:
    """Check HTTP basic authentication, as set for the application's callbacks (dev.bandwidth.com, callbacks)."""
    expected = f"{config.username or ''}:{signing.secret_of(config.password, 'password')}".encode()
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        credentials = base64.b64decode(given.strip(), validate=True)
    except (ValueError, binascii.Error):
        credentials = b""
    if scheme.casefold() != "basic" or not hmac.compare_digest(credentials, expected):
        raise SignatureInvalid("user name or password is wrong")


def parse(payload: Any) -> list[CarrierText]:
    """Read one event, or a list of them."""
    return [_text(event) for event in map(as_mapping, payload if isinstance(payload, list) else [payload])]


def _text(event: Mapping[str, Any]) -> CarrierText:
    message = as_mapping(event.get("message"))
    text_id = as_text(message.get("id"))
    if not text_id:
        raise ValueError("there is no message.id")
    inbound = as_text(message.get("direction")) == "in"
    receiver, body = as_text(event.get("to")), message.get("text")
    # All receivers of a group text share one id; each has an event of its own.
    is_group = len(as_list(message.get("to"))) > 1
    return CarrierText(
        f"{text_id}/{receiver}" if is_group else text_id,
        "received" if inbound else status_of(event.get("type"), STATUSES),
        receiver,
        as_text(message.get("from")) or as_text(message.get("owner")),
        as_text(body) if isinstance(body, str) and body else None,
        tuple(filter(None, map(as_text, as_list(message.get("media"))))),
        as_time(message.get("time") or event.get("time")),
        as_text(event.get("errorCode")),
        channel_named(message.get("channel") or event.get("channel")),
    )


PROVIDER = Provider(verify, parse, needs=("username", "password"), opt_out_codes=OPT_OUT_CODES, challenge="Basic")
