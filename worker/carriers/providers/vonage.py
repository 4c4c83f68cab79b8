"""Vonage: JSON without the text (developer.vonage.com, Messages API, message status)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config.integrations import Carrier
from worker.carriers import signing
from worker.carriers.channels import channel_named
from worker.carriers.provider import CarrierText, OptOutCode, Provider, SignatureInvalid, SignedRequest
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
    to, sender = event.get("to"), event.get("from")
    if "err-code" in event:  # a delivery receipt of the SMS API: "to" is who sent it
        to, sender = event.get("msisdn"), to
    return [
        CarrierText(
            text_id,
            "received" if inbound else status_of(event.get("status"), STATUSES),
            _number(to),
            _number(sender),
            sent_at=as_time(event.get("timestamp")),
            detail=_code(event),
            channel=channel_named(event.get("channel") or as_mapping(to).get("type")),
        )
    ]


def _number(value: Any) -> str:
    """Return a number; the first version of the Messages API puts it into an object."""
    return as_number(as_mapping(value).get("number") if isinstance(value, Mapping) else value)


def _code(event: Mapping[str, Any]) -> str:
    """Return the code of an error of the Messages API, as at the end of its URL, or of the SMS API."""
    error = as_mapping(event.get("error"))
    error = as_mapping(error.get("error")) or error
    code = as_text(error.get("type")).partition("#")[2] or as_text(error.get("title")) or as_text(error.get("code"))
    return code or as_text(event.get("err-code")).removeprefix("0")


OPT_OUT_CODES = {
    "1240": OptOutCode("illegal number: the user has sent STOP", "https://developer.vonage.com/en/api-errors/messages"),
    "9": OptOutCode(
        "the user has requested not to receive messages from this number",
        "https://developer.vonage.com/en/opt-out-assist/guides/messaging-opted-out-numbers",
    ),
}
PROVIDER = Provider(verify, parse, needs=("signing_key",), opt_out_codes=OPT_OUT_CODES)
