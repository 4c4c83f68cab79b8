"""Migrations: bring a store to the tables that this version needs. One set of them for SQLite and PostgreSQL."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, column, inspect, select, table, text

from worker.store.db import is_postgres, reading, writing

MIGRATIONS = Path(__file__).parent / "migrations"
_APPLIED = table("alembic_version", column("version_num"))
_LOCK = 0x76747379  # "vtsy": the PostgreSQL advisory lock that a migration holds


class StoreOutdated(Exception):
    """The store's tables are not those of this version. ``state`` and ``do`` are the two halves of the message."""

    do = "run `vtsync migrate`, then start again"

    def __init__(self, state: str) -> None:
        super().__init__(f"the store {state}; {self.do}")
        self.state = state


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Apply the missing migrations, all or none, and return (revision before, revision now).

    Two migrations at the same time take turns.
    """
    from alembic import command  # imported late: every command checks the revision, few migrate
    from alembic.config import Config

    with writing(engine) as connection:
        if is_postgres(connection):
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = _revision(connection)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return before, head()


@cache
def head() -> str:
    """Return the revision that this version needs: the highest number among the files in ``versions``."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def ensure_current(engine: Engine) -> None:
    """Check that the store has the tables of this version.

    An embedded SQLite file is migrated; a server is migrated only by ``vtsync migrate``. Raises StoreOutdated, and
    the driver's errors where the store cannot be reached (``worker.doctor.reach`` explains those).
    """
    with reading(engine) as connection:
        current = _revision(connection)
    if current == head():
        return
    if engine.dialect.name == "sqlite":
        migrate(engine)
        return
    state = "has no tables yet" if current is None else f"is at revision {current}, this version needs {head()}"
    raise StoreOutdated(state)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_APPLIED.name):
        return None
    return connection.execute(select(_APPLIED.c.version_num)).scalar_one_or_none()
