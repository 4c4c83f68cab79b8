"""Migrations: bring a store to the tables that this version needs. One set of them for SQLite and PostgreSQL."""

from __future__ import annotations

import uuid
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, column, false, inspect, select, table, text, update
from sqlmodel import SQLModel

from worker.core.clock import utcnow
from worker.core.content_cipher import ContentUnreadable, KeyMissing
from worker.store.db import is_postgres, reading, writing
from worker.store.store_key import lock_out
from worker.store.tables import heartbeat

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "vtsync_version"
"""Alembic's default, ``alembic_version``, may belong to another application in the same database."""
_OLD_VERSION_TABLE = "alembic_version"
_OF_EVERY_VERSION = ("account_state", "connection_state", "message")
_LOCK = 0x76747379  # "vtsy": the PostgreSQL advisory lock that a migration holds


class StoreOutdated(Exception):
    """The store's tables are not those of this version. ``state`` and ``do`` are the two halves of the message."""

    do = "run `vtsync migrate`, then start again"

    def __init__(self, state: str, do: str = "") -> None:
        self.state, self.do = state, do or self.do
        super().__init__(f"the store {state}; {self.do}")


class UnsuitableStore(StoreOutdated):
    """The database cannot become our store: its encoding is wrong, or it holds tables of another program."""


class StoreTooNew(StoreOutdated):
    """A newer version of vtsync has migrated the store."""

    do = "run the newer version of vtsync, or restore the backup from before its migration"


class StoreEncrypted(StoreOutdated):
    """The store is encrypted with a key that this process does not have."""

    do = "put that key back into store.encryption_key (docs/operations.md, Encryption of content); nothing was changed"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"is encrypted with the key {key_id}, which store.encryption_key does not hold")


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Apply the missing migrations, all or none, and return (revision before, revision now). Raises StoreTooNew.

    Two migrations at the same time take turns. Raises UnsuitableStore.
    """
    from alembic import command  # imported late: every command checks the revision, few migrate
    from alembic.config import Config

    with writing(engine) as connection:
        if is_postgres(connection):
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _check_encoding(connection)
        before = _revision(connection)
        if before is None:
            _check_names(connection)
        else:
            _refuse_newer(before)
            _take_over_old_version_table(connection, before)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # read by configparser
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return before, head()


@cache
def head() -> str:
    """Return the revision that this version needs: the highest number among the files in ``versions``."""
    return max(_revisions())


def ensure_current(engine: Engine, *, reads_content: bool = True) -> None:
    """Check that the store has the tables of this version.

    An embedded SQLite file is migrated; a server is migrated only by ``vtsync migrate``. With ``reads_content``, check
    that its content can be decrypted, too. Raises StoreOutdated, and the driver's errors where the store cannot be
    reached (``worker.doctor.reach`` explains those).
    """
    if reads_content:
        _check_key(engine)
    with reading(engine) as connection:
        _check_encoding(connection)
        current = _revision(connection)
        is_old = not inspect(connection).has_table(VERSION_TABLE)
    if current == head() and not is_old:
        return
    _refuse_newer(current)
    if engine.dialect.name == "sqlite":
        migrate(engine)
        return
    if current == head():
        raise StoreOutdated(f"keeps its revision in {_OLD_VERSION_TABLE}, this version in {VERSION_TABLE}")
    state = "has no tables yet" if current is None else f"is at revision {current}, this version needs {head()}"
    raise StoreOutdated(state)


def ensure_writable(engine: Engine) -> None:
    """Check that the store takes writes now. Write nothing. Raises what ``STORE_AWAY`` names."""
    with writing(engine) as connection:
        connection.execute(update(heartbeat).where(false()).values(role=heartbeat.c.role))


def try_write(engine: Engine) -> None:
    """Write a row, which is gone when the transaction ends: a full disk shows only then. Raises like the above."""
    now = utcnow()
    row = {"id": f"doctor:{uuid.uuid4().hex}", "role": "doctor", "version": "", "started_at": now, "seen_at": now}
    with writing(engine) as connection:
        connection.execute(heartbeat.insert(), row)
        connection.execute(heartbeat.delete().where(heartbeat.c.id == row["id"]))


def _check_key(engine: Engine) -> None:
    """Raise StoreOutdated if the content of the store cannot be read or written."""
    try:
        with reading(engine) as connection:
            missing = lock_out(connection)
    except KeyMissing as error:
        missing = error.key_id
    except ContentUnreadable as error:
        state, _, do = str(error).partition("; ")
        raise StoreOutdated(f"cannot be used: {state}", do) from error
    if missing is not None:
        raise StoreEncrypted(missing)


def _revisions() -> frozenset[str]:
    return frozenset(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _refuse_newer(current: str | None) -> None:
    if current is not None and current > head():
        raise StoreTooNew(f"is at revision {current}, and this older version of vtsync knows only {head()}")


def _revision(connection: Connection) -> str | None:
    """Return the store's revision; None: it has no tables of ours."""
    if inspect(connection).has_table(VERSION_TABLE):
        return _stored_revision(connection, VERSION_TABLE)
    return _old_revision(connection)


def _old_revision(connection: Connection) -> str | None:
    """Return the revision that an earlier version stored in Alembic's default table; None: that table is not ours."""
    if not all(map(inspect(connection).has_table, (_OLD_VERSION_TABLE, *_OF_EVERY_VERSION))):
        return None
    found = _stored_revision(connection, _OLD_VERSION_TABLE)
    return found if found in _revisions() else None


def _stored_revision(connection: Connection, name: str) -> str | None:
    found = connection.execute(select(table(name, column("version_num")).c.version_num)).scalars().all()
    return found[0] if len(found) == 1 else None


def _take_over_old_version_table(connection: Connection, revision: str) -> None:
    """Move the revision of an earlier version to our own table."""
    if inspect(connection).has_table(VERSION_TABLE):
        return
    # Not renamed: another application could not create its ``alembic_version`` while the old key's name is in use.
    key = f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num)"
    connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, {key})"))
    connection.execute(table(VERSION_TABLE, column("version_num")).insert(), {"version_num": revision})
    connection.execute(text(f"DROP TABLE {_OLD_VERSION_TABLE}"))


def _check_names(connection: Connection) -> None:
    """Raise UnsuitableStore if another program's tables have the names of ours."""
    taken = sorted(set(inspect(connection).get_table_names()) & set(SQLModel.metadata.tables))
    if taken:
        raise UnsuitableStore(
            f"has tables of another program with names that vtsync uses: {', '.join(taken)}",
            "give vtsync a database of its own (store.url), then run `vtsync migrate`",
        )


def _check_encoding(connection: Connection) -> None:
    """Raise UnsuitableStore if the database cannot hold every name and every text."""
    if not is_postgres(connection):
        return
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise UnsuitableStore(
            f"has the encoding {encoding}, which cannot hold every name and every text",
            "create a database with `createdb --encoding=UTF8 --template=template0 NAME`, and name it in store.url",
        )
