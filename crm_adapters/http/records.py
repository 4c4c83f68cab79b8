"""Shapes of records in JSON: values at a path, and nested objects as flat properties. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from crm_adapters.base import CrmField
from crm_adapters.described import find_field

Scalar: TypeAlias = str | int | float | bool | None

_LABELS = ("name", "label", "title", "displayName", "display_name", "display_value")
_ID = "id"
_FIRST_MARKS = ("primary", "isPrimary", "is_primary", "default")
_DEEPEST = 8


def value_at(data: Any, path: str, default: Any = None) -> Any:
    """Return the value at a path such as ``data.items`` or ``phones.0.value``; ``default`` if there is none.

    A key that itself contains the rest of the path counts before the nested value. "" is the data itself.
    """
    while path:
        if isinstance(data, Mapping) and path in data:
            return data[path]
        name, _, path = path.partition(".")
        if isinstance(data, Mapping) and name in data:
            data = data[name]
        elif isinstance(data, list) and name.isdecimal() and int(name) < len(data):
            data = data[int(name)]
        else:
            return default
    return data


def flatten(record: Mapping[str, Any], *, without: AbstractSet[str] = frozenset()) -> dict[str, Scalar]:
    """Return a record as flat properties. ``without`` are top-level names to leave out.

    =============================================== =====================================================
    the record has                                  the properties have
    =============================================== =====================================================
    ``"address": {"city": "Bonn"}``                 ``address.city``
    ``"owner": {"id": 6, "name": "Ann"}``           ``owner`` is ``Ann``, ``owner_id`` is 6
    ``"owner": [6, "Ann"]`` (a number and a text)   the same
    ``"phones": [{"value": "1", "primary": true}]`` ``phones``, and ``phones_2`` ... ; the primary one first
    ``"tags": ["a", "b"]``                          ``tags`` is ``a;b``
    ``"deals": [{"id": 1, "name": "x"}, ...]``      ``deals`` is ``x;...``, ``deals_id`` is ``1;...``
    an empty list                                   None
    a number that JSON does not have (NaN)          None
    =============================================== =====================================================

    A field of the record itself counts before one that was made from another field.
    """
    made: dict[str, Scalar] = {}
    for name, value in record.items():
        if name not in without:
            _add(made, _text(name), value, 1)
    own = {_text(name): _scalar(value) for name, value in record.items() if name not in without and _is_scalar(value)}
    return made | own


def scalar_of(value: Any) -> Scalar:
    """Return one value as properties hold it: a list as ``a;b``, and None for an object."""
    return _scalar(value) if _is_scalar(value) else flatten({"value": value}).get("value")


def fill(properties: Mapping[str, Scalar], names: Iterable[str]) -> dict[str, Scalar]:
    """Add None for each of ``names`` that the record lacks, for an API that leaves out empty fields.

    ``names`` must be fields that the CRM itself described or that were asked for and exist. Never pass the names that
    the configuration uses: a misspelt one would look empty, where it is unknown.
    """
    return dict.fromkeys(names) | dict(properties)


def chosen_fields(fields: Sequence[CrmField], wanted: AbstractSet[str] | None) -> list[CrmField]:
    """Return those fields whose name or label is wanted, for an API that must be told what to return. None: all."""
    if wanted is None:
        return list(fields)
    found = {field.name for name in wanted if (field := find_field(name, fields)) is not None}
    return [field for field in fields if field.name in found]


def _add(made: dict[str, Scalar], name: str, value: Any, depth: int) -> None:
    if _is_scalar(value):
        made.setdefault(name, _scalar(value))
    elif depth > _DEEPEST:
        made.setdefault(name, _text(json.dumps(value, ensure_ascii=False, default=str)))
    elif isinstance(value, Mapping):
        _add_object(made, name, value, depth)
    else:
        _add_list(made, name, list(value), depth)


def _add_object(made: dict[str, Scalar], name: str, value: Mapping[str, Any], depth: int) -> None:
    rest = dict(value)
    label = next((key for key in _LABELS if _ID in rest and _is_scalar(rest.get(key)) and key in rest), None)
    if label is not None:
        made.setdefault(name, _scalar(rest.pop(label)))
        made.setdefault(f"{name}_id", _scalar(rest.pop(_ID)))
    for key, item in rest.items():
        _add(made, f"{name}.{_text(key)}", item, depth + 1)


def _add_list(made: dict[str, Scalar], name: str, value: list[Any], depth: int) -> None:
    if len(value) == 2 and type(value[0]) is int and isinstance(value[1], str):
        value = [{_ID: value[0], _LABELS[0]: value[1]}]
        _add_object(made, name, value[0], depth)
    elif value and all(isinstance(item, Mapping) and "value" in item for item in value):
        first = sorted(value, key=lambda item: not any(item.get(mark) is True for mark in _FIRST_MARKS))
        for number, item in enumerate(first, 1):
            _add(made, name if number == 1 else f"{name}_{number}", item["value"], depth + 1)
    elif value and all(isinstance(item, Mapping) for item in value):
        _add_objects(made, name, value, depth)
    else:
        made.setdefault(name, _joined(value))


def _add_objects(made: dict[str, Scalar], name: str, value: list[Mapping[str, Any]], depth: int) -> None:
    """Flatten each object, and join the values of each field."""
    rows: list[dict[str, Scalar]] = []
    for item in value:
        row: dict[str, Scalar] = {}
        _add_object(row, name, item, depth)
        rows.append(row)
    for key in dict.fromkeys(key for row in rows for key in row):
        made.setdefault(key, _joined([row.get(key) for row in rows]))


def _joined(values: Sequence[Any]) -> Scalar:
    texts = [
        _written(value) if _is_scalar(value) else _text(json.dumps(value, ensure_ascii=False, default=str))
        for value in values
    ]
    return ";".join(text for text in texts if text) or None


def _written(value: Any) -> str:
    scalar = _scalar(value)
    return "" if scalar is None else str(scalar).lower() if isinstance(scalar, bool) else str(scalar)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _scalar(value: Any) -> Scalar:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    scalar: Scalar = value
    return scalar


def _text(value: str) -> str:
    """Return text that every database stores: JSON may hold NUL and lone surrogates."""
    return value.replace("\x00", "").encode(errors="replace").decode()
