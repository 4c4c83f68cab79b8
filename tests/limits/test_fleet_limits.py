"""Limits of the whole fleet: two real workers on one Redis, counted where the requests arrive."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.crowd import FIRST_OF_PEOPLE, Crowd, write_export
from tests.faults.scenarios import CONFIGURATION, settle, told
from tests.faults.servers import database_of_our_own
from tests.harness import Fleet, fleet, until
from tests.services import redis_url

pytestmark = pytest.mark.redis


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Fleet]:
    with database_of_our_own(redis_url()) as broker, fleet(tmp_path, broker=broker) as running:
        yield running


def begin(made: Fleet, account: str = "") -> None:
    """Two workers and a scheduler, with nothing to do."""
    made.configure(
        CONFIGURATION, account=f"concurrency = 8\n{account}", policy="blast_limit = 100000", read_timeout=20.0
    )
    write_export(made.folder / "crm.csv", 0, 1)
    write_export(made.folder / "people.csv", FIRST_OF_PEOPLE, 1)
    done = made.run("sync")
    assert done.exit_code == 0, done.output
    workers = [made.start("worker") for _ in range(2)]
    made.start("beat")
    until("both workers", lambda: all(b"worker ready" in made.log(worker) for worker in workers))


def work(made: Fleet, crowd: Crowd, *faults: dict[str, Any]) -> None:
    """From here on these things go wrong, requests are counted anew, and there is work."""
    made.sandbox.remove_faults()
    made.sandbox.forget_requests()
    for fault in faults:
        made.sandbox.add_fault(**fault)
    crowd.write(made.folder)


def most_in_a_second(made: Fleet, *endpoints: str) -> int:
    """The most requests to these endpoints within any second, by the server's own log."""
    times = sorted(one.at for endpoint in endpoints for one in made.sandbox.requests(endpoint))
    return max(sum(first <= at < first + 1 for at in times[index:]) for index, first in enumerate(times))


def test_two_workers_keep_the_rates_and_the_number_in_flight(made: Fleet) -> None:
    begin(made, "requests_per_second = 30.0\ncreates_per_second = 25.0\ntexts_per_second = 8.0\nmax_in_flight = 5")
    work(made, crowd := Crowd(45, 12))
    settle(made, crowd)
    assert 15 < most_in_a_second(made, "create") <= 25
    assert 4 < most_in_a_second(made, "send") <= 8
    assert most_in_a_second(made, "create", "send") <= 30
    work(made, crowd := Crowd(75, 12), {"action": "delay", "delay_ms": 400})
    settle(made, crowd)
    assert 3 <= made.sandbox.summary()["peak_in_flight"] <= 5


def test_a_storm_of_429_and_outages_end_well(made: Fleet) -> None:
    begin(made)
    limit = {"action": "answer", "status": 429, "above": 30, "headers": {"Retry-After": "1"}}
    work(made, crowd := Crowd(90, 10), limit | {"endpoint": "create"}, limit | {"endpoint": "send"})
    settle(made, crowd)
    answers = made.sandbox.counts()
    served = {endpoint: sum(n for status, n in answers[endpoint].items() if status != "429") for endpoint in answers}
    assert (served["create"], served["send"]) == (crowd.contacts + crowd.texts - 1, crowd.texts)
    assert 0 < answers["create"]["429"] < crowd.contacts / 2
    for status, column, crowd in ((401, "stopped_at IS NOT NULL", Crowd(105, 20)), (503, "trips > 0", Crowd(120, 20))):
        _one_request_tries(made, crowd, status, column)


def _one_request_tries(made: Fleet, crowd: Crowd, status: int, column: str) -> None:
    """An outage; when it may be over, one single request of the whole fleet finds out."""
    outage = {"action": "answer", "status": status}
    work(made, crowd, outage | {"endpoint": "create"}, outage | {"endpoint": "send"})
    until("the account to be left alone", lambda: made.query(f"SELECT 1 FROM account_state WHERE {column}"))
    until("what both had begun to end", lambda: _is_quiet(made))
    work(made, crowd, {"endpoint": "*", "action": "delay", "delay_ms": 2500})
    with contextlib.closing(sqlite3.connect(made.folder / "data" / "vtsync.sqlite3", timeout=30)) as store, store:
        # As if the time until the next try had passed.
        store.execute("UPDATE account_state SET paused_until = '2026-01-01 00:00:00'")
    until("somebody to try", lambda: made.sandbox.summary()["peak_in_flight"])
    time.sleep(1.5)  # ticks of both workers
    assert (made.sandbox.summary()["peak_in_flight"], made.sandbox.requests()) == (1, [])
    made.sandbox.remove_faults()
    until("all contacts", lambda: told(made) >= crowd.contacts)
    assert made.query(f"SELECT count(*) FROM account_state WHERE {column}")[0][0] == 0


def _is_quiet(made: Fleet) -> bool:
    before = len(made.sandbox.requests())
    time.sleep(1.2)  # longer than a tick
    return len(made.sandbox.requests()) == before and made.sandbox.summary()["in_flight"] == 0
