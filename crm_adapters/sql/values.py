"""Converts database values to JSON, for properties and for cursors."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

BYTES_SHOWN = 32


def to_json(value: Any) -> Any:
    """Return a column value as a flat JSON value. The same value always gives the same result."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, dict | list | tuple | set | frozenset):
        return json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
    return str(value)


def _bytes(value: bytes) -> str:
    if len(value) <= BYTES_SHOWN:
        return value.hex()
    return f"{len(value)} bytes, {hashlib.blake2b(value, digest_size=16).hexdigest()}"


def is_true(value: Any) -> bool:
    """Return True if a soft-delete column means "deleted": true, not zero, a time, or a word that does not mean no."""
    if isinstance(value, str):
        return value.strip().casefold() not in ("", "0", "f", "false", "n", "no", "null", "none", "active")
    if isinstance(value, bytes):
        return any(value)
    return bool(value)


def external_id(key: tuple[Any, ...]) -> str:
    """Return the id of a record: its key as text. Several columns are joined by "|", which is escaped inside them."""
    if len(key) == 1:
        return str(to_json(key[0]))
    parts = [str(to_json(part)) for part in key]
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)


_KINDS: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
    "decimal": Decimal,
    "bytes": bytes.fromhex,
}


def freeze(value: Any) -> Any:
    """Return a value as JSON for a cursor. ``thaw`` restores it, type included."""
    for kind, cls in (("datetime", datetime), ("date", date), ("uuid", UUID), ("decimal", Decimal)):
        if isinstance(value, cls):
            return {kind: value.isoformat() if isinstance(value, date) else str(value)}
    if isinstance(value, bytes | memoryview):
        return {"bytes": bytes(value).hex()}
    return value


def thaw(value: Any) -> Any:
    """Restore the value that ``freeze`` was given."""
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        return _KINDS[kind](text)
    return value
