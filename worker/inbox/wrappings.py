"""Opens JSON that senders have wrapped: in a string, in a form, in base64 or with percent signs. Pure.

Both the removal of credentials (``payloads``) and the parsing of events (``relay_shapes``) see the content through this
module, so that whatever can be read is also cleaned. Each call opens one text, in time linear in its length.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

MAX_FIELDS = 200
_LAYERS = 20
"""Texts in texts. Each layer makes the text longer, so senders do not have many."""
_BLANK = "\ufeff \t\r\n"
_FIRST = frozenset(f'{_BLANK}{{["%eWI')
"""The characters with which a wrapping begins that is not a form."""
_FORM = re.compile(r"[\w.%+\[\]-]{1,200}=[^\s&]*(?:&[\w.%+\[\]-]{1,200}=[^\s&]*)*")
_ENVELOPE_FIELD = re.compile(r"(?:payload|data|json|body|message|event)=", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")


def opened(text: str) -> dict[str, Any] | list[Any] | None:
    """Return the JSON object, list or form that the text contains; None if it is just a text."""
    for _ in range(_LAYERS):
        found = _open_layer(text.strip(_BLANK))
        if not isinstance(found, str):
            return found if isinstance(found, dict | list) else None
        text = found
    return None


def may_open(text: str) -> bool:
    """Return False if ``opened`` certainly finds nothing. Most texts of people end here."""
    return text[:1] in _FIRST or "=" in text


def read_json(text: str) -> Any:
    """Return the JSON in ``text``, also with half a surrogate pair, NaN or line breaks in it. Raises ValueError."""
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        pass
    try:
        return json.loads(text, strict=False, parse_int=_integer, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_form(text: str) -> dict[str, Any] | str:
    """Return the fields of a form, ``data[name]`` as a field of ``data``. Raises ValueError.

    Some senders put JSON into a form without a name for it, so that the JSON is the name of the only field. Then the
    name is returned.
    """
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    if len(pairs) == 1 and not pairs[0][1]:
        return pairs[0][0]
    fields: dict[str, Any] = {}
    for name, value in pairs:
        outer, bracket, inner = name.partition("[")
        group = fields.setdefault(outer, {}) if outer and bracket and inner.endswith("]") else None
        if isinstance(group, dict):
            group[inner[:-1]] = value
        else:
            fields[name] = value
    return fields


def _open_layer(text: str) -> Any:
    """Return what is inside the outermost wrapping: an object, a list, another text; None if there is no wrapping."""
    try:
        match text[:1]:
            case "{" | "[" | '"':
                return read_json(text)
            case "%":
                return unquote(text) if text[:3].upper() in ("%7B", "%5B", "%22") else None
            case "e" | "W" | "I" if _BASE64.fullmatch(text):  # {, [ and " in base64
                padded = text.replace("+", "-").replace("/", "_").rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
                return urlsafe_b64decode(padded).decode()
        if ("&" in text or _ENVELOPE_FIELD.match(text)) and _FORM.fullmatch(text):
            return read_form(text)
    except ValueError:
        pass
    return None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < 19 else digits  # larger numbers fit neither databases nor orjson
