"""Converts database values to JSON, for properties and for cursors."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from crm_adapters.sql.drivers import BeyondTime
from crm_adapters.words import SAYS_NO, SAYS_NOTHING, plain_word

BYTES_SHOWN = 32
BEYOND_TIME = "\u221e"
"""Stands for ``infinity`` and for times that Python cannot hold.

Triggers and messages take it for empty. ``do_not_text`` does not: "until infinity" never ends.
"""
_EXACT_DIGITS = 15
"""Decimal digits that every float keeps."""
NO_TIME_UNTIL = datetime(1970, 1, 1, tzinfo=UTC)
NO_TIME_FROM_YEAR = 9999
_NOT_DELETED = SAYS_NO | SAYS_NOTHING | {"active", "live", "open"}


def to_json(value: Any, dropped: list[Any] | None = None) -> Any:
    """Return a column value as a flat JSON value. The same value always gives the same result.

    A value that JSON cannot hold is added to ``dropped``. A number becomes None, a time ``BEYOND_TIME``.
    """
    if value is None or isinstance(value, int):
        return value
    if type(value) is str:
        return _text(value)
    if is_beyond(value):
        if dropped is not None:
            dropped.append(value)
        return BEYOND_TIME if isinstance(value, BeyondTime) else None
    if isinstance(value, float):
        return value
    if isinstance(value, Decimal):
        return float(value) if _looks_grouped(value) else format(value, "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, dict | list | tuple | set | frozenset):
        return _text(_flat(value))
    return _text(str(value))


def _looks_grouped(value: Decimal) -> bool:
    """Return True for three decimals: as text, 1.500 is a thousand and a half to people who write a decimal comma."""
    _, digits, exponent = value.as_tuple()
    return exponent == -3 and len(digits) <= _EXACT_DIGITS


def is_beyond(value: Any) -> bool:
    """Return True if JSON cannot hold the value."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Decimal):
        return not value.is_finite()
    return isinstance(value, BeyondTime)


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


def _flat(value: Any) -> str:
    """Return a list as ``a;b``, which conditions and policy read as several values; nested values as JSON."""
    if isinstance(value, dict):
        return _as_json(value) if value else ""
    members = sorted(value, key=str) if isinstance(value, set | frozenset) else value
    present = [member for member in members if member is not None]
    if any(isinstance(member, dict | list | tuple | set) for member in present):
        return _as_json(present)
    return ";".join(map(_member, present))


def _member(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, BeyondTime) else str(to_json(value))


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError):  # keys of several types, or nested too deeply
        return repr(value)


def _bytes(value: bytes) -> bool | str:
    if value in (b"\x00", b"\x01"):
        return value == b"\x01"  # BIT(1) of MySQL
    return _hex(value)


def _hex(value: bytes) -> str:
    if len(value) <= BYTES_SHOWN:
        return value.hex()
    return f"{len(value)} bytes, {hashlib.blake2b(value, digest_size=16).hexdigest()}"


def is_true(value: Any) -> bool:
    """Return True if a soft-delete column means "deleted": true, not zero, a time, or a word that does not mean no.

    A time that stands for "never" does not: the zero date, a time up to 1970, infinity, and the end of the year 9999.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return any(bytes(value))
    if isinstance(value, BeyondTime):
        return False
    if isinstance(value, datetime | date):
        return _is_moment(value)
    if isinstance(value, str):
        return _is_true_text(plain_word(value))
    return bool(value == value and value)  # NaN is no flag


def _is_true_text(text: str) -> bool:
    if not text or text in _NOT_DELETED or text.startswith("0000-00-00"):
        return False
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return math.isfinite(number) and number != 0
    try:
        return _is_moment(datetime.fromisoformat(text))
    except ValueError:
        return True


def _is_moment(value: datetime | date) -> bool:
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    if moment.year >= NO_TIME_FROM_YEAR:
        return False
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) > NO_TIME_UNTIL


def external_id(key: tuple[Any, ...]) -> str:
    """Return the id of a record: its key as text. Several columns are joined by "|", which is escaped inside them."""
    if len(key) == 1:
        return _id_part(key[0])
    parts = map(_id_part, key)
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)


def _id_part(value: Any) -> str:
    if type(value) is int or type(value) is str:
        return value.encode("utf-8", "replace").decode() if type(value) is str else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _hex(bytes(value))
    if isinstance(value, Decimal | BeyondTime):
        return str(value)
    return str(to_json(value))


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
