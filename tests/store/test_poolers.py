"""A real PgBouncer between us and the server, in both modes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from tests.faults.servers import OwnPgBouncer, OwnPostgres
from tests.faults.service import Service
from tests.harness import fleet, until
from worker.store.db import open_engine, reading, writing
from worker.store.migrate import ensure_current, ensure_writable, migrate
from worker.store.poolers import behind_pooler
from worker.store.sql import lock_account

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[OwnPostgres, Path]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-poolers-")))
        made = OwnPostgres(folder)
        stack.callback(made.kill)
        made.start()
        yield made, folder


@pytest.fixture
def poolers(server: tuple[OwnPostgres, Path]) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pooler(stack: ExitStack, server: tuple[OwnPostgres, Path], mode: str, *settings: str) -> OwnPgBouncer:
    postgres, folder = server
    made = OwnPgBouncer(folder, postgres, mode, *settings)
    stack.callback(made.kill)
    made.start()
    return made


def many_transactions(engine: Engine) -> None:
    """More of each kind than psycopg needs before it would prepare a statement, on several connections at once."""
    for _ in range(10):
        with reading(engine) as one, writing(engine) as other:
            one.execute(text("SELECT count(*) FROM message"))
            lock_account(other, "main")
            other.execute(text("SELECT count(*) FROM message"))


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("settings", [(), ("ignore_startup_parameters = options",)], ids=["strict", "lenient"])
def test_everything_works_through_a_pooler(
    mode: str, settings: tuple[str, ...], server: tuple[OwnPostgres, Path], poolers: ExitStack
) -> None:
    engine = open_engine(pooler(poolers, server, mode, *settings).url)
    migrate(engine)
    ensure_current(engine)
    ensure_writable(engine)
    many_transactions(engine)
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        assert behind_pooler(raw)
        assert raw.prepare_threshold is None  # type: ignore[attr-defined]
    engine.dispose()


def test_the_server_itself_is_no_pooler(server: tuple[OwnPostgres, Path]) -> None:
    engine = open_engine(server[0].url)
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        assert not behind_pooler(raw)
    engine.dispose()


def test_options_that_a_pooler_refuses_are_explained(server: tuple[OwnPostgres, Path], poolers: ExitStack) -> None:
    url = pooler(poolers, server, "transaction").url
    engine = open_engine(f"{url}?options=-csearch_path%3Dour_schema")
    with pytest.raises(OperationalError, match="ALTER ROLE"), engine.connect():
        pass
    engine.dispose()


def test_a_fleet_behind_a_pooler(server: tuple[OwnPostgres, Path], poolers: ExitStack, tmp_path: Path) -> None:
    store = pooler(poolers, server, "transaction").url
    numbers = [f"+1415555{number:04d}" for number in range(101, 121)]
    with fleet(tmp_path, store=store) as made:
        made.configure()
        assert made.run("migrate").exit_code == 0
        worker = made.start("worker")
        made.start("beat")
        service = Service(made, numbers)
        service.serve()
        service.start()
        service.finish()
        until("each text", lambda: len(made.sandbox.messages()) == len(numbers))
        assert b"Traceback" not in made.log(worker)
