"""Prepares database drivers: values become the same Python values in a table and in a query, and none ends a run.

``prepare`` applies to every connection. ``tolerate`` is for a connection on which a value could not be read: from then
on such values come as ``BeyondTime`` or as text. It is slower, so it is not used before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class BeyondTime(str):
    """A time that Python cannot hold, as the database writes it: ``infinity``, the year 20000, a year BC."""

    __slots__ = ()


def prepare(connection: Any, driver: str) -> None:
    """Set how a new connection of the driver returns values. ``connection`` is the driver's own."""
    if driver == "psycopg":
        _prepare_psycopg(connection)
    elif driver == "pymysql":
        _prepare_pymysql(connection)


def tolerate(connection: Any, driver: str) -> None:
    """Make the connection return values that the driver refuses."""
    if driver == "psycopg":
        _tolerate_psycopg(connection)
    elif driver == "pysqlite":
        connection.text_factory = lambda value: value.decode("utf-8", "replace")


def _prepare_psycopg(connection: Any) -> None:
    from psycopg.adapt import Loader
    from psycopg.types import TypeInfo
    from psycopg.types.string import TextLoader

    class BitLoader(Loader):
        """``bit(1)`` is a flag; longer bit strings are text."""

        def load(self, data: Any) -> bool | str:
            bits = bytes(data).decode()
            return bits == "1" if len(bits) == 1 else bits

    adapters = connection.adapters
    for name in ("bit", "varbit"):
        adapters.register_loader(name, BitLoader)
    # Ranges stay text, as the database writes them: their bounds may be infinite.
    for base in ("int4", "int8", "num", "date", "ts", "tstz"):
        for kind in ("range", "multirange"):
            adapters.register_loader(f"{base}{kind}", TextLoader)
    # psycopg reads arrays of the types that it knows. Name it the enums, domains and extension types of this database.
    found = connection.execute(
        "SELECT typname, oid, typarray FROM pg_catalog.pg_type"
        " WHERE typarray <> 0 AND oid >= 16384 AND typtype IN ('e', 'd', 'b')"
    ).fetchall()
    for name, oid, array_oid in found:
        if adapters.types.get(oid) is None:
            TypeInfo(name, oid, array_oid).register(connection)
    connection.rollback()


def _tolerate_psycopg(connection: Any) -> None:
    from psycopg import DataError
    from psycopg.adapt import Loader
    from psycopg.pq import Format

    def tolerant(name: str, otherwise: Callable[[str], Any]) -> type[Loader]:
        usual = connection.adapters.get_loader(connection.adapters.types[name].oid, Format.TEXT)

        class TolerantLoader(Loader):
            """Reads a value as psycopg does, or returns ``otherwise`` if that fails."""

            def __init__(self, oid: int, context: Any = None) -> None:
                super().__init__(oid, context)
                self._usual = usual(oid, context)

            def load(self, data: Any) -> Any:
                try:
                    return self._usual.load(data)
                except (DataError, ValueError, OverflowError, RecursionError):
                    return otherwise(bytes(data).decode("utf-8", "replace"))

        return TolerantLoader

    for name in ("date", "timestamp", "timestamptz"):
        connection.adapters.register_loader(name, tolerant(name, BeyondTime))
    for name in ("time", "timetz", "interval", "json", "jsonb", "numeric"):
        connection.adapters.register_loader(name, tolerant(name, str))


def _prepare_pymysql(connection: Any) -> None:
    from pymysql.constants import FIELD_TYPE  # type: ignore[import-untyped]

    def without_zero(usual: Callable[[Any], Any]) -> Callable[[Any], Any]:
        # PyMySQL returns the zero date as text. It means that there is no date.
        def decode(value: Any) -> Any:
            decoded = usual(value)
            return None if isinstance(decoded, str) and decoded.startswith("0000-00-00") else decoded

        return decode

    decoders = connection.decoders
    for kind in (FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP):
        decoders[kind] = without_zero(decoders[kind])
    decoders[FIELD_TYPE.TIME] = str  # may be negative, or above 24 hours
    decoders[FIELD_TYPE.BIT] = _bits
    decoders[FIELD_TYPE.JSON] = _json


def _bits(value: bytes | str) -> bool | int:
    number = int.from_bytes(value.encode("latin-1") if isinstance(value, str) else value, "big")
    return bool(number) if len(value) == 1 and number in (0, 1) else number


def _json(value: str | bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
