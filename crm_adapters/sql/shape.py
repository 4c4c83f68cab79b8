"""Says what the columns of a source hold: their types, some of their values, and what counts as deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ARRAY, JSON, Boolean, Date, DateTime, Enum, Numeric, String, Uuid
from sqlalchemy.dialects.mysql import BIT as MYSQL_BIT
from sqlalchemy.dialects.mysql import SET, TINYINT
from sqlalchemy.dialects.postgresql import BIT, MONEY
from sqlalchemy.types import Integer, TypeEngine

from crm_adapters.base import CrmField
from crm_adapters.fields import Columns
from crm_adapters.sql.values import is_beyond, is_true, to_json

SAMPLES = 3
_LONGEST_SAMPLE = 40


def describe_deletion(values: Sequence[Any]) -> str:
    """Say which of a column's values count as deleted: ``"1" means deleted; "0" and empty do not``."""
    if not values:
        return "it has no rows yet"
    deleted, live = (_samples(value for value in values if is_true(value) is mark) for mark in (True, False))
    if not live:
        return f"{deleted} means deleted: all of the first rows are"
    return f"{deleted} means deleted, {live} does not" if deleted else f"{live} does not mean deleted"


def _samples(values: Iterable[Any]) -> str:
    return ", ".join(list(dict.fromkeys(map(_sample, values)))[:SAMPLES])


def _sample(value: Any) -> str:
    shown = str(value) if is_beyond(value) else to_json(value)
    return "empty" if shown in (None, "") else f'"{str(shown)[:_LONGEST_SAMPLE]}"'


def field_of(name: str, kind: TypeEngine[Any], values: Sequence[Any], columns: Columns) -> CrmField:
    """Describe a column by its declared type, by some of its values, and by what it is used for."""
    return CrmField(name, type=_type_of(name, kind, values, columns), values=_values_of(kind, values))


def _type_of(name: str, kind: TypeEngine[Any], values: Sequence[Any], columns: Columns) -> str:
    if name in columns.phones:
        return "phone"
    if name in columns.emails:
        return "email"
    return _declared(kind) or _held(values)


def _declared(kind: TypeEngine[Any]) -> str:
    if isinstance(kind, Enum | SET):
        return "choice"
    if isinstance(kind, Boolean) or (isinstance(kind, BIT | MYSQL_BIT) and kind.length == 1):
        return "boolean"
    if isinstance(kind, TINYINT) and kind.display_width == 1:
        return "boolean"
    if isinstance(kind, DateTime):
        return "datetime"
    if isinstance(kind, Date):
        return "date"
    if isinstance(kind, Integer | MONEY):
        return "number"
    if isinstance(kind, Numeric):
        return "number" if kind.scale is not None or not kind.asdecimal else ""  # SQLite: any type it does not know
    return "text" if isinstance(kind, String | Uuid | JSON | ARRAY) else ""


def _held(values: Sequence[Any]) -> str:
    """Return the type that all of these values have."""

    def one(value: Any) -> str:
        if isinstance(value, bool):
            return "boolean"
        if isinstance(value, int | float | Decimal):
            return "number"
        if isinstance(value, datetime):
            return "datetime"
        return "date" if isinstance(value, date) else "text"

    kinds = {one(value) for value in values if value is not None}
    return kinds.pop() if len(kinds) == 1 else "text" if kinds else ""


def _values_of(kind: TypeEngine[Any], values: Sequence[Any]) -> tuple[str, ...]:
    if isinstance(kind, Enum):
        return tuple(kind.enums)
    if isinstance(kind, SET):
        return tuple(kind.values)
    texts = (to_json(value) for value in values)
    shown = (_plain(text) for text in texts if text is not None)
    short = (text for text in shown if text and len(text) <= _LONGEST_SAMPLE)
    return tuple(list(dict.fromkeys(short))[:SAMPLES])


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
