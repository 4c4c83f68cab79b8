"""Reads any SQL database: a table, a view or a query, whole or by a column that says when a row was changed.

Rows are read in the order of their key, a page a statement, so that no transaction stays open. An incremental run has
a fixed, inclusive lower bound that lies an overlap before the newest change that the previous run could see. So rows
with equal times, rows that are committed late, and drivers that cut microseconds lose nothing; what is read twice is
skipped by its hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import compress, islice
from operator import eq
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    NullPool,
    Select,
    Table,
    and_,
    column,
    create_engine,
    false,
    func,
    inspect,
    or_,
    select,
    text,
)
from sqlalchemy.sql import FromClause

from config.fields import FieldMapping
from config.types import DatabaseUrl, Duration, one_or_many
from crm_adapters.base import (
    Adapter,
    CheckReport,
    ContactChange,
    ContactFields,
    CrmMessage,
    Cursor,
    Page,
    Properties,
    Removals,
    SourceInvalid,
    UnreadableRecord,
    WritesMessages,
)
from crm_adapters.fields import find_column, find_columns, missing_columns, nearest, read
from crm_adapters.sql.datetimes import earlier, parse, unparse
from crm_adapters.sql.errors import explained
from crm_adapters.sql.values import external_id, freeze, is_true, thaw, to_json
from crm_adapters.sql.write import LogColumn, SqlWriter

UNKEYED_SHOWN = 100


class SqlOptions(BaseModel):
    """Which database, which rows, and how changes are told."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: DatabaseUrl = Field(
        description="The SQLAlchemy URL, by reference when it holds a password.", examples=[{"env": "CRM_DATABASE_URL"}]
    )
    table: str | None = Field(None, min_length=1, description="The table or view, as `name` or `schema.name`.")
    query: str | None = Field(
        None,
        min_length=1,
        description="Instead of a table: a SELECT whose columns are the contact's fields.",
        examples=["SELECT c.id, c.name, c.mobile, c.changed FROM customers c JOIN consents USING (id)"],
    )
    key: Annotated[tuple[str, ...], one_or_many()] = Field(
        (), description="The column (or columns, together) that identify a row. Left out: the table's primary key."
    )
    updated_at: str | None = Field(
        None, description="The column that says when a row was changed. Left out: every run reads every row."
    )
    deleted: str | None = Field(
        None, description="The column that marks a row as deleted: a flag, or the time of deletion."
    )
    columns: tuple[str, ...] = Field((), description="Read only these columns, and the ones named above.")
    overlap: Duration = Field(
        timedelta(minutes=5), description="How late a change may be committed and still be seen by the next run."
    )
    page_size: int = Field(1000, ge=1, le=10_000, description="Rows a statement.")
    timezone: str = Field("UTC", description="The zone of times that are stored without one.")
    log_table: str | None = Field(
        None,
        min_length=1,
        description=(
            "For log_messages: the table that texts are written to, with the columns message_id (unique), record_id,"
            " direction, sent_at, text, media, from_number and to_number."
        ),
    )
    log_columns: dict[LogColumn, str] = Field(
        default_factory=dict,
        description="Where columns of log_table have other names: the names above to those.",
        examples=[{"record_id": "customer_id", "text": "body"}],
    )

    @model_validator(mode="after")
    def _one_source(self) -> SqlOptions:
        if (self.table is None) == (self.query is None):
            raise ValueError("name either a table or a query")
        if self.query is not None and not self.key:
            raise ValueError("a query needs key: the column that identifies a row")
        return self

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError('is not a time zone, such as "America/New_York"') from None
        return value


class SqlAdapter(Adapter, WritesMessages):
    """A database as a CRM."""

    name = "sql"
    summary = "Any SQL database: a table, a view or a query, whole or by a column with the time of change."
    Options: ClassVar[type[BaseModel]] = SqlOptions

    options: SqlOptions

    def __init__(self, options: Any, fields: FieldMapping) -> None:
        super().__init__(options, fields)
        if self.options.updated_at is None:
            self.removals = Removals.ABSENT  # type: ignore[misc] # it depends on the options
        elif self.options.deleted is None:
            self.removals = Removals.UNSEEN  # type: ignore[misc]
        self.zone = ZoneInfo(self.options.timezone)

    def __repr__(self) -> str:
        return f"SqlAdapter({self._where})"

    def check(self) -> CheckReport:
        """Connect and say which columns are used."""
        with self._connected():
            columns = find_columns(tuple(self._names), self.fields)
            used = [
                f"key {_list(self._key)}",
                f"phone {_list(columns.phones) or 'not found: set fields.phone'}",
                f"name {_list(columns.full_name or columns.name_parts) or 'not found'}",
                f"email {_list(columns.emails) or 'not found'}",
            ]
            if self.options.updated_at:
                warning = "" if self._is_indexed(self.options.updated_at) else " (without an index: each run is slow)"
                used.append(f"changed {_list([self.options.updated_at])}{warning}")
            else:
                used.append("every run reads every row")
            if self.options.log_table:
                self._writer.check_log()
                used.append(f"texts go to {_list([self.options.log_table])}")
        return CheckReport(f"{self._where}: {', '.join(used)}", tuple(self._names))

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """Pages by key. The cursor names the run's bounds and the last key; at the end, the next run's bound."""
        with self._connected() as connection:
            if self.options.updated_at is None:
                last = None if cursor is None else [thaw(part) for part in cursor["last"]]
                yield from self._pages(connection, None, last, {})
                yield Page(())  # the next listing starts at the top
                return
            run = dict(cursor) if cursor and "last" in cursor else self._new_run(connection, cursor)
            last = [thaw(part) for part in run["last"]] if run.get("last") else None
            yield from self._pages(connection, thaw(run["since"]), last, run)
            yield Page((), {"watermark": run["watermark"]})

    def contact_fields(self, properties: Properties) -> ContactFields:
        """Phones, name and email by the mapping or the usual column names."""
        return read(find_columns(tuple(properties), self.fields), properties)

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        """A row in ``log_table``, unless there is one with this message's id."""
        with explained(self._where, self._password):
            self._writer.log_message(external_id, message)

    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        """Write the column as its type has it: true or false, 1 or 0, "yes" or "no"."""
        with explained(self._where, self._password):
            self._writer.set_flag(external_id, field, value)

    @cached_property
    def _writer(self) -> SqlWriter:
        if not isinstance(self._source, Table):
            raise SourceInvalid(f"{self._where} is a query and cannot be written to; name the table instead")
        if len(self._key) != 1:
            raise SourceInvalid(f"{self._where} has a key of several columns; only tables with one can be written to")
        return SqlWriter(
            self._engine,
            self._source,
            self._column(self._key[0]),
            self.options.log_table,
            self._where,
            self.zone,
            {str(ours): theirs for ours, theirs in self.options.log_columns.items()},
        )

    def close(self) -> None:
        """Forget the engine; connections are closed after each use."""
        for name in ("_engine", "_source", "_writer"):
            self.__dict__.pop(name, None)

    # The source

    @property
    def _where(self) -> str:
        try:
            from sqlalchemy import make_url

            url = make_url(self.options.url.get_secret_value())
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is reported when it is used
            return "the database"
        name = url.database or url.host or url.drivername
        return f"{name.rsplit('/', 1)[-1]} ({self.options.table or 'query'})"

    @property
    def _password(self) -> str | None:
        from sqlalchemy import make_url

        try:
            return make_url(self.options.url.get_secret_value()).password
        except Exception:  # noqa: BLE001
            return None

    @cached_property
    def _engine(self) -> Engine:
        return create_engine(self.options.url.get_secret_value(), poolclass=NullPool, hide_parameters=True)

    def _connected(self) -> _Session:
        return _Session(self)

    @cached_property
    def _source(self) -> FromClause:
        if self.options.query is not None:
            names = self._names_of_query(self.options.query)
            return text(self.options.query.strip().rstrip(";")).columns(*map(column, names)).subquery("source")
        schema, _, table = (self.options.table or "").rpartition(".")
        return Table(table, MetaData(), schema=schema or None, autoload_with=self._engine)

    def _names_of_query(self, query: str) -> list[str]:
        with self._engine.connect() as connection:
            wrapped = text(f"SELECT * FROM ({query.strip().rstrip(';')}) AS source WHERE 1 = 0")  # noqa: S608 - the operator's own
            return list(connection.execute(wrapped).keys())

    @cached_property
    def _names(self) -> list[str]:
        """The columns that are read; checks that all that are named exist."""
        present = tuple(str(one.name) for one in self._source.columns)
        o = self.options
        mapped = (*self.fields.phone, *self.fields.full_name, *self.fields.email)
        named = [*o.key, *filter(None, (o.updated_at, o.deleted)), *o.columns, *mapped]
        missing = missing_columns(present, named)
        if missing:
            near = nearest(present, missing[0])
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(present[:20])}"
            raise SourceInvalid(f'{self._where} has no column "{missing[0]}"{hint}')
        if not o.columns:
            return list(present)
        wanted = {find_column(present, name) for name in named} | set(self._key)
        return [name for name in present if name in wanted]

    @cached_property
    def _key(self) -> tuple[str, ...]:
        if self.options.key:
            present = tuple(str(one.name) for one in self._source.columns)
            return tuple(find_column(present, name) or name for name in self.options.key)
        keys = [one.name for one in self._source.primary_key] if isinstance(self._source, Table) else []
        if not keys:
            raise SourceInvalid(f"{self._where} has no primary key; name the column that identifies a row as key")
        return tuple(keys)

    def _column(self, name: str) -> ColumnElement[Any]:
        found: Column[Any] | ColumnElement[Any] = self._source.columns[
            find_column([str(one.name) for one in self._source.columns], name) or name
        ]
        return found

    def _is_indexed(self, name: str) -> bool:
        if not isinstance(self._source, Table):
            return True  # of a query nobody can tell
        source = inspect(self._engine)
        indexes = source.get_indexes(self._source.name, schema=self._source.schema)
        return any(index["column_names"] and index["column_names"][0] == self._column(name).key for index in indexes)

    # Reading

    def _new_run(self, connection: Connection, cursor: Cursor | None) -> dict[str, Any]:
        """The bounds of a run: from an overlap before the last watermark; the newest change there is, as the next."""
        since = thaw(cursor["watermark"]) if cursor else None
        try:
            bound = None if since is None else earlier(since, self.options.overlap, self.zone)
        except ValueError as error:
            raise SourceInvalid(f"the column {self.options.updated_at} of {self._where}: {error}") from None
        newest = connection.execute(select(func.max(self._column(str(self.options.updated_at))))).scalar()
        return {"since": freeze(bound), "watermark": freeze(self._capped(connection, newest, since))}

    def _capped(self, connection: Connection, newest: Any, before: Any) -> Any:
        """The next watermark: the newest change, but no time in the future, and never back."""
        moment = parse(newest, self.zone)
        if moment is None:
            return before
        now = parse(connection.execute(select(func.current_timestamp())).scalar(), ZoneInfo("UTC")) or datetime.now(UTC)
        return unparse(now, newest, self.zone) if moment > now else newest

    def _pages(
        self, connection: Connection, since: Any, last: list[Any] | None, run: Mapping[str, Any]
    ) -> Iterator[Page]:
        statement = self._statement(since)
        size = self.options.page_size
        while True:
            # One row more than a page: it shows whether the key goes on beyond the page's end with the same value.
            rows = connection.execute(self._after(statement, last).limit(size + 1)).all()
            page = rows[:size]
            if not page:
                break
            keys = [tuple([row[place] for place in self._places.key]) for row in rows]
            self._refuse_repeated(keys)
            if (key := list(keys[len(page) - 1])) == last:
                raise SourceInvalid(f"{self._where} shows the same rows again and again: its key cannot be compared")
            last = key
            frozen = {"last": [freeze(part) for part in key]}
            yield Page(self._changes(keys, page), {**run, **frozen})
            if len(rows) <= size:
                break
        yield from self._without_key(connection, since)

    def _statement(self, since: Any) -> Select[Any]:
        chosen = [self._source.columns[name] for name in self._names]
        statement = select(*chosen).where(*(self._column(name).is_not(None) for name in self._key))
        if since is not None:
            statement = statement.where(self._changed_since(since))
        return statement.order_by(*(self._column(name) for name in self._key))

    def _changed_since(self, since: Any) -> ColumnElement[bool]:
        """Inclusive; a row without a time of change may always have changed."""
        changed = self._column(str(self.options.updated_at))
        return or_(changed >= since, changed.is_(None))

    def _after(self, statement: Select[Any], last: list[Any] | None) -> Select[Any]:
        if last is None:
            return statement
        columns = [self._column(name) for name in self._key]
        later: ColumnElement[bool] = false()
        for index, (one, value) in enumerate(zip(columns, last, strict=True)):
            same = [columns[n] == last[n] for n in range(index)]
            later = or_(later, and_(*same, one > value))
        return statement.where(later)

    def _refuse_repeated(self, keys: Sequence[tuple[Any, ...]]) -> None:
        again = next(compress(keys, map(eq, keys, islice(keys, 1, None))), None)
        if again is not None:
            raise SourceInvalid(
                f"{self._where} has several rows with the key {external_id(again)}; name key columns whose values "
                "are all different, or rows would be lost"
            )

    def _changes(self, keys: Sequence[tuple[Any, ...]], page: Sequence[Sequence[Any]]) -> list[ContactChange]:
        """Rows to records. A million of them pass here, hence a loop with few calls."""
        names, zone, source = self._names, self.zone, self.options.table or "query"
        updated_at, deleted = self._places.updated_at, self._places.deleted
        new = tuple.__new__  # makes a named tuple in half the time of a call
        changes = []
        for key, row in zip(keys, page, strict=False):
            identifier = external_id(key)
            properties = {
                name: value if type(value) is str and value.isascii() else to_json(value)
                for name, value in zip(names, row, strict=True)
            }
            changed = None if updated_at is None else parse(row[updated_at], zone)
            gone = deleted is not None and is_true(row[deleted])
            changes.append(new(ContactChange, (identifier, properties, changed, gone, None, f"{source} {identifier}")))
        return changes

    @cached_property
    def _places(self) -> _Places:
        o = self.options

        def place(name: str) -> int:
            return self._names.index(str(self._column(name).key))

        return _Places(
            tuple(self._names.index(name) for name in self._key),
            place(o.updated_at) if o.updated_at else None,
            place(o.deleted) if o.deleted else None,
        )

    def _without_key(self, connection: Connection, since: Any) -> Iterator[Page]:
        """Rows that nothing identifies: told, since they cannot be kept apart."""
        if isinstance(self._source, Table) and all(
            one.primary_key for one in map(self._source.c.get, self._key) if one is not None
        ):
            return
        unkeyed = or_(*(self._column(name).is_(None) for name in self._key))
        statement = select(*(self._source.columns[name] for name in self._names)).where(unkeyed)
        if since is not None:
            statement = statement.where(self._changed_since(since))
        found = [self._unkeyed(row) for row in connection.execute(statement.limit(UNKEYED_SHOWN)).mappings()]
        if found:
            yield Page(found)

    def _unkeyed(self, row: Any) -> UnreadableRecord:
        shown = ", ".join(f"{name}={to_json(row[name])}" for name in self._names if row[name] is not None)
        printable = "".join(character if character.isprintable() else "?" for character in shown)
        return UnreadableRecord(
            f"without key: {printable[:100]}",
            f"it has no value in the key column {_list(self._key)}; give it one",
            self._where,
            printable[:200],
        )


@dataclass(frozen=True, slots=True)
class _Places:
    """Where in a row its key, its time of change and its mark of deletion stand."""

    key: tuple[int, ...]
    updated_at: int | None
    deleted: int | None


class _Session:
    """A connection whose errors are ours. Each statement is its own transaction: the CRM is never kept waiting."""

    def __init__(self, adapter: SqlAdapter) -> None:
        self.adapter = adapter

    def __enter__(self) -> Connection:
        a = self.adapter
        self.explaining = explained(a._where, a._password)
        self.explaining.__enter__()
        try:
            self.connection = a._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            _ = a._names, a._key
        except BaseException as error:
            self.explaining.__exit__(type(error), error, error.__traceback__)
            raise
        return self.connection

    def __exit__(self, *error: Any) -> Any:
        self.connection.close()
        return self.explaining.__exit__(*error)


def _list(names: Any) -> str:
    return ", ".join(f'"{name}"' for name in names)
