"""The metadata of a send job: what the caller wants to find it by. It is stored and returned, and means nothing to us.

Pure. ``worker.store.models.MessageMetadata`` has one row for each entry, by which messages are found.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import orjson
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from worker.messages.request_problems import UNSENDABLE, quoted

MOST_KEYS = 50
LONGEST_KEY = 40
MOST_BYTES = 2048
"""Of the whole object as JSON. With its key, the longest value fits an index entry of PostgreSQL (2,704 bytes)."""

Value: TypeAlias = str | int | float | bool


def metadata_json(metadata: Mapping[str, Value]) -> str:
    """Return the metadata as the message table stores it. Raises ValueError if it is no JSON that can be stored."""
    try:
        return orjson.dumps(dict(metadata)).decode()
    except orjson.JSONEncodeError:
        raise ValueError("has a number of more than 64 bits, or half of a surrogate pair; send it as text") from None


def value_text(value: Value) -> str:
    """Return a value as a filter names it: ``17``, ``true`` or the text itself."""
    return value if isinstance(value, str) else json.dumps(value)


def _metadata(value: object) -> Mapping[str, Value]:
    if not isinstance(value, Mapping):
        raise PydanticCustomError("metadata", "{wanted}", {"wanted": "must be a JSON object"})
    for key, one in value.items():
        if not isinstance(one, Value) or (isinstance(one, float) and not math.isfinite(one)):
            wanted = f"must have text, numbers, true or false as values, and {quoted(key)} has another one"
            raise PydanticCustomError("metadata", "{wanted}", {"wanted": wanted})
        if not isinstance(key, str) or not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
            raise ValueError(f"must have keys of 1 to {LONGEST_KEY} printable characters, not {quoted(key)}")
        if isinstance(one, str) and "\x00" in one:
            raise ValueError(UNSENDABLE)
    if len(value) > MOST_KEYS:
        raise ValueError(f"has {len(value)} keys, at most {MOST_KEYS} are allowed")
    size = len(metadata_json(value).encode())
    if size > MOST_BYTES:
        raise ValueError(f"has {size:,} bytes as JSON, at most {MOST_BYTES:,} are allowed")
    return value


Metadata: TypeAlias = Annotated[dict[str, Value], BeforeValidator(_metadata), Field(max_length=MOST_KEYS)]


def index_rows(message_id: str, metadata: Mapping[str, Value]) -> list[dict[str, Any]]:
    """Return the rows that a message is found by."""
    return [{"message_id": message_id, "key": key, "value": value_text(one)} for key, one in metadata.items()]
