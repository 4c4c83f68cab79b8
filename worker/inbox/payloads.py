"""What a webhook's body holds, whatever its form, fit to be stored and without any credential. Pure.

Never raises: the sender may switch a receiver off that answers errors, so everything that comes is kept in some form.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import orjson

LONGEST_TEXT = 20_000
"""Characters kept of a body that is neither JSON nor a form."""
DEEPEST = 40
"""Levels kept of nested JSON; the known shapes have three."""
MOST_FIELDS = 200

_NAMED = r"(?:token|secret|passw(?:or)?d|authori[sz]ation|credential|api_?-?key|access_?-?key|bearer)"
_SECRET_KEY = re.compile(_NAMED)
_SECRET_IN_TEXT = re.compile(
    # "AccessToken": "...", AccessToken=..., also with the quotes escaped, also where the text ends in the middle; and a
    # part of a multipart form.
    rf"""({_NAMED}[\w-]{{0,40}}\\?["']?(?:\s{{0,9}}[:=]\s{{0,9}}|\r?\n\r?\n))(?:\\?"[^"]*(?:"|$)|'[^']*(?:'|$)|[^\s&,;"'}}]+)""",
    re.IGNORECASE,
)


def read_payload(body: bytes, content_type: str) -> Any:
    """The body as JSON, as a form, or as the text that it is, without secrets; ``orjson`` can write it."""
    return without_secrets(_read(body, content_type))


def without_secrets(payload: Any) -> Any:
    """The payload without any field that is named like a secret, at whatever depth."""
    return _clean(payload, DEEPEST)


def _read(body: bytes, content_type: str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8-sig", "replace").replace("\x00", "")
    try:
        # Laxer: bytes that are no UTF-8, half a surrogate pair, NaN, a byte order mark. An event may be in it.
        return json.loads(text, strict=False, parse_int=_integer, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        pass
    if "urlencoded" in content_type:
        try:
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)) or _kept(text)
        except ValueError:
            pass
    return _kept(text)


def _kept(text: str) -> str:
    return _SECRET_IN_TEXT.sub(r"\1[removed]", text[:LONGEST_TEXT])


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < 19 else digits  # more than any database or orjson takes


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
    # A credential may be in JSON inside a string; what people write to each other stays as they wrote it.
    return _SECRET_IN_TEXT.sub(r"\1[removed]", text) if text.lstrip()[:1] in ("{", "[") else text
