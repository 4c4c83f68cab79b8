"""Clocks that are wrong, in real processes: nothing is done twice, nothing stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import clocks
from tests.faults.crowd import Crowd
from tests.faults.servers import empty_redis, own_schema
from tests.harness import Fleet, fleet
from tests.services import postgres_url, redis_url

pytestmark = pytest.mark.timeout(240)

HOUR = 3600.0


@pytest.fixture(params=["files", pytest.param("servers", marks=[pytest.mark.redis, pytest.mark.postgres])])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on SQLite and files, and one on PostgreSQL and Redis."""
    if request.param == "files":
        with fleet(tmp_path) as on_files:
            yield on_files
        return
    with (
        own_schema(postgres_url()) as store,
        empty_redis(f"{redis_url().rsplit('/', 1)[0]}/8") as broker,
        fleet(tmp_path, store=store, broker=broker) as on_servers,
    ):
        yield on_servers


@pytest.mark.parametrize(
    ("workers", "beat"),
    [((0.0, 300.0), 0.0), ((-170.0, 0.0), -30.0)],
    ids=str,
)
def test_clocks_that_are_apart(made: Fleet, workers: tuple[float, float], beat: float) -> None:
    clocks.apart(made, Crowd(contacts=200, texts=20), workers, beat)


@pytest.mark.parametrize("seconds", [{1: HOUR, 2: HOUR}, {0: -HOUR, 1: -HOUR}], ids=str)
def test_clocks_that_are_set_while_the_fleet_works(made: Fleet, seconds: dict[int, float]) -> None:
    clocks.jumps(made, Crowd(contacts=200, texts=20), seconds)
