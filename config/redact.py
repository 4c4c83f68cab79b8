"""Redacts configuration values for people: short, as written, and never a secret."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from datetime import date, time
from typing import Any, TypeGuard

HIDDEN = "(hidden)"
_LONGEST_VALUE = 60
_SHORTEST_SECRET = 6
_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|pwd|api_?key|private_?key|grant_?key|credential|^uid$", re.IGNORECASE
)
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/\s@]*:[^/\s]*(?=@)")
# Keys and tokens are long runs of mixed letters and digits. They may be pasted into any field.
_LOOKS_LIKE_A_TOKEN = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])[A-Za-z0-9_\-+=:.]{20,}")


def is_secret_name(name: str) -> bool:
    """Return True if a key with this name is treated as a secret, whatever its model says."""
    return bool(_SECRET_NAME.search(name))


def redact_value(value: object) -> str | None:
    """Return a scalar as it is written in TOML, shortened; None for tables and lists, which are not shown."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if value.bit_length() < 100 else "a number of more than 30 digits"
    if isinstance(value, float | date | time):
        return str(value)
    if isinstance(value, str):
        return _redact_text(value)
    return None


def _redact_text(text: str) -> str:
    if _LOOKS_LIKE_A_TOKEN.fullmatch(text.strip()):
        return HIDDEN
    text = _PASSWORD_IN_URL.sub("***", text)
    if len(text) > _LONGEST_VALUE:
        text = text[: _LONGEST_VALUE - 3] + "..."
    return json.dumps(text, ensure_ascii=False)


def redact_options(value: Any) -> Any:
    """Return a copy of nested options, with ``(hidden)`` in place of everything that may be a secret."""
    if isinstance(value, dict):
        return {
            key: item if is_reference(item) else HIDDEN if is_secret_name(str(key)) else redact_options(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_options(item) for item in value]
    return _PASSWORD_IN_URL.sub("***", value) if isinstance(value, str) else value


def known_secrets(data: object) -> set[str]:
    """Return every secret in raw configuration data: by the key's name, or by reference to a variable."""
    found: set[str] = set()
    left: list[tuple[object, bool]] = [(table, False) for table in _tables(data)]
    while left:
        value, secret = left.pop()
        if is_reference(value):
            found.update(os.environ.get(name, "").strip() for key, name in value.items() if key == "env")
        elif isinstance(value, dict):
            left.extend((item, secret or is_secret_name(str(key))) for key, item in value.items())
        elif isinstance(value, list):
            left.extend((item, secret) for item in value)
        elif secret and isinstance(value, str):
            found.add(value.strip())
    return found


def _tables(data: object) -> Iterator[object]:
    """Yield the tables of a file. Names of accounts, connections and triggers do not mark a secret."""
    for section in data.values() if isinstance(data, dict) else ():
        if not isinstance(section, dict):
            continue
        for key, value in section.items():
            yield value if isinstance(value, dict) and not is_reference(value) else {key: value}


def redact_secrets(text: str, secrets: Collection[str]) -> str:
    """Remove ``secrets`` from ``text``: the last line of defence against third parties' error messages."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return text


def is_reference(value: object) -> TypeGuard[dict[str, str]]:
    """Return True if a value points to a secret: ``{ env = "NAME" }`` or ``{ file = "path" }``."""
    if not isinstance(value, dict) or set(value) not in ({"env"}, {"file"}):
        return False
    return all(isinstance(item, str) for item in value.values())
