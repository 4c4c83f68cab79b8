"""Characters that a web form or an export wrote as HTML entities: ``O&#39;Brien``, ``Tom &amp; Ann``."""

from __future__ import annotations

import html
import re

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_MOST_TIMES = 3
"""Systems that pass a value on to each other encode it once more each: ``&amp;amp;#39;``."""


def without_entities(text: str) -> str:
    """Return the text with the characters that its entities stand for. Only entities that end with ";" count."""
    for _ in range(_MOST_TIMES):
        if "&" not in text:
            break
        decoded = _ENTITY.sub(_character, text)
        if decoded == text:
            break
        text = decoded
    return text


def _character(entity: re.Match[str]) -> str:
    character = html.unescape(entity[0])
    return " " if character == "\u00a0" else character  # no phone shows the difference, and it halves a segment
