"""The store's clock is measured where the store is used, and every process goes by it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, insert, text

from tests.services import postgres_url
from worker.core.clock import CLOCK
from worker.store.db import open_engine, reading, writing
from worker.store.leases import LeaseColumns, new_lease
from worker.store.models import utcnow
from worker.store.tables import carrier_state

MOMENT = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def unmeasured() -> Iterator[None]:
    """A clock that has not seen a store, and that no other test sees."""
    CLOCK.__init__()  # type: ignore[misc]
    yield
    CLOCK.__init__()  # type: ignore[misc]


def set_machine_clock(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    CLOCK.__init__()  # type: ignore[misc]


@pytest.mark.parametrize("ahead", [300.0, -170.0, 0.0])
def test_a_machine_s_wrong_clock_is_corrected(engine: Engine, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    set_machine_clock(monkeypatch, ahead)
    assert abs(utcnow() - datetime.now(UTC) - timedelta(seconds=ahead)) < MOMENT
    with reading(engine):
        assert abs(utcnow() - datetime.now(UTC)) < MOMENT
    assert CLOCK.machine_is_ahead == pytest.approx(ahead, abs=0.5)


def test_where_no_file_can_be_written_the_machine_s_clock_counts(
    sqlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("worker.store.clock.tempfile.TemporaryFile", refuse)
    with reading(sqlite):
        assert not CLOCK.is_measured
        assert abs(utcnow() - datetime.now(UTC)) < MOMENT


@pytest.fixture
def set_store(tmp_path: Path) -> Iterator[Engine]:
    """A PostgreSQL whose clock can be set: ``UPDATE ahead SET seconds``."""
    url, schema = postgres_url(), f"clock_{uuid.uuid4().hex[:12]}"
    admin = create_engine(url)
    with admin.begin() as db:
        db.execute(text(f"CREATE SCHEMA {schema}"))
        db.execute(text(f"CREATE TABLE {schema}.ahead AS SELECT 0.0 AS seconds"))
        db.execute(
            text(
                f"CREATE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
                f" $$ SELECT pg_catalog.clock_timestamp() + seconds * interval '1 s' FROM {schema}.ahead $$"
            )
        )
    engine = open_engine(f"{url}?options=-csearch_path%3D{schema}%2Cpg_catalog")
    carrier_state.create(engine)
    yield engine
    engine.dispose()
    with admin.begin() as db:
        db.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_lease_that_is_held_stays_held_when_the_store_s_clock_is_set(
    set_store: Engine, jump: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases, c = LeaseColumns(carrier_state), carrier_state.c

    def take(name: str) -> bool:
        with writing(set_store) as db:
            now = utcnow()
            return leases.take(db, new_lease(now, 60), now, c.name == name)

    with writing(set_store) as db:
        db.execute(insert(carrier_state), [{"name": name, "last_error": ""} for name in "ab"])
    assert take("a")
    with set_store.begin() as db:
        db.execute(text("UPDATE ahead SET seconds = :jump"), {"jump": jump})
    monkeypatch.setattr(CLOCK, "_measured_at", -1e9)  # it is time to measure again
    assert not take("a")
    assert abs(utcnow() - datetime.now(UTC) - timedelta(seconds=jump)) < MOMENT
    assert take("b")
    assert not take("b"), "a lease that was given after the jump is held, too"
