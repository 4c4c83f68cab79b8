"""The fault scenarios, small: real processes, real kills. ``bench/faults.py`` runs them in full."""

from __future__ import annotations

import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults import hostile, scenarios
from tests.faults.chaos import chaos
from tests.faults.crowd import Crowd, verify
from tests.faults.servers import OwnPostgres, OwnRedis, empty_redis, own_schema
from tests.harness import fleet
from tests.services import postgres_url, redis_url

pytestmark = pytest.mark.timeout(300)


def test_a_worker_that_is_killed_again_and_again(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        scenarios.kill(made, Crowd(contacts=300, texts=40), kills=2)


@pytest.mark.redis
@pytest.mark.postgres
def test_two_workers_and_many_syncs_at_once_on_servers(tmp_path: Path) -> None:
    with (
        own_schema(postgres_url()) as store,
        empty_redis(f"{redis_url().rsplit('/', 1)[0]}/8") as broker,
        fleet(tmp_path, store=store, broker=broker) as made,
    ):
        figures = scenarios.two(made, Crowd(contacts=600, texts=30))
    assert figures["of these found it taken"] != 0


def test_two_workers_and_many_syncs_at_once_on_files(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        figures = scenarios.two(made, Crowd(contacts=600, texts=30))
    assert figures["of these found it taken"] != 0


def test_answers_that_are_lost_after_the_write(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        figures = scenarios.dropped_answers(made, Crowd(contacts=150, texts=60), share=0.1)
    assert all(figures[f"answers lost to {endpoint}"] != 0 for endpoint in ("create", "update", "send"))


def test_a_stop_in_the_middle_gives_everything_back(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        scenarios.warm_stop(made, Crowd(contacts=200, texts=100))


@pytest.mark.parametrize(
    ("when", "number"),
    [
        ("reading", signal.SIGTERM),
        ("contacts", signal.SIGTERM),
        ("texts", signal.SIGTERM),
        ("texts", signal.SIGINT),
        ("texts", signal.SIGHUP),
    ],
)
def test_a_signal_to_a_sync_by_hand_gives_everything_back(tmp_path: Path, when: str, number: signal.Signals) -> None:
    crowd = Crowd(contacts=60_000 if when == "reading" else 200 if when == "contacts" else 20, texts=60)
    with fleet(tmp_path) as made:
        figures = scenarios.interrupted_sync(made, crowd, number, when)
        assert (figures["exit code"], figures["rows left claimed"], figures["unknown"]) == (128 + number, 0, 0), figures
        assert figures["the next sync"] == "completes"
        if when != "reading":  # 60,000 contacts are more than a test waits for
            verify(made, crowd)


def test_a_rolling_restart_loses_nothing_and_makes_nothing_unknown(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        scenarios.rolling(made, Crowd(contacts=60, texts=30, jobs=30))


@pytest.mark.postgres
def test_a_worker_that_stands_still_is_taken_over_and_can_do_no_harm_when_it_wakes(tmp_path: Path) -> None:
    with own_schema(postgres_url()) as store:
        # Where it stands still in a transaction, the server ends that: here after a moment, not after a minute.
        impatient = f"{store}%20-cidle_in_transaction_session_timeout%3D1s"
        with fleet(tmp_path, store=impatient) as made:
            scenarios.stuck(made, Crowd(contacts=1500, texts=10))


@pytest.mark.redis
@pytest.mark.postgres
def test_everything_at_once() -> None:
    with ExitStack() as stack:
        # Not pytest's folder, which another user, as PostgreSQL has to be, may be locked out of at any time.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-chaos-")))
        redis, postgres = OwnRedis(folder), OwnPostgres(folder)
        for server in (redis, postgres):
            stack.callback(server.kill)
            server.start()
        made = stack.enter_context(fleet(folder, store=postgres.url, broker=redis.url))
        crowd = Crowd(contacts=150, texts=40, jobs=20)
        figures = chaos(made, crowd, [redis, postgres], workers=2, kills=2, timeouts=(0.5, 1.5))
    assert figures["texts whose answer was spoilt"] != 0


def test_an_import_in_slices_waits_for_approval_from_the_limit_on(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        figures = scenarios.sliced_import(made)
    assert (figures["texted without approval"], figures["waited"]) == (96, 384)


@pytest.mark.postgres
def test_an_import_in_slices_waits_on_postgresql(tmp_path: Path) -> None:
    with own_schema(postgres_url()) as store, fleet(tmp_path, store=store) as made:
        figures = scenarios.sliced_import(made)
    assert (figures["texted without approval"], figures["waited"]) == (96, 384)


def test_hostile_rows_lose_nothing(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        figures = hostile.hostile_rows(made)
    assert figures["rejected, each with line and reason"] == 100
