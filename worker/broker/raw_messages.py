"""What Redis and the folder of files hold, made into messages that Kombu can deliver.

Kombu expects every item to be one of its own envelopes. Anything else raises an error in the worker's main loop, goes
back into the queue and stops the next worker. Here such an item becomes an envelope too, with a header that says what
is wrong. It is then delivered, refused and acknowledged like any other message.
"""

# Kombu has no types.
# mypy: disable-error-code="no-untyped-call,unused-ignore"

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any

from kombu.utils.json import loads

MALFORMED = "vtsync_malformed"
"""The header of an envelope that stands for an item which is none. Its value is the reason."""


def envelope_of(item: bytes, queue: str, tag: str = "") -> dict[str, Any]:
    """Return the item as an envelope that arrived from this queue. ``tag`` must be unique; by default a random one.

    The tag and the origin are always our own: two messages with the same tag would be acknowledged together, and a
    message of an unknown exchange could not be put back.
    """
    envelope = _read(item)
    properties = envelope["properties"]
    given = properties.get("delivery_info")
    again = isinstance(given, dict) and given.get("redelivered") is True
    if not isinstance(properties.get("priority"), int):
        properties.pop("priority", None)
    properties |= {
        "delivery_tag": tag or str(uuid.uuid4()),
        "delivery_info": {"exchange": "", "routing_key": queue} | ({"redelivered": True} if again else {}),
    }
    return envelope


def _read(item: bytes) -> dict[str, Any]:
    try:
        envelope = loads(item.decode())
    except Exception:  # noqa: BLE001 - a decoder can raise anything, and none of it may reach the main loop
        return _stand_in(item, "it is not JSON")
    if not isinstance(envelope, dict):
        return _stand_in(item, "it is not a JSON object with body, headers and properties")
    properties, headers = envelope.get("properties") or {}, envelope.get("headers") or {}
    if not (isinstance(properties, dict) and isinstance(headers, dict)):
        return _stand_in(item, "its headers and properties are not JSON objects")
    if problem := _body_problem(envelope.get("body"), properties):
        return _stand_in(item, problem)
    if "compression" in headers and not isinstance(headers["compression"], str):
        return _stand_in(item, "the header compression is not a name")
    return envelope | {"properties": properties, "headers": headers}


def _body_problem(body: object, properties: Mapping[str, Any]) -> str:
    """Say why Kombu could not decode the body; empty if it could."""
    if body is not None and not isinstance(body, str):
        return "its body is not a string"
    encoding = properties.get("body_encoding")
    try:
        raw = (body or "").encode()
        if encoding == "base64":
            base64.b64decode(raw)
        elif encoding and not (isinstance(encoding, str) and encoding.lower() == "utf-8"):
            return "its body_encoding is neither base64 nor utf-8"
    except ValueError:
        return "its body is not base64" if encoding == "base64" else "its body is not Unicode"
    return ""


def _stand_in(item: bytes, reason: str) -> dict[str, Any]:
    return {
        "body": base64.b64encode(item).decode(),
        "headers": {MALFORMED: reason},
        "properties": {"body_encoding": "base64"},
    }
