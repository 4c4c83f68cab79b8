"""Parses Relay events in all their formats. Pure.

The documented format is a flat JSON object. Real events differ: some are wrapped (``{"eventType", "timestamp",
"data"}``); some texts arrive in both formats seconds apart, one without ``MessageID``; the text of a picture may be
``null``; media may be ``Media``, ``MediaUrls`` or ``MediaURL``, a list or a string; and receipts have an id and a
status but no text. Services between VirtualText and us wrap an event once more: in a list, in a field, in a string,
in a form (``wrappings``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from worker.core.phones import Phone, parse_phone
from worker.inbox.payloads import NOT_STORED
from worker.inbox.wrappings import opened

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

_TOO_DEEP = UnreadableEvent("the payload is nested too deeply")
_ENVELOPES = ("data", "payload", "body", "message", "event", "detail", "record", "records", "messages", "events")
"""The fields in which senders and relays between them put an event. Other fields are searched after these."""


def parse_relay(payload: Any) -> list[RelayEvent]:
    """Return the events in a payload, usually one. Never raises; the list is never empty."""
    found = _parse(payload, "", MAX_DEPTH)
    if len(found) > MAX_EVENTS:
        return [*found[:MAX_EVENTS], UnreadableEvent(f"it has {len(found):,} events; only {MAX_EVENTS:,} were read")]
    return found or [UnreadableEvent("the payload is empty")]


def _parse(payload: Any, kind: str, depth: int) -> list[RelayEvent]:
    """Return the events in a part of a payload. ``kind`` is the event type of its envelope."""
    payload = _container(payload)
    if isinstance(payload, list):
        return [event for one in payload for event in _parse(one, kind, depth - 1)] if depth else [_TOO_DEEP]
    if not isinstance(payload, Mapping):
        return [UnreadableEvent(_not_an_object(payload))]
    fields = _fields(payload)
    if {"messagebody", "messagedirection"} & fields.keys():
        return list(_events(fields, kind))
    if not depth:
        return [_TOO_DEEP]
    named = _text(fields.get("eventtype") or fields.get("event") or fields.get("type")) or kind
    enveloped = _inside([fields[name] for name in _ENVELOPES if name in fields], named, depth)
    if _is_understood(enveloped):
        return enveloped
    own = list(_events(fields, kind))
    if _is_understood(own):
        return own
    others = _inside([value for name, value in fields.items() if name not in _ENVELOPES], named, depth)
    return others if _is_understood(others) else enveloped or own


def _inside(values: Sequence[Any], kind: str, depth: int) -> list[RelayEvent]:
    """Return the events of the first value that has any; if none has, why the first is not understood."""
    first: list[RelayEvent] = []
    for value in values:
        if isinstance(_container(value), Mapping | list):
            found = _parse(value, kind, depth - 1)
            if _is_understood(found):
                return found
            first = first or found
    return first


def _is_understood(found: Sequence[RelayEvent]) -> bool:
    return any(not isinstance(event, UnreadableEvent) for event in found)


def _container(value: Any) -> Any:
    """Open JSON that came as a string, in a form or the like."""
    found = opened(value) if isinstance(value, str) else None
    return value if found is None else found


def _not_an_object(payload: Any) -> str:
    if isinstance(payload, str) and payload.startswith(NOT_STORED):
        return f"{payload.strip('[]')}; look at the conversation in VirtualText"
    return "the payload is not a JSON object"


def _events(fields: Mapping[str, Any], kind: str) -> Iterator[RelayEvent]:
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
