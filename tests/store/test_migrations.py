"""The migrations make exactly the tables that the models describe, on each kind of store."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from tests.services import postgres_url
from worker.store.db import open_engine, reading, writing
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


def at_revision(engine: Engine, revision: str) -> None:
    """Migrate to an older version's tables."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_deliveries_of_the_version_before_are_kept_and_get_their_receivers(empty: Engine) -> None:
    at_revision(empty, "0005")
    put = text(
        "INSERT INTO forward (event_id, target, type, payload, created_at, state, due_at, attempts, last_error)"
        " VALUES (:event, :target, 't', '{}', '2026-01-01', 'due', '2026-01-01', 3, 'no answer')"
    )
    before = ["subscriber:shop", "crm:people:17", "crm:people:a:b"]
    with writing(empty) as connection:
        connection.execute(put, [{"event": "e1", "target": target} for target in before])
    migrate(empty)
    with writing(empty) as connection:  # as a worker of the version before, which is not restarted yet
        connection.execute(put, {"event": "e2", "target": "crm:people:18"})
    with reading(empty) as connection:
        rows = connection.execute(text("SELECT id, target, receiver, attempts, last_error FROM forward ORDER BY id"))
        assert [tuple(row) for row in rows] == [
            (1, "subscriber:shop", "subscriber:shop", 3, "no answer"),
            (2, "crm:people:17", "crm:people", 3, "no answer"),
            (3, "crm:people:a:b", "crm:people", 3, "no answer"),
            (4, "crm:people:18", "crm:people", 3, "no answer"),
        ]
    with pytest.raises(IntegrityError), writing(empty) as connection:
        connection.execute(put, {"event": "e1", "target": "crm:people:17"})
    with reading(empty) as connection:
        indexes = {index["name"]: index["column_names"] for index in inspect(connection).get_indexes("forward")}
    assert indexes["ix_forward_due"] == ["state", "due_at"]
    assert indexes["ix_forward_receiver"] == ["receiver", "state", "due_at"]


def test_the_upgrade_plans_date_triggers_again_because_more_dates_can_be_read(empty: Engine) -> None:
    at_revision(empty, "0006")
    with writing(empty) as connection:
        put = (
            'INSERT INTO trigger_state ("trigger", connection, fingerprint, active_since) VALUES (:name, :crm, :f, :at)'
        )
        for name in ("reminder", "welcome"):
            connection.execute(text(put), {"name": name, "crm": "crm", "f": "f", "at": "2026-01-01 00:00:00+00:00"})
        plan = 'INSERT INTO date_plan ("trigger", connection, external_id, occurrence) VALUES (:name, :crm, :id, :day)'
        connection.execute(text(plan), {"name": "reminder", "crm": "crm", "id": "17", "day": "2027-03-04"})
    migrate(empty)
    with reading(empty) as connection:
        waiting = text('SELECT "trigger" FROM trigger_state WHERE active_since IS NULL')
        assert connection.scalars(waiting).all() == ["reminder"]


def test_an_adapter_knows_that_the_version_before_stored_records(empty: Engine) -> None:
    at_revision(empty, "0006")
    with writing(empty) as connection:
        connection.execute(text("INSERT INTO connection_state (connection) VALUES ('crm')"))
    migrate(empty)
    with reading(empty) as connection:
        memory = connection.scalars(text("SELECT memory FROM connection_state")).one()
    assert json.loads(memory) == {"upgraded": True}


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
