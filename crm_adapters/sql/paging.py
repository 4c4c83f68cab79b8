"""Pages by key: every row once, in the order of the key, whatever the database holds for equal or cannot read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import itemgetter
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, false, or_, select, true
from sqlalchemy.exc import DataError, OperationalError

from crm_adapters.base import SourceInvalid
from crm_adapters.sql.columns import as_compared, as_key, as_read, as_stored, bound, is_read_as_stored
from crm_adapters.sql.drivers import tolerate
from crm_adapters.sql.source import SqlSource
from crm_adapters.sql.values import external_id

EQUAL_KEYS = 10_000
"""How many rows may have keys that the database holds for equal, such as ``A1`` and ``a1``."""
_NO_COLLATION = (int, bytes, UUID, date, datetime)
"""Types of keys that are equal in the database only if they are the same."""
_OF_A_VALUE = (DataError, ValueError, TypeError, ArithmeticError, RecursionError)
"""What drivers raise when they cannot read a value."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """What is selected, and at which positions of a row its key is.

    ``compared`` is the key as the database compares it, ``ids`` as the ids of records are made from it.
    """

    selected: tuple[ColumnElement[Any], ...]
    compared: tuple[int, ...]
    ids: tuple[int, ...]

    def key(self, row: _Values) -> list[Any]:
        """Return the key of a row as the database compares it."""
        return list(row.key) if isinstance(row, UnreadRow) else [row[position] for position in self.compared]

    def identifiers(self, rows: Sequence[Sequence[Any]]) -> list[str]:
        """Return the ids of rows. A million rows may pass here."""
        if len(self.ids) == 1:
            values = map(itemgetter(self.ids[0]), rows)
            return [str(value) if type(value) is int else external_id((value,)) for value in values]
        return [external_id(tuple([row[position] for position in self.ids])) for row in rows]


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """A row of which only the key can be read."""

    key: tuple[Any, ...]


_Values: TypeAlias = Sequence[Any] | UnreadRow
KeyedRow: TypeAlias = tuple[str, _Values]
"""The id of a row, and its values."""


@dataclass
class KeyedRows:
    """Reads the rows of a source in pages by their key."""

    source: SqlSource

    def pages(
        self,
        connection: Connection,
        names: Sequence[str],
        where: Sequence[ColumnElement[bool]],
        last: list[Any] | None,
        size: int,
    ) -> Iterator[tuple[list[KeyedRow], list[Any]]]:
        """Yield the rows after the key ``last`` in pages, each with its last key. Rows without a key are left out."""
        layout = self._layout(names)
        present = (column.is_not(None) for column in self._key)
        statement = select(*layout.selected).where(*present, *where).order_by(*self._key)
        while True:
            # Read one row more than a page: it shows if there is another page, and if it begins with the same key.
            found = self._rows(connection, layout, self._after(statement, last).limit(size + 1))
            rows, following = found[:size], found[size:]
            if not rows:
                return
            key = layout.key(rows[-1][1])
            if key == last:
                raise SourceInvalid(f"{self.source.where} returns the same rows again: its key cannot be compared")
            self._refuse_repeated(found)
            if following and self._may_have_equals(key):
                rows += self._equal_to(connection, layout, statement.where(self._has_key(key)), rows)
            last = key
            yield rows, key
            if not following:
                return

    def without_key(
        self, connection: Connection, names: Sequence[str], where: Sequence[ColumnElement[bool]], limit: int
    ) -> Sequence[Sequence[Any]]:
        """Return the first rows that have no value in a column of the key."""
        columns = [as_read(self.source.column(name), connection.dialect) for name in names]
        unkeyed = or_(*(column.is_(None) for column in self._key))
        return self._fetch(connection, select(*columns).where(unkeyed, *where).limit(limit))

    def sample(self, connection: Connection, names: Sequence[str], *, rows: int) -> Sequence[Sequence[Any]]:
        """Return these columns of the first rows that the database has at hand."""
        columns = [as_read(self.source.column(name), connection.dialect) for name in names]
        try:
            return self._fetch(connection, select(*columns).limit(rows))
        except _OF_A_VALUE:
            return []

    def value(self, connection: Connection, statement: Select[Any]) -> Any:
        """Return the only value of a statement; None if it cannot be read."""
        try:
            return self._fetch(connection, statement)[0][0]
        except _OF_A_VALUE:
            return None

    def _layout(self, names: Sequence[str]) -> _Layout:
        """Select these columns, and the key where these do not already hold it as it is needed."""
        dialect = self.source.engine.dialect
        selected = [as_read(self.source.column(name), dialect) for name in names]
        compared, ids = [], []
        for name in self.source.key:
            column = self.source.column(name)
            if is_read_as_stored(column, dialect):
                if name not in names:
                    selected.append(as_stored(column))
                compared.append(names.index(name) if name in names else len(selected) - 1)
                ids.append(compared[-1])
            else:
                selected += [as_stored(column), as_key(column)]
                compared.append(len(selected) - 2)
                ids.append(len(selected) - 1)
        return _Layout(tuple(selected), tuple(compared), tuple(ids))

    def _may_have_equals(self, key: Sequence[Any]) -> bool:
        return not (all(type(part) in _NO_COLLATION for part in key) or self.source.is_unique)

    def _equal_to(
        self, connection: Connection, layout: _Layout, same: Select[Any], rows: Sequence[KeyedRow]
    ) -> list[KeyedRow]:
        """Return the rows whose keys the database holds for equal to the last one, and that are not in the page.

        The next page begins after all of them. A collation may hold ``A1`` for equal to ``a1`` and ``A1 ``.
        """
        found = self._rows(connection, layout, same.limit(EQUAL_KEYS + 1))
        if len(found) > EQUAL_KEYS:
            raise SourceInvalid(
                f"{self.source.where} has more than {EQUAL_KEYS} rows with the key {rows[-1][0]}; set key to"
                " columns whose values are all different"
            )
        self._refuse_repeated(found)
        known = {identifier for identifier, _values in rows}
        return [row for row in found if row[0] not in known]

    def _has_key(self, key: Sequence[Any]) -> ColumnElement[bool]:
        """Match the rows whose key begins with these values."""
        pairs = zip(self._key, key, strict=False)
        return and_(true(), *(column == bound(column, value) for column, value in pairs))

    def _refuse_repeated(self, rows: Sequence[KeyedRow]) -> None:
        identifiers = list(map(itemgetter(0), rows))
        if len(set(identifiers)) == len(identifiers):
            return
        again = next(one for one, count in Counter(identifiers).items() if count > 1)
        raise SourceInvalid(
            f"{self.source.where} has several rows with the key {again}; set key to columns whose values are all"
            " different, or rows would be lost"
        )

    @property
    def _key(self) -> list[ColumnElement[Any]]:
        dialect = self.source.engine.dialect
        return [as_compared(self.source.column(name), dialect) for name in self.source.key]

    def _after(self, statement: Select[Any], last: list[Any] | None) -> Select[Any]:
        if last is None:
            return statement
        later: ColumnElement[bool] = false()
        for index, (column, value) in enumerate(zip(self._key, last, strict=True)):
            later = or_(later, and_(self._has_key(last[:index]), column > bound(column, value)))
        return statement.where(later)

    def _rows(self, connection: Connection, layout: _Layout, statement: Select[Any]) -> list[KeyedRow]:
        try:
            found = self._fetch(connection, statement)
        except _OF_A_VALUE:
            return self._one_by_one(connection, layout, statement)
        return list(zip(layout.identifiers(found), found, strict=True))

    def _fetch(self, connection: Connection, statement: Select[Any]) -> Sequence[Row[Any]]:
        """Return the rows. If the driver cannot read a value, read them again and let it return such values as text."""
        try:
            return connection.execute(statement).all()
        except (*_OF_A_VALUE, OperationalError) as error:  # SQLite: text that is not UTF-8
            if isinstance(error, OperationalError) and connection.dialect.name != "sqlite":
                raise
        tolerate(connection.connection.dbapi_connection, connection.dialect.driver)
        return connection.execute(statement).all()

    def _one_by_one(self, connection: Connection, layout: _Layout, statement: Select[Any]) -> list[KeyedRow]:
        """Read a page of which a row cannot be read: its keys, and then each row alone."""
        keys = self._layout([])
        found = connection.execute(statement.with_only_columns(*keys.selected)).all()
        rows: list[KeyedRow] = []
        for identifier, row in zip(keys.identifiers(found), found, strict=True):
            key = keys.key(row)
            try:
                same = connection.execute(statement.where(self._has_key(key))).all()
            except _OF_A_VALUE:
                rows.append((identifier, UnreadRow(tuple(key))))
            else:  # several, if the database holds their keys for equal; none, if it is gone
                found_now = zip(layout.identifiers(same), same, strict=True)
                rows += [(one, values) for one, values in found_now if one == identifier][:1]
        return rows
