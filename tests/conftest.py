"""A store of each kind for every test that takes ``engine``."""

from __future__ import annotations

import base64
import logging
import os
import sys
import threading
import uuid
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import structlog
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, create_engine, text
from sqlmodel import SQLModel

from tests.services import postgres_url
from worker.core.clock import CLOCK
from worker.core.content_cipher import ContentCipher
from worker.core.logs import OURS
from worker.store.db import open_engine

# How fast the machine is says nothing about the code: no example is too slow.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Compiled once, not in each of the processes that tests start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ends of the logs of a fixture's processes to the report of a failed test."""
    report = yield
    if report.when == "call" and report.failed:
        from tests.harness import running_fleets

        report.sections.extend(("processes", one.ends_of_logs()) for one in running_fleets)
    return report


WAITING = (
    "faults/",
    "fleet/",
    "broker/",
    "limits/test_fleet",
    "runtime/",
    "bench/",
    "monitoring/test_liveness",
    "web/test_serve",
    "messages/test_delivery_wire",
    "testing/",
)
"""Tests of real processes, which wait more than they compute."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits comes first and on half of pytest-xdist's workers, of which each begins with its share of the list."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    lanes, share = max(workers // 2, 1), len(items) // workers
    waiting = [item for item in items if item.nodeid.removeprefix("tests/").startswith(WAITING)]
    others = [item for item in items if not item.nodeid.removeprefix("tests/").startswith(WAITING)]
    items.clear()
    for lane in range(lanes):
        mine = waiting[lane * len(waiting) // lanes : (lane + 1) * len(waiting) // lanes]
        room = max(share - len(mine), 0)
        items += mine + others[:room]
        del others[:room]
    items += others


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a test does to logging ends with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for ours in OURS:
        logging.getLogger(ours).setLevel(logging.NOTSET)
    sys.excepthook, threading.excepthook = hooks
    structlog.reset_defaults()


@pytest.fixture
def move_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the fleet's time by some seconds. The store is not measured meanwhile."""
    monkeypatch.setattr(CLOCK, "is_due", lambda: False)
    return lambda seconds: monkeypatch.setattr(CLOCK, "_ahead", CLOCK._ahead + seconds)


USUAL_UMASK = os.umask(0o022)
os.umask(USUAL_UMASK)


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """Commands that a test, or a fixture of its module, runs in this process make its files private; that ends here."""
    os.umask(USUAL_UMASK)
    yield
    os.umask(USUAL_UMASK)


STORE_KEY = base64.b64encode(bytes(range(32))).decode()
"""A key for stores with encryption."""


@contextmanager
def postgres_schema(cipher: ContentCipher | None = None) -> Iterator[Engine]:
    """A PostgreSQL schema of this process's own."""
    url = postgres_url()
    admin = create_engine(url)
    schema = f"vtsync_{uuid.uuid4().hex[:12]}"
    with admin.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    separator = "&" if "?" in url else "?"
    engine = open_engine(f"{url}{separator}options=-csearch_path%3D{schema}", cipher=cipher)
    SQLModel.metadata.create_all(engine)
    yield engine
    engine.dispose()
    with admin.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


@contextmanager
def sqlite_file(path: Path, cipher: ContentCipher | None = None) -> Iterator[Engine]:
    """A SQLite store in a file."""
    engine = open_engine(f"sqlite:///{path}", cipher=cipher)
    SQLModel.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Engine]:
    """A PostgreSQL schema of this process's own."""
    with postgres_schema() as engine:
        yield engine


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A SQLite store of this process's own."""
    with sqlite_file(tmp_path_factory.mktemp("sqlite") / "store.sqlite3") as engine:
        yield engine


@pytest.fixture(scope="session")
def encrypted_postgres() -> Iterator[Engine]:
    """The same with encryption."""
    with postgres_schema(ContentCipher(STORE_KEY)) as engine:
        yield engine


@pytest.fixture(scope="session")
def encrypted_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The same with encryption."""
    with sqlite_file(tmp_path_factory.mktemp("sqlite") / "store.sqlite3", ContentCipher(STORE_KEY)) as engine:
        yield engine


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An empty store of each kind. One of the two is encrypted; which one depends on the name of the test.

    So half of all tests run encrypted on SQLite and in clear on PostgreSQL, and the other half the other way round.
    """
    name = request.node.originalname or request.node.name
    encrypted = ("sqlite", "postgres")[zlib.crc32(name.encode()) % 2]
    is_encrypted = request.param == encrypted and not request.node.get_closest_marker("in_clear")
    monkeypatch.setenv("TEST_STORE_KEY", STORE_KEY if is_encrypted else "")
    yield from emptied(request.getfixturevalue(f"encrypted_{encrypted}" if is_encrypted else request.param))


def a_night() -> datetime:
    """Return a Wednesday, 1:30 in New York, from two to eight days ahead."""
    day = datetime.now(ZoneInfo("America/New_York")).date() + timedelta(days=2)
    day += timedelta(days=(2 - day.weekday()) % 7)
    return datetime.combine(day, time(1, 30), ZoneInfo("America/New_York")).astimezone(UTC)


def emptied(engine: Engine) -> Iterator[Engine]:
    """The store, without what a test leaves in it: statements that were compiled once stay so."""
    yield engine
    # Not TRUNCATE, which makes new files of every table and index: 40 ms instead of one.
    # The key of an encrypted store stays, because the engine has it.
    tables = [table.name for table in reversed(SQLModel.metadata.sorted_tables) if table.name != "store_key"]
    rows = [f'DELETE FROM "{name}"' for name in tables]
    if engine.dialect.name == "postgresql":
        ours = "relkind = 'S' AND relnamespace = current_schema()::regnamespace"
        rows = ["; ".join([*rows, f"SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE {ours}"])]
    with engine.begin() as connection:
        for statement in rows:
            connection.exec_driver_sql(statement)
