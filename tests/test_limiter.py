"""Rates and requests in flight, counted by one process or by the fleet."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from tests.services import redis_url
from worker.limiter import Limiter, Rate, window


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def fleet(request: pytest.FixtureRequest) -> list[Limiter]:
    """Limiters that share their counts: of one process, or each with connections of its own."""
    if request.param == "memory":
        return [Limiter()] * 3
    return [Limiter(redis_url()) for _ in range(3)]


@pytest.fixture
def account() -> Iterator[str]:
    return f"test-{uuid.uuid4().hex}"


def granted(limiter: Limiter, account: str, wanted: int, *rates: float, hold: float = 0) -> int:
    limits = [Rate(f"{account}:{number}", rate) for number, rate in enumerate(rates)]
    with limiter.allow(account, limits, wanted=wanted, at_once=4, most_in_flight=None, seconds=5) as allowance:
        time.sleep(hold)
        assert allowance or allowance.wait > 0, "a refusal says when to ask again"
        return allowance.requests


@pytest.mark.parametrize(
    ("per_second", "requests", "seconds"),
    [(100.0, 100, 1), (1.0, 1, 1), (2.5, 2, 1), (0.5, 1, 2), (0.3, 1, 4), (0.01, 1, 100)],
)
def test_the_window_of_a_rate(per_second: float, requests: int, seconds: int) -> None:
    assert (window(per_second).amount, window(per_second).get_expiry()) == (requests, seconds)


def test_the_fleet_gets_what_the_rate_allows_and_no_more(fleet: list[Limiter], account: str) -> None:
    assert granted(fleet[0], account, 30, 50) == 30
    assert granted(fleet[1], account, 30, 50) == 20
    assert granted(fleet[2], account, 30, 50) == 0


def test_the_lowest_of_several_rates_decides(fleet: list[Limiter], account: str) -> None:
    assert granted(fleet[0], account, 30, 50, 7) == 7
    assert granted(fleet[1], account, 30, 50, 7) == 0
    assert granted(fleet[1], account, 100, 50) == 43, "only what was granted counts"


def test_without_a_rate_everything_is_granted(fleet: list[Limiter], account: str) -> None:
    assert granted(fleet[0], account, 5000) == 5000


def test_many_threads_share_a_rate_exactly(fleet: list[Limiter], account: str) -> None:
    counts: list[int] = []
    threads = [
        threading.Thread(
            target=lambda mine: counts.extend(granted(mine, account, 3, 100) for _ in range(15)),
            args=(fleet[number % 3],),
        )
        for number in range(8)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    windows = int(time.monotonic() - began) + 1
    assert 0 < sum(counts) <= 100 * windows


def test_places_in_flight_are_shared(fleet: list[Limiter], account: str) -> None:
    def places(limiter: Limiter) -> int:
        with limiter.allow(account, [], wanted=9, at_once=4, most_in_flight=6, seconds=5) as allowance:
            return allowance.at_once

    with fleet[0].allow(account, [], wanted=9, at_once=4, most_in_flight=6, seconds=5) as first:
        assert first.at_once == 4
        with fleet[1].allow(account, [], wanted=9, at_once=4, most_in_flight=6, seconds=5) as second:
            assert second.at_once == 2
            assert places(fleet[2]) == 0
        assert places(fleet[2]) == 2
    assert places(fleet[2]) == 4


def test_places_of_a_process_that_vanished_are_free_again(fleet: list[Limiter], account: str) -> None:
    vanished = fleet[0].allow(account, [], wanted=9, at_once=4, most_in_flight=4, seconds=0.3)
    vanished.__enter__()
    with fleet[1].allow(account, [], wanted=9, at_once=4, most_in_flight=4, seconds=5) as allowance:
        assert not allowance
    time.sleep(0.4)
    with fleet[1].allow(account, [], wanted=9, at_once=4, most_in_flight=4, seconds=5) as allowance:
        assert allowance.at_once == 4


def test_requests_are_seen_by_all(fleet: list[Limiter], account: str) -> None:
    with fleet[0].allow(account, [], wanted=500, at_once=4, most_in_flight=None, seconds=5) as allowance:
        allowance.use(40)
    assert 0 < fleet[1].seen(account) <= 20


def test_a_redis_that_is_away_stops_nobody() -> None:
    limiter = Limiter("redis://127.0.0.1:1/0")
    assert granted(limiter, "main", 30, 50) == 30
    assert granted(limiter, "main", 30, 50) == 20, "the process counts for itself meanwhile"
