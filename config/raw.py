"""Reads a file's raw data, where any value may have the wrong type. The models report wrong types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from pydantic_core import PydanticCustomError

from config.types import resolve_reference

Table: TypeAlias = Mapping[str, Any]


def section(data: Table, name: str) -> Table:
    """Return a table of the file; an empty one if it is missing or not a table."""
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def named_tables(data: Table, name: str) -> Iterator[tuple[str, Table]]:
    """Yield the name and the table of every ``[<section>.<name>]``."""
    for key, table in section(data, name).items():
        if isinstance(table, dict):
            yield key, table


def text_or_secret(value: object, context: object) -> str | None:
    """Return a text, or the secret that it refers to; None if it is neither or cannot be read."""
    try:
        value = resolve_reference(value, context) if isinstance(value, dict) else value
    except PydanticCustomError:
        return None
    return value if isinstance(value, str) else None


def texts_of(value: object) -> list[str]:
    """Return the texts of a list, or of one value that stands for a list."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]
