"""Alerts while the workers that evaluate and deliver them are killed: each begins once and ends once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import orjson
import pytest
from sqlalchemy import NullPool, create_engine, text

from tests.alerts.conftest import SECRET, Heard, hears
from tests.faults.crowd import write_export
from tests.faults.servers import own_schema
from tests.harness import Fleet, fleet, until
from tests.services import postgres_url

pytestmark = pytest.mark.timeout(300)

KILLS = 5
CONNECTIONS = ("crm", "shop")
CONFIGURATION = """
[alerts.channels.hook]
kind = "webhook"
url = "{url}"
secret = {{ env = "TEST_HOOK_SECRET" }}
events = "sync_failed"

[connections.crm]
adapter = "csv"
account = "main"
schedule = "1s"
options = {{ path = "crm.csv", settle_seconds = 0 }}

[connections.shop]
adapter = "csv"
account = "main"
schedule = "1s"
options = {{ path = "shop.csv", settle_seconds = 0 }}
"""
DUE = "UPDATE chore SET next_run_at = NULL WHERE name = 'alerts'"
LEASE_ENDED = "UPDATE chore SET lease_owner = NULL, lease_until = NULL WHERE name = 'alerts'"
LONG_GONE = "UPDATE alert SET seen_at = '2026-01-01 00:00:00+00:00' WHERE ended_at IS NULL"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        store = stack.enter_context(own_schema(postgres_url())) if request.param == "postgres" else None
        yield stack.enter_context(fleet(tmp_path, store=store))


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    monkeypatch.setenv("TEST_HOOK_SECRET", SECRET)
    with hears(signed=True) as heard:
        yield heard


def test_alerts_begin_once_and_end_once_although_workers_are_killed(made: Fleet, hook: Heard) -> None:
    made.configure(CONFIGURATION.format(url=hook.url))
    assert made.run("migrate").exit_code == 0
    made.start("beat")
    _while_workers_are_killed(made, "began", seed=1)  # there are no files, so the syncs fail
    for name in CONNECTIONS:
        write_export(made.folder / f"{name}.csv", 0, 3)
    _while_workers_are_killed(made, "ended", seed=2)
    assert _noted(made, "began") == _noted(made, "ended") == Counter(CONNECTIONS)
    assert _heard(hook, "began") == _heard(hook, "ended") == set(CONNECTIONS)


def _while_workers_are_killed(fleet: Fleet, part: str, seed: int) -> None:
    """Evaluate again and again, and kill the worker in the middle, until every alert has been told of and delivered."""
    rng = random.Random(seed)
    for _ in range(KILLS):
        worker = fleet.start("worker")
        until("the worker", lambda worker=worker: b"worker ready" in fleet.log(worker))
        _make_due(fleet, part)
        time.sleep(rng.uniform(0, 1.5))
        fleet.kill(worker)
        _write(fleet, LEASE_ENDED)
    worker = fleet.start("worker")
    until(f"all notices of what {part}", lambda: _make_due(fleet, part) or _delivered(fleet, part), 90)
    fleet.kill(worker)


def _make_due(fleet: Fleet, part: str) -> None:
    """Let a minute pass for the evaluation, and the time after which what is gone has ended."""
    _write(fleet, DUE)
    if part == "ended":
        _write(fleet, LONG_GONE)
    time.sleep(0.5)


def _write(fleet: Fleet, statement: str) -> None:
    engine = create_engine(fleet.store or f"sqlite:///{fleet.folder / 'data' / 'vtsync.sqlite3'}", poolclass=NullPool)
    with engine.begin() as db:
        db.execute(text(statement))
    engine.dispose()


def _delivered(fleet: Fleet, part: str) -> bool:
    waiting = fleet.query("SELECT count(*) FROM forward WHERE type = 'alert.notice' AND state <> 'done'")
    return bool(waiting) and waiting[0][0] == 0 and set(_noted(fleet, part)) == set(CONNECTIONS)


def _noted(fleet: Fleet, part: str) -> Counter[str]:
    """Count in how many notices each connection stands."""
    payloads = fleet.query("SELECT payload FROM forward WHERE type = 'alert.notice'")
    return _connections([orjson.loads(row[0]) for row in payloads], part)


def _heard(hook: Heard, part: str) -> set[str]:
    return set(_connections(hook.bodies, part))


def _connections(notices: list[dict[str, dict[str, list[dict[str, str]]]]], part: str) -> Counter[str]:
    return Counter(
        name for notice in notices for one in notice["data"][part] for name in CONNECTIONS if name in one["found"]
    )
