"""Telnyx: JSON with the text (developers.telnyx.com/docs/messaging/messages/receiving-webhooks)."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from config.integrations import Carrier
from worker.carriers import signing
from worker.carriers.provider import CarrierStatus, CarrierText, Provider, SignatureInvalid, SignedRequest
from worker.carriers.reading import Statuses, as_list, as_mapping, as_text, as_time, status_of

STATUSES: Statuses = {
    "messagesent": "sent",
    "deliveryunconfirmed": "sent",
    "sendingfailed": "failed",
    "deliveryfailed": "failed",
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
            )
        )
    return texts


def _status(kind: str, status: str) -> CarrierStatus:
    found = status_of(status or kind, STATUSES)
    return "sent" if kind == "message.sent" and found in ("pending", "other") else found


PROVIDER = Provider(verify, parse, needs=("public_key",))
