"""Reads the body of a webhook in any format, removes credentials, and makes it ready to store. Pure.

Never raises: the sender may switch off a receiver that answers with errors, so every body is kept in some form.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import orjson

MAX_TEXT = 20_000
"""Characters kept of a body that is neither JSON nor a form."""
MAX_DEPTH = 40
"""Levels kept of nested JSON; the known formats have three."""
MAX_FIELDS = 200

_NAMED = r"(?:token|secret|passw(?:or)?d|authori[sz]ation|credential|api_?-?key|access_?-?key|bearer)"
_SECRET_KEY = re.compile(_NAMED)
_SECRET_IN_TEXT = re.compile(
    # "AccessToken": "...", AccessToken=..., also with escaped quotes, also if the text ends in the middle; and a part
    # of a multipart form.
    rf"""({_NAMED}[\w-]{{0,40}}\\?["']?(?:\s{{0,9}}[:=]\s{{0,9}}|\r?\n\r?\n))(?:\\?"[^"]*(?:"|$)|'[^']*(?:'|$)|[^\s&,;"'}}]+)""",
    re.IGNORECASE,
)


def read_payload(body: bytes, content_type: str) -> Any:
    """Return the body as JSON, a form or text, without secrets, so that ``orjson`` can serialize it."""
    return without_secrets(_read(body, content_type))


def without_secrets(payload: Any) -> Any:
    """Return the payload without the fields that are named like a secret, at any depth."""
    return _clean(payload, MAX_DEPTH)


def _read(body: bytes, content_type: str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8-sig", "replace").replace("\x00", "")
    try:
        # More lenient: invalid UTF-8, half a surrogate pair, NaN, a byte order mark. It may still contain an event.
        return json.loads(text, strict=False, parse_int=_integer, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        pass
    if "urlencoded" in content_type:
        try:
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)) or _kept(text)
        except ValueError:
            pass
    return _kept(text)


def _kept(text: str) -> str:
    return _SECRET_IN_TEXT.sub(r"\1[removed]", text[:MAX_TEXT])


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < 19 else digits  # larger numbers fit neither databases nor orjson


def _clean(payload: Any, depth: int) -> Any:
    if isinstance(payload, str):
        return _clean_text(payload)
    if not isinstance(payload, dict | list):
        return payload
    if depth == 0:
        return "[nested too deeply]"
    if isinstance(payload, list):
        return [_clean(one, depth - 1) for one in payload]
    return {
        _clean_text(key): _clean(value, depth - 1) for key, value in payload.items() if not _names_secret(key[:200])
    }


@lru_cache(1024)
def _names_secret(key: str) -> bool:
    return _SECRET_KEY.search(re.sub(r"[^a-z0-9]", "", key.casefold())) is not None


def _clean_text(text: str) -> str:
    if not text.isascii():  # half of a surrogate pair has no UTF-8 form
        text = text.encode("utf-8", "replace").decode()
    # A credential may be in JSON inside a string. Texts of people stay as they wrote them.
    return _SECRET_IN_TEXT.sub(r"\1[removed]", text) if text.lstrip()[:1] in ("{", "[") else text
