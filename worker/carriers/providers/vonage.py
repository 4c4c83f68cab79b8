"""Vonage: JSON without the text (developer.vonage.com, Messages API, message status)."""

from __future__ import annotations

from typing import Any

from config.integrations import Carrier
from worker.carriers import signing
from worker.carriers.provider import CarrierText, Provider, SignatureInvalid, SignedRequest
from worker.carriers.reading import Statuses, as_mapping, as_number, as_text, as_time, status_of

STATUSES: Statuses = {"submitted": "sent", "undeliverable": "failed", "unknown": "failed"}


def verify(config: Carrier, request: SignedRequest) -> None:
    """Check the JWT (HS256) and its ``payload_hash``, the hash of the body, which Vonage's own library ignores."""
    import jwt

    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.casefold() != "bearer":
        raise SignatureInvalid("there is no token")
    try:
        claims = jwt.decode(
            token.strip(),
            signing.secret_of(config.signing_key, "signing_key"),
            algorithms=["HS256"],
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
        )
    except jwt.PyJWTError as error:
        raise SignatureInvalid(f"the token is wrong ({type(error).__name__})") from None
    signing.require_recent(str(claims.get("iat", "")), request)
    signing.require_body_hash(str(claims.get("payload_hash", "")), request)


def parse(payload: Any) -> list[CarrierText]:
    """Read a message status or an inbound message."""
    event = as_mapping(payload)
    text_id = as_text(event.get("message_uuid") or event.get("messageId"))
    if not text_id:
        raise ValueError("there is no message_uuid")
    inbound = "text" in event and "status" not in event
    return [
        CarrierText(
            text_id,
            "received" if inbound else status_of(event.get("status"), STATUSES),
            as_number(event.get("to")),
            as_number(event.get("from")),
            sent_at=as_time(event.get("timestamp")),
        )
    ]


PROVIDER = Provider(verify, parse, needs=("signing_key",))
