"""The migrations make exactly the tables that the models describe, on each kind of store."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlmodel import SQLModel

from tests.services import postgres_url
from worker.store.db import open_engine, reading
from worker.store.migrate import MIGRATIONS, StoreOutdated, ensure_current, head, migrate


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A store without tables."""
    if request.param == "sqlite":
        engine = open_engine(f"sqlite:///{tmp_path / 'store.sqlite3'}")
        yield engine
        engine.dispose()
        return
    url = postgres_url()
    admin = create_engine(url)
    schema = f"migrations_{uuid.uuid4().hex[:12]}"
    with admin.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine = open_engine(f"{url}?options=-csearch_path%3D{schema}")
    yield engine
    engine.dispose()
    with admin.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


def test_migrated_tables_are_the_models(empty: Engine) -> None:
    assert migrate(empty) == (None, head())
    with reading(empty) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_migrating_again_changes_nothing(empty: Engine) -> None:
    migrate(empty)
    assert migrate(empty) == (head(), head())
    ensure_current(empty)


def test_several_processes_may_migrate_at_once(empty: Engine) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate(empty)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    ensure_current(empty)


def test_a_store_without_tables_is_made_where_it_is_a_file_and_reported_where_it_is_a_server(empty: Engine) -> None:
    if empty.dialect.name == "sqlite":
        ensure_current(empty)
        assert "contact" in inspect(empty).get_table_names()
    else:
        with pytest.raises(StoreOutdated, match="vtsync migrate"):
            ensure_current(empty)


def test_the_files_numbers_say_which_migration_is_the_last() -> None:
    from alembic.script import ScriptDirectory

    assert head() == ScriptDirectory(str(MIGRATIONS)).get_current_head()
