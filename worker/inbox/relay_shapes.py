"""Parses Relay events in all their formats. Pure.

The documented format is a flat JSON object. Real events differ: some are wrapped (``{"eventType", "timestamp",
"data"}``); some texts arrive in both formats seconds apart, one without ``MessageID``; the text of a picture may be
``null``; media may be ``Media``, ``MediaUrls`` or ``MediaURL``, a list or a string; and receipts have an id and a
status but no text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from worker.core.phones import Phone, parse_phone

MAX_EVENTS = 1000
MAX_DEPTH = 40
MAX_ID = 200
"""Characters of an id; an index entry holds a few thousand at most."""
_INBOUND = {"in", "inbound", "incoming", "received", "receive"}
_OUTBOUND = {"out", "outbound", "outgoing", "sent", "send"}
_DELIVERED = {"delivered", "read", "seen"}
_FAILED = {"failed", "undelivered", "undeliverable", "rejected", "error", "deliveryfailed"}
_TAKEN = {"sent", "accepted", "queued", "sending", "submitted", "pending", "enroute"}

ReceiptStatus: TypeAlias = Literal["delivered", "failed", "taken"]


@dataclass(frozen=True, slots=True)
class RelayText:
    """A text that was sent (``out``) or received (``in``). Numbers are E.164 if possible; ids may be empty."""

    direction: Literal["in", "out"]
    message_id: str
    conversation_id: str
    to_number: str
    from_number: str
    text: str
    media: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RelayReceipt:
    """The new state of the text ``message_id``; ``detail`` is the platform's own status."""

    message_id: str
    status: ReceiptStatus
    detail: str


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """An event in none of the known formats; ``reason`` is for a person."""

    reason: str


RelayEvent: TypeAlias = RelayText | RelayReceipt | UnreadableEvent


def parse_relay(payload: Any) -> list[RelayEvent]:
    """Return the events in a payload, usually one. Never raises; the list is never empty."""
    found = [event for body, kind in _bodies(payload, "", MAX_DEPTH) for event in _events(body, kind)]
    if len(found) > MAX_EVENTS:
        return [*found[:MAX_EVENTS], UnreadableEvent(f"it has {len(found):,} events; only {MAX_EVENTS:,} were read")]
    return found or [UnreadableEvent("the payload is empty")]


def _bodies(payload: Any, kind: str, depth: int) -> Iterator[tuple[Mapping[str, Any] | None, str]]:
    """Yield each object that may be an event, with the event type of its envelope."""
    payload = _unquoted(payload)
    if isinstance(payload, list) and depth:
        for one in payload:
            yield from _bodies(one, kind, depth - 1)
        return
    if not isinstance(payload, Mapping):
        yield None, kind
        return
    fields = _fields(payload)
    inner = _unquoted(fields.get("data", fields.get("payload")))
    if isinstance(inner, Mapping | list) and depth and not {"messagebody", "messagedirection"} & fields.keys():
        named = _text(fields.get("eventtype") or fields.get("event") or fields.get("type"))
        yield from _bodies(inner, named or kind, depth - 1)
    else:
        yield fields, kind


def _unquoted(payload: Any) -> Any:
    """Decode JSON that came as a string inside JSON."""
    if isinstance(payload, str) and payload.lstrip()[:1] in ("{", "["):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(payload)
    return payload


def _events(fields: Mapping[str, Any] | None, kind: str) -> Iterator[RelayEvent]:
    if fields is None:
        yield UnreadableEvent("the payload is not a JSON object")
        return
    message_id = _id(_first(fields, "messageid", "id", "smsid"))
    body, media = _first(fields, "messagebody", "body", "message", "text"), _media(fields)
    direction = _direction(fields, kind)
    status = _first(fields, "messagestatus", "deliverystatus", "status", "sendstatus")
    receipt = _receipt(message_id, status or kind.rpartition(".")[2])
    to_number, from_number = _number(_first(fields, "tonumber", "to")), _number(_first(fields, "fromnumber", "from"))
    if not body and not media:
        yield receipt if receipt is not None else UnreadableEvent(_what_is_missing(message_id, status))
        return
    if direction is None:
        yield UnreadableEvent('"MessageDirection" is missing, or neither "in" nor "out"')
        return
    if not to_number or not from_number:
        yield UnreadableEvent('a number is missing ("ToNumber", "FromNumber")')
        return
    conversation = _id(_first(fields, "conversationid"))
    yield RelayText(direction, message_id, conversation, to_number, from_number, body, media)
    if direction == "out" and status and receipt is not None and receipt.status != "taken":
        yield receipt


def _what_is_missing(message_id: str, status: str) -> str:
    if status and not message_id:
        return "a receipt without a message id"
    return f'neither text nor media, and no known status ("{status[:40]}")'


def _direction(fields: Mapping[str, Any], kind: str) -> Literal["in", "out"] | None:
    for said in (_first(fields, "messagedirection", "direction"), kind.rpartition(".")[2]):
        word = _plain(said)
        if word in _INBOUND:
            return "in"
        if word in _OUTBOUND:
            return "out"
    return None


def _receipt(message_id: str, status: str) -> RelayReceipt | None:
    word = _plain(status)
    if not message_id or not word:
        return None
    if word in _DELIVERED:
        return RelayReceipt(message_id, "delivered", status)
    if word in _FAILED:
        return RelayReceipt(message_id, "failed", status)
    return RelayReceipt(message_id, "taken", status) if word in _TAKEN else None


def _media(fields: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for name in ("media", "mediaurls", "mediaurl", "attachments"):
        value = fields.get(name)
        for one in value if isinstance(value, list) else [value]:
            url = one.get("url") if isinstance(one, Mapping) else one
            if isinstance(url, str):
                found += [part for part in re.split(r"[\s,]+(?=https?://)", url.strip()) if part]
    return tuple(dict.fromkeys(found))


def _number(text: str) -> str:
    """Return the number as E.164 if that is certain, else as it came, such as a short code."""
    text = text.strip()
    digits = re.sub(r"[^0-9]", "", text)
    for candidate in (text, f"+{digits}"):
        parsed = parse_phone(candidate, "US") if candidate else None
        if isinstance(parsed, Phone):
            return parsed.e164
    return text[:32]


def _fields(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {_plain(str(key)): value for key, value in payload.items()}


def _id(text: str) -> str:
    return text if len(text) <= MAX_ID else hashlib.sha256(text.encode()).hexdigest()


def _first(fields: Mapping[str, Any], *names: str) -> str:
    return next((text for name in names if (text := _text(fields.get(name)))), "")


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    # Databases cannot store these characters.
    text = str(value) if isinstance(value, str | int | float) else ""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode()


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.casefold())
