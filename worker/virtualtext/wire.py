"""VirtualText's JSON: writes request bodies and reads responses. Pure.

Readers ignore unknown fields and raise ValueError when a field that a success must have is missing. Field names and
success bodies are as the vendor documents them; the names of a message's id are as observed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any
from urllib.parse import quote

import orjson

from worker.virtualtext.outcomes import ContactBody, MessageBody, Receipt, RemoteContact

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_OPT_OUT_FLAGS = frozenset(
    "optedout isoptedout hasoptedout optout isoptout smsoptout smsoptedout optedoutat optoutat optoutdate".split()
)
"""Names of a flag that contacts have been seen with; it is not documented, so any usual spelling counts."""
_NO = frozenset({"", "false", "0", "no", "none", "null", "[]", "{}"})
_OMITTED = {
    (True, True): frozenset[str](),
    (True, False): frozenset({"email"}),
    (False, True): frozenset({"full_name"}),
    (False, False): frozenset({"full_name", "email"}),
}
"""By whether the name and the email are there. Shared, because a list may hold a million contacts."""


def encode(fields: Mapping[str, Any]) -> bytes:
    """Encode ``fields`` as JSON. Raises ValueError for text that is not valid Unicode."""
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError as error:
        raise ValueError("The text contains half of a character (a lone surrogate) and cannot be sent.") from error


def contact_path(virtualtext_id: str) -> str:
    """Return the path of one contact. Raises ValueError for an id that would lead to another path."""
    if virtualtext_id in ("", ".", ".."):
        raise ValueError("A contact's VirtualText id is missing.")
    return f"/api/contacts/{quote(virtualtext_id, safe='')}"


def contact_fields(contact: ContactBody) -> dict[str, str]:
    """Return the fields of a contact: always all three, since an omitted name becomes the number. Raises ValueError."""
    return {
        "phoneNumber": _e164(contact.phone, "the contact's phone"),
        "fullName": contact.full_name,
        "email": contact.email,
    }


def send_fields(message: MessageBody) -> dict[str, Any]:
    """Return the fields of a text to send, always without ``sendStatus``. Raises ValueError."""
    if not message.text.strip() and not message.media:
        raise ValueError("A message needs text or media; this one has neither.")
    if not all(url.startswith(("http://", "https://")) for url in message.media):
        raise ValueError("Media are public URLs that start with http:// or https://.")
    fields: dict[str, Any] = {
        "to": _e164(message.to, "the recipient"),
        "from": _e164(message.from_number, "the sender"),
        "message": message.text,
    }
    if message.media:
        fields["media"] = list(message.media)
    return fields


def record_fields(message: MessageBody) -> dict[str, Any]:
    """Return the fields of a text that was sent elsewhere. Without ``sendStatus`` it would be sent again."""
    return {**send_fields(message), "sendStatus": "sent"}


def read_receipt(body: bytes) -> Receipt:
    """Read the response to a send or a record. Only ``status`` "true" is a success."""
    data = _object(body)
    status = data.get("status")
    if status is not True and status != "true":
        raise ValueError('the response does not say status "true"')
    found = (_id(data.get(name)) for name in ("MessageID", "messageId", "id"))
    return Receipt(next(filter(None, found), ""))


def read_contact(body: bytes, asked_id: str = "") -> RemoteContact:
    """Read one contact. Only a response about a known contact (``asked_id``) may leave the id out."""
    data = _object(body)
    contact = _contact(data)
    if not contact.id and asked_id and contact.phone:
        return replace(contact, id=asked_id)
    if not contact.id:
        raise ValueError("the response holds no contact id")
    return contact


def contact_reader(asked_id: str) -> Callable[[bytes], RemoteContact]:
    """Return ``read_contact`` for a known id."""
    return partial(read_contact, asked_id=asked_id)


def read_contacts(body: bytes) -> list[RemoteContact]:
    """Read the contact list, without entries that lack an id or a phone."""
    entries = _object(body).get("contacts")
    if not isinstance(entries, list):
        raise ValueError("the response holds no list of contacts")  # noqa: TRY004 - the reader's contract
    contacts = (_contact(entry) for entry in entries if isinstance(entry, dict))
    return [contact for contact in contacts if contact.id and contact.phone]


def read_health(body: bytes) -> str:
    """Read the health status: "pass", "warn" or "fail"."""
    status = _object(body).get("status")
    if status not in ("pass", "warn", "fail"):
        raise ValueError("the response holds no health status")
    return str(status)


def read_nothing(body: bytes) -> None:
    """Accept any success whose body is not one of the error envelopes."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    if isinstance(data, dict) and (data.get("errors") or "_errType" in data):
        raise ValueError("the response is an error")


def _object(body: bytes) -> dict[str, Any]:
    data = orjson.loads(body)
    if not isinstance(data, dict):
        raise ValueError("the response is not a JSON object")  # noqa: TRY004 - the reader's contract
    return data


def _contact(data: Mapping[str, Any]) -> RemoteContact:
    return RemoteContact(
        _id(data.get("id")),
        _text(data.get("phoneNumber")),
        _text(data.get("fullName")),
        _text(data.get("email")),
        _OMITTED["fullName" in data, "email" in data],
        _opted_out(data),
    )


def _opted_out(data: Mapping[str, Any]) -> bool | None:
    """Return what a contact's opt-out flag says. A flag that is a time, or anything else but a no, means yes."""
    flags = [value for name, value in data.items() if _is_opt_out_flag(name)]
    if not flags:
        return None
    return any(str(value).strip().casefold() not in _NO for value in flags)


@lru_cache(maxsize=1024)
def _is_opt_out_flag(name: str) -> bool:
    return "".join(letter for letter in name.casefold() if letter.isalnum()) in _OPT_OUT_FLAGS


def _id(value: object) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _e164(number: str, whose: str) -> str:
    if not _E164.fullmatch(number):
        raise ValueError(f'The number of {whose} is not E.164: "+", the country code, the rest in digits.')
    return number
