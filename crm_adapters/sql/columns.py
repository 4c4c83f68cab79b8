"""How columns are read: as the database holds them, whatever their declared type says.

SQLite stores any value in any column, and a query has no types at all. So a value that does not fit its column's type
is read as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import CHAR, Boolean, ColumnElement, Dialect, Numeric, Table, cast, literal, text, type_coerce
from sqlalchemy.dialects.mysql import ENUM, SET
from sqlalchemy.dialects.postgresql import MONEY
from sqlalchemy.engine import Connection
from sqlalchemy.types import JSON, Integer, NullType, String, TypeEngine, UserDefinedType

NATIVE = ("postgresql", "mysql", "mariadb")
"""Databases whose drivers return good Python values without SQLAlchemy's help."""


class _AsItIs(UserDefinedType[Any]):
    """Converts values as the type does, and returns those as they are that it cannot convert."""

    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        self.of = of

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any] | None:
        """Return the type's conversion, which no value can make fail."""
        convert = self.of.dialect_impl(dialect).result_processor(dialect, coltype)
        if convert is None:
            return None

        def converted(value: Any) -> Any:
            try:
                return convert(value)
            except (ValueError, TypeError, ArithmeticError, RecursionError):
                return value

        return converted


class _Flag(UserDefinedType[Any]):
    """0 and 1 are a flag. Everything else that a SQLite column of booleans holds is read as it is."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return the conversion."""
        return lambda value: bool(value) if type(value) is int and value in (0, 1) else value


class _Members(UserDefinedType[Any]):
    """MySQL returns the members of a set with commas between them."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return the conversion."""
        return lambda value: value.replace(",", ";") if isinstance(value, str) else value


class _Untyped(UserDefinedType[Any]):
    """The type of a value that is sent without one."""

    cache_ok = True


class _JsonText(UserDefinedType[Any]):
    """A column of text that can only hold JSON: what MariaDB makes of a column of the type JSON."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        """Return the name of the type."""
        return "LONGTEXT"


def as_read(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[Any]:
    """Return the expression to select for a column."""
    kind = column.type
    if isinstance(kind, SET):
        return type_coerce(column, _Members())
    if isinstance(kind, MONEY):
        return cast(column, Numeric())  # money as text depends on the server's locale
    if dialect.name in NATIVE:
        return type_coerce(column, _AsItIs(JSON()) if isinstance(kind, _JsonText) else NullType())
    if dialect.name == "sqlite" and isinstance(kind, Boolean):
        return type_coerce(column, _Flag())
    if dialect.name == "sqlite" and isinstance(kind, Numeric) and kind.scale is None:
        return as_stored(column)  # SQLAlchemy takes types that it does not know, such as STRING, for numbers
    return type_coerce(column, _AsItIs(kind))


def as_key(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the expression to select for a column of the key, from which the ids of records are made."""
    return type_coerce(column, _AsItIs(column.type))


def is_read_as_stored(column: ColumnElement[Any], dialect: Dialect) -> bool:
    """Return True if ``as_read`` and ``as_key`` give what the database compares."""
    if isinstance(column.type, SET | MONEY | _JsonText):
        return False
    return dialect.name in NATIVE or isinstance(column.type, Integer | String | NullType)


def as_compared(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[Any]:
    """Return the expression by which rows are ordered and compared with values that were read."""
    if isinstance(column.type, ENUM):
        return cast(column, CHAR())  # MySQL orders an enum by its number and compares it as text
    return column if dialect.name not in ("sqlite", "mysql", "mariadb") else as_stored(column)


def bound(column: ColumnElement[Any], value: Any) -> Any:
    """Return a value to compare with the column. PostgreSQL finds out the type of a text if no type is declared."""
    return literal(value, _Untyped()) if isinstance(value, str) and isinstance(column.type, NullType) else value


def as_stored(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the expression for the value that the database itself compares."""
    return type_coerce(column, NullType())


def mark_json(table: Table, connection: Connection) -> None:
    """Find the columns that MariaDB declares as JSON: text with the check ``json_valid``."""
    if not getattr(connection.dialect, "is_mariadb", False):
        return
    found = connection.execute(
        text(
            "SELECT check_clause FROM information_schema.check_constraints"
            " WHERE constraint_schema = coalesce(:schema, database()) AND table_name = :name"
        ),
        {"schema": table.schema, "name": table.name},
    )
    checks = {check.strip().lower() for check in found.scalars()}
    for column in table.columns:
        if f"json_valid(`{column.name.lower()}`)" in checks:
            column.type = _JsonText()
