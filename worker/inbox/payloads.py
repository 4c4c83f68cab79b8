"""Reads the body of a webhook in any format, removes credentials, and makes it ready to store. Pure.

The body is read first and cleaned then: a credential is removed by the name of its field, wherever the field is, and by
its value. What cannot be read and names a credential is not stored; its length and hash are.
Never raises: the sender may switch off a receiver that answers with errors, so every body is kept in some form.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from email import message_from_bytes
from email.message import Message
from functools import lru_cache
from typing import Any

import orjson

from worker.inbox.wrappings import MAX_FIELDS, may_open, opened, read_form, read_json

MAX_TEXT = 20_000
"""Characters kept of a body that is neither JSON nor a form."""
MAX_DEPTH = 40
"""Levels kept of nested JSON; the known formats have three."""
NOT_STORED = "[not stored: "
REMOVED = "[removed]"
MIN_SECRET = 12
"""Characters of a credential that is also removed by its value, wherever it is."""

_NAMED = r"(?:token|secret|passw(?:or)?d|authori[sz]ation|credential|api_?-?key|access_?-?key|bearer)"
_SECRET_KEY = re.compile(_NAMED)
_HINTS = ("token", "secret", "passw", "authori", "credential", "key", "bearer")
"""Parts of the names above, with which most texts are told apart faster."""
# A text that begins with the name of a credential and a separator, or that is the beginning of JSON, XML or Python.
_NAMES_SECRET = re.compile(
    rf"\W{{0,20}}[\w-]{{0,40}}{_NAMED}[\w-]{{0,40}}\W{{0,9}}[:=]|(?s:\s*[{{\[<\"'].*{_NAMED})", re.I
)
_STRUCTURED = re.compile(rf"(?s)\s*(?:[{{\[<]|\"\s*[{{\[\"\\]).*{_NAMED}", re.IGNORECASE)
_TEXT_FIELDS = frozenset({"messagebody", "body", "message", "text", "content"})
"""The fields in which people's texts are. They stay as people wrote them."""
_WORD = re.compile(r"[A-Za-z0-9]+")
_NAME = re.compile(r"[\w .-]{1,60}")
_NUMBER = re.compile(r"[\d\s+().-]+")
_PAIR = frozenset({"name", "key", "field", "value", "type"})


def read_payload(body: bytes, content_type: str, secrets: Collection[str] = ()) -> Any:
    """Return the body as JSON, a form or text, without credentials, so that ``orjson`` can serialize it.

    ``secrets`` are values that are removed wherever they are, such as the account's own token.
    """
    payload = _read(body, content_type)
    if isinstance(payload, str):
        kept = _withheld(payload) if _SECRET_KEY.search(_plain(payload)) else _text_of(payload[:MAX_TEXT])
        return _without_values(kept, {one for one in secrets if len(one) >= MIN_SECRET})
    return without_secrets(payload, secrets)


def without_secrets(payload: Any, secrets: Collection[str] = ()) -> Any:
    """Return the payload without the fields that are named like a credential, and without their values, at any depth.

    This includes fields of JSON inside of strings.
    """
    values = {one for one in secrets if len(one) >= MIN_SECRET}
    return _without_values(_clean(payload, MAX_DEPTH, values), values)


def _read(body: bytes, content_type: str) -> Any:
    try:
        return _opened_or_self(orjson.loads(body))
    except orjson.JSONDecodeError:
        text = body.decode("utf-8-sig", "replace").replace("\x00", "")
    try:
        return _opened_or_self(read_json(text))  # more lenient: it may still contain an event
    except ValueError:
        pass
    if "multipart/" in content_type and (fields := _multipart(body, content_type)):
        return fields
    if "urlencoded" in content_type:
        try:
            form = read_form(text)
        except ValueError:
            return text
        if isinstance(form, dict):
            return form or text
        return opened(form) or {form: ""}
    found = opened(text)
    return text if found is None else found


def _opened_or_self(payload: Any) -> Any:
    found = opened(payload) if isinstance(payload, str) else None
    return payload if found is None else found


def _multipart(body: bytes, content_type: str) -> dict[str, str]:
    """Return the named parts of a multipart form."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("utf-8", "replace")
    parts = message_from_bytes(head + body).get_payload()
    fields = {}
    for part in parts[:MAX_FIELDS] if isinstance(parts, list) else ():
        name = part.get_param("name", header="content-disposition") if isinstance(part, Message) else None
        content = part.get_payload(decode=True) if isinstance(part, Message) else None
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode("utf-8", "replace").replace("\x00", "")
    return fields


def _clean(payload: Any, depth: int, values: set[str], parent: str = "") -> Any:
    """Remove the credentials that fields name, and add what they contain to ``values``."""
    if isinstance(payload, str):
        return _clean_text(payload, depth, values, parent)
    if not isinstance(payload, (dict, list)):
        return payload
    if depth == 0:
        return "[nested too deeply]"
    if isinstance(payload, list):
        return [_clean(one, depth - 1, values, parent) for one in payload if not _is_secret_pair(one, values)]
    kept = {}
    for key, value in payload.items():
        if _names_secret(key[:200]):
            values.update(_credentials_in(value))
        elif not _is_secret_pair(value, values):
            name = key if _is_plain_name(key[:80]) else _clean_text(key, depth - 1, values)
            kept[name] = _clean(value, depth - 1, values, key)
    return kept


def _clean_text(text: str, depth: int, values: set[str], name: str = "") -> str:
    text = _text_of(text)
    inner = opened(text) if depth and may_open(text) else None
    if inner is not None:
        cleaned = _clean(inner, depth - 1, values)
        # A text that contains no credential stays as it is, whatever it looks like.
        return text if cleaned == inner else _dumped(cleaned)
    if not _mentions_secret(text):
        return text
    hides = _STRUCTURED if _plain(name) in _TEXT_FIELDS else _NAMES_SECRET
    return _withheld(text) if hides.match(text[: MAX_TEXT * 10]) else text


def _mentions_secret(text: str) -> bool:
    """Return False if the text certainly names no credential. It is asked for each text, so it is a plain loop."""
    if len(text) < len("token=xy"):
        return False
    lower = text.lower()
    for hint in _HINTS:  # noqa: SIM110
        if hint in lower:
            return True
    return False


def _is_secret_pair(one: Any, values: set[str]) -> bool:
    """Return whether this is a credential's field written as ``{"name": ..., "value": ...}`` or ``[name, value]``."""
    if isinstance(one, list) and len(one) == 2:
        key, rest = one[0], one[1:]
    elif isinstance(one, dict) and "value" in {_plain(name) for name in one} <= _PAIR:
        key, rest = next((one[name] for name in one if _plain(name) in ("name", "key", "field")), ""), [*one.values()]
    else:
        return False
    if not isinstance(key, str) or not _NAME.fullmatch(key) or not _names_secret(key):
        return False
    for value in rest:
        values.update(_credentials_in(value))
    return True


def _credentials_in(value: Any) -> set[str]:
    """Return the value of a credential's field, and the parts of one such as ``Bearer x``.

    Short values and numbers are not credentials, and removing them would change what people wrote.
    """
    parts = {value, *value.split()} if isinstance(value, str) else set()
    return {one for one in parts if len(one) >= MIN_SECRET and not _NUMBER.fullmatch(one)}


def _without_values(payload: Any, values: set[str]) -> Any:
    """Remove ``values`` from all texts, also where JSON in a string has escaped them."""
    escaped = {json.dumps(one)[1:-1] for one in values}
    every = sorted(values | escaped, key=len, reverse=True)
    content = _dumped(payload) if every else ""
    # In JSON within JSON a value may be escaped again, so only its plain letters are looked for.
    return _replaced(payload, every) if any(_longest_word(one) in content for one in every) else payload


def _longest_word(value: str) -> str:
    return max(_WORD.findall(value), key=len, default="")


def _replaced(payload: Any, values: list[str]) -> Any:
    if isinstance(payload, str):
        for value in values:
            payload = payload.replace(value, REMOVED)
        return payload
    if isinstance(payload, list):
        return [_replaced(one, values) for one in payload]
    if isinstance(payload, dict):
        return {_replaced(key, values): _replaced(one, values) for key, one in payload.items()}
    return payload


def _withheld(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"{NOT_STORED}{len(text):,} characters that could not be read and name a credential; SHA-256 {digest[:16]}]"


@lru_cache(1024)
def _is_plain_name(key: str) -> bool:
    return _NAME.fullmatch(key) is not None


@lru_cache(1024)
def _names_secret(key: str) -> bool:
    return _SECRET_KEY.search(_plain(key)) is not None


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.casefold())


def _text_of(text: str) -> str:
    """Return the text without halves of surrogate pairs, which have no UTF-8 form."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _dumped(payload: Any) -> str:
    return orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS).decode()
