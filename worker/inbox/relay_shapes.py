"""What a Relay event says, in whichever shape it comes. Pure.

Documented is a flat JSON object. Seen in the wild are also a wrapped one (``{"eventType", "timestamp", "data"}``); the
same text in both shapes seconds apart, one of them without ``MessageID``; ``null`` for a picture without words; media
as ``Media``, ``MediaUrls`` or ``MediaURL``, a list or a string; and receipts, with an id and a status, without text.
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

MOST_EVENTS = 1000
DEEPEST = 40
LONGEST_ID = 200
"""Characters of an id; indexes take no more than some thousand."""
_INBOUND = {"in", "inbound", "incoming", "received", "receive"}
_OUTBOUND = {"out", "outbound", "outgoing", "sent", "send"}
_DELIVERED = {"delivered", "read", "seen"}
_FAILED = {"failed", "undelivered", "undeliverable", "rejected", "error", "deliveryfailed"}
_TAKEN = {"sent", "accepted", "queued", "sending", "submitted", "pending", "enroute"}

ReceiptStatus: TypeAlias = Literal["delivered", "failed", "taken"]


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was sent (``out``) or received (``in``). Numbers are E.164 where they can be; ids may be empty."""

    direction: Literal["in", "out"]
    message_id: str
    conversation_id: str
    to_number: str
    from_number: str
    text: str
    media: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the text ``message_id``; ``detail`` is the platform's own word."""

    message_id: str
    status: ReceiptStatus
    detail: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not one of the known shapes; ``reason`` is for a person."""

    reason: str


RelayEvent: TypeAlias = Text | Receipt | Unreadable


def parse(payload: Any) -> list[RelayEvent]:
    """The events in a payload, usually one. Never raises, never empty."""
    found = [event for body, kind in _bodies(payload, "", DEEPEST) for event in _events(body, kind)]
    if len(found) > MOST_EVENTS:
        return [*found[:MOST_EVENTS], Unreadable(f"it has {len(found):,} events, of which {MOST_EVENTS:,} were read")]
    return found or [Unreadable("the payload is empty")]


def _bodies(payload: Any, kind: str, depth: int) -> Iterator[tuple[Mapping[str, Any] | None, str]]:
    """Each object that may be an event, with the event type that its envelope names."""
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
    """JSON that came as a string inside of JSON."""
    if isinstance(payload, str) and payload.lstrip()[:1] in ("{", "["):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(payload)
    return payload


def _events(fields: Mapping[str, Any] | None, kind: str) -> Iterator[RelayEvent]:
    if fields is None:
        yield Unreadable("the payload is not a JSON object")
        return
    message_id = _id(_first(fields, "messageid", "id", "smsid"))
    body, media = _first(fields, "messagebody", "body", "message", "text"), _media(fields)
    direction = _direction(fields, kind)
    status = _first(fields, "messagestatus", "deliverystatus", "status", "sendstatus")
    receipt = _receipt(message_id, status or kind.rpartition(".")[2])
    to_number, from_number = _number(_first(fields, "tonumber", "to")), _number(_first(fields, "fromnumber", "from"))
    if not body and not media:
        yield receipt if receipt is not None else Unreadable(_what_is_missing(message_id, status))
        return
    if direction is None:
        yield Unreadable('it does not say whether the text came in or went out ("MessageDirection")')
        return
    if not to_number or not from_number:
        yield Unreadable('a number is missing ("ToNumber", "FromNumber")')
        return
    conversation = _id(_first(fields, "conversationid"))
    yield Text(direction, message_id, conversation, to_number, from_number, body, media)
    if direction == "out" and status and receipt is not None and receipt.status != "taken":
        yield receipt


def _what_is_missing(message_id: str, status: str) -> str:
    if status and not message_id:
        return "a receipt without a message id"
    return f'neither text nor media, and no status that is known ("{status[:40]}")'


def _direction(fields: Mapping[str, Any], kind: str) -> Literal["in", "out"] | None:
    for said in (_first(fields, "messagedirection", "direction"), kind.rpartition(".")[2]):
        word = _plain(said)
        if word in _INBOUND:
            return "in"
        if word in _OUTBOUND:
            return "out"
    return None


def _receipt(message_id: str, status: str) -> Receipt | None:
    word = _plain(status)
    if not message_id or not word:
        return None
    if word in _DELIVERED:
        return Receipt(message_id, "delivered", status)
    if word in _FAILED:
        return Receipt(message_id, "failed", status)
    return Receipt(message_id, "taken", status) if word in _TAKEN else None


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
    """E.164 where that is certain; else as it came, such as a short code."""
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
    return text if len(text) <= LONGEST_ID else hashlib.sha256(text.encode()).hexdigest()


def _first(fields: Mapping[str, Any], *names: str) -> str:
    return next((text for name in names if (text := _text(fields.get(name)))), "")


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    # What no database can hold is no part of a text.
    text = str(value) if isinstance(value, str | int | float) else ""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode()


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.casefold())
