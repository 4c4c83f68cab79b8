"""Telnyx: JSON with the text (developers.telnyx.com/docs/messaging/messages/receiving-webhooks)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from config.integrations import Carrier
from worker.carriers import api, signing
from worker.carriers.channels import channel_named
from worker.carriers.provider import (
    CarrierOptOut,
    CarrierStatus,
    CarrierText,
    CarrierUnavailable,
    OptOutCode,
    Provider,
    SignatureInvalid,
    SignedRequest,
)
from worker.carriers.reading import Statuses, as_list, as_mapping, as_text, as_time, status_of

if TYPE_CHECKING:
    import requests

API_URL = "https://api.telnyx.com/v2"
PAGE_SIZE = 250
MAX_OPT_OUT_PAGES = 4000
"""A million opt-outs. The list has no order in which the newest could be asked for alone."""
STATUSES: Statuses = {
    "messagesent": "sent",
    "deliveryunconfirmed": "sent",
    "sendingfailed": "failed",
    "deliveryfailed": "failed",
}
OPT_OUT_CODES = {
    "40300": OptOutCode(
        "blocked due to STOP message", "https://developers.telnyx.com/docs/messaging/messages/error-codes"
    ),
}


def verify(config: Carrier, request: SignedRequest) -> None:
    """Check the Ed25519 signature over ``timestamp|body`` (developers.telnyx.com, webhook fundamentals)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    timestamp = request.headers.get("telnyx-timestamp", "")
    signing.require_recent(timestamp, request)
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(config.public_key or "", validate=True))
        signature = base64.b64decode(request.headers.get("telnyx-signature-ed25519", ""), validate=True)
        key.verify(signature, timestamp.encode() + b"|" + request.body)
    except (InvalidSignature, ValueError, binascii.Error):
        raise SignatureInvalid("the signature is wrong") from None


def parse(payload: Any) -> list[CarrierText]:
    """Read a message event: one text for each receiver."""
    data = as_mapping(as_mapping(payload).get("data"))
    event = as_mapping(data.get("payload"))
    kind, text_id = as_text(data.get("event_type")), as_text(event.get("id"))
    if not text_id:
        raise ValueError("there is no data.payload.id")
    inbound = as_text(event.get("direction")) == "inbound" or kind == "message.received"
    channel = channel_named(event.get("type"))
    codes = [as_text(as_mapping(one).get("code")) for one in as_list(event.get("errors"))]
    detail = next((code for code in codes if code in OPT_OUT_CODES), next(iter(codes), ""))
    receivers = [as_mapping(one) for one in as_list(event.get("to"))]
    texts = []
    for receiver in receivers:
        number = as_text(receiver.get("phone_number"))
        texts.append(
            CarrierText(
                text_id if len(receivers) == 1 else f"{text_id}/{number}",
                "received" if inbound else _status(kind, as_text(receiver.get("status"))),
                number,
                as_text(as_mapping(event.get("from")).get("phone_number")),
                as_text(event.get("text")),
                tuple(filter(None, (as_text(as_mapping(one).get("url")) for one in as_list(event.get("media"))))),
                as_time(event.get("sent_at")),
                detail,
                channel,
            )
        )
    return texts


def list_opt_outs(session: requests.Session, config: Carrier) -> Iterator[CarrierOptOut]:
    """Ask for the opt-outs of all messaging profiles (developers.telnyx.com, opt-out management)."""
    for number in range(1, MAX_OPT_OUT_PAGES + 1):
        page = as_mapping(
            api.ask(
                session,
                f"{api.base_url(config, API_URL)}/messaging_optouts",
                params={"page[number]": number, "page[size]": PAGE_SIZE},
                headers=api.bearer_auth(config),
            )
        )
        for row in map(as_mapping, as_list(page.get("data"))):
            yield CarrierOptOut(as_text(row.get("to")), as_time(row.get("created_at")), as_text(row.get("keyword")))
        pages = as_mapping(page.get("meta")).get("total_pages")
        if not isinstance(pages, int) or number >= pages:
            return
    raise CarrierUnavailable(f"the carrier's list of opt-outs has more than {MAX_OPT_OUT_PAGES} pages")


def _status(kind: str, status: str) -> CarrierStatus:
    found = status_of(status or kind, STATUSES)
    return "sent" if kind == "message.sent" and found in ("pending", "other") else found


PROVIDER = Provider(verify, parse, needs=("public_key",), opt_out_codes=OPT_OUT_CODES, list_opt_outs=list_opt_outs)
