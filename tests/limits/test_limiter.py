"""Rates and requests in flight, counted by one process or by the fleet."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.services import REDISES, redis_of, redis_url
from worker.broker.urls import read_broker_url, redis_pool
from worker.limits.limiter import OBSERVED_SECONDS, PREFIX, SPACING, Limiter, Rate


@pytest.fixture(params=["memory", *REDISES])
def fleet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Limiter]:
    """Limiters that share their counts: of one process, or each with connections of its own."""
    if request.param == "memory":
        return [Limiter()] * 3
    url = redis_of(request.param, monkeypatch)
    return [Limiter(url) for _ in range(3)]


@pytest.fixture
def account() -> Iterator[str]:
    return f"test-{uuid.uuid4().hex}"


def test_turns_are_spaced_evenly_over_the_fleet(fleet: list[Limiter], account: str) -> None:
    rate = [Rate(account, 20)]
    began = time.monotonic()  # a turn that is asked for later is nearer
    waits = [fleet[number % 3].turn(rate, 10) for number in range(8)]
    assert waits[0] == 0
    for number, wait in enumerate(waits):
        assert wait is not None
        assert wait == pytest.approx(number * SPACING / 20, abs=0.05 + time.monotonic() - began)


def test_the_slowest_of_several_rates_decides(fleet: list[Limiter], account: str) -> None:
    fast, slow = Rate(f"{account}:all", 100), Rate(f"{account}:text", 2)
    assert fleet[0].turn([fast, slow], 10) == 0
    assert fleet[1].turn([fast, slow], 10) == pytest.approx(SPACING / 2, abs=0.1)
    assert fleet[2].turn([fast], 0.1) is None, "a turn counts against every rate that it was taken for"


def test_a_turn_that_is_too_far_off_is_not_taken(fleet: list[Limiter], account: str) -> None:
    rate = [Rate(account, 1)]
    assert fleet[0].turn(rate, 0.5) == 0
    assert [fleet[number % 3].turn(rate, 0.5) for number in range(5)] == [None] * 5
    assert fleet[1].turn(rate, 5) == pytest.approx(SPACING, abs=0.2)


def test_a_rate_that_changes_counts_from_the_next_turn_on(fleet: list[Limiter], account: str) -> None:
    assert fleet[0].turn([Rate(account, 1000)], 10) == 0
    assert fleet[1].turn([Rate(account, 0.1)], 10) == pytest.approx(0, abs=0.01)
    assert fleet[2].turn([Rate(account, 1000)], 1) is None


def test_without_a_rate_every_request_has_its_turn(fleet: list[Limiter]) -> None:
    assert [fleet[0].turn([], 0) for _ in range(100)] == [0.0] * 100


def test_no_second_is_fuller_than_its_rate_however_many_threads_ask(fleet: list[Limiter], account: str) -> None:
    turns: list[float] = []

    def ask(mine: Limiter) -> None:
        for _ in range(10):
            wait = mine.turn([Rate(account, 50)], 10)
            assert wait is not None
            turns.append(time.monotonic() + wait)

    threads = [threading.Thread(target=ask, args=(fleet[number % 3],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turns.sort()
    assert all(later - first >= 1 for first, later in zip(turns, turns[50:], strict=False))
    assert turns[-1] - turns[0] < 80 * SPACING / 50 + 0.5


def slots(limiter: Limiter, account: str, most: int) -> int:
    with limiter.in_flight(account, wanted=4, most=most, seconds=5) as taken:
        return taken


def test_slots_in_flight_are_shared(fleet: list[Limiter], account: str) -> None:
    with fleet[0].in_flight(account, wanted=4, most=6, seconds=5) as first:
        assert first == 4
        with fleet[1].in_flight(account, wanted=4, most=6, seconds=5) as second:
            assert second == 2
            assert slots(fleet[2], account, 6) == 0
        assert slots(fleet[2], account, 6) == 2
    assert slots(fleet[2], account, 6) == 4


def test_slots_of_a_process_that_vanished_are_free_again(fleet: list[Limiter], account: str) -> None:
    vanished = fleet[0].in_flight(account, wanted=4, most=4, seconds=0.3)
    vanished.__enter__()
    assert slots(fleet[1], account, 4) == 0
    time.sleep(0.4)
    assert slots(fleet[1], account, 4) == 4


def test_a_limit_a_minute_admits_that_many_at_once_and_then_says_when_to_come_again(
    fleet: list[Limiter], account: str
) -> None:
    assert [fleet[number % 3].admit(account, 6) for number in range(7)] == [0.0] * 6 + [pytest.approx(10.0)]
    assert fleet[0].admit(f"{account}-other", 6) == 0


def test_what_was_admitted_refills_evenly(fleet: list[Limiter], account: str) -> None:
    admitted = [fleet[0].admit(account, 600) for _ in range(600)]
    assert admitted == [0.0] * 600
    time.sleep(0.25)
    assert 1 <= sum(fleet[1].admit(account, 600) == 0 for _ in range(50)) < 50


def test_requests_are_forgotten_after_a_few_seconds(fleet: list[Limiter], account: str) -> None:
    fleet[0].note(account, 40)
    time.sleep(1.1)
    fleet[0].note(account, 20)
    assert 10 <= fleet[2].observed_rate(account) <= 30
    time.sleep(OBSERVED_SECONDS)
    assert fleet[1].observed_rate(account) <= 10


def test_requests_are_observed_by_all(fleet: list[Limiter], account: str) -> None:
    fleet[0].note(account, 40)
    assert 0 < fleet[1].observed_rate(account) <= 20


@pytest.mark.parametrize("kind", REDISES)
def test_every_key_in_redis_is_ours_and_ends_by_itself(
    kind: str, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    url = redis_of(kind, monkeypatch)
    limiter = Limiter(url)
    assert limiter.turn([Rate(account, 2)], 10) == 0
    assert limiter.admit(f"{account}:key", 60) == 0
    limiter.note(account, 3)
    with (
        limiter.in_flight(account, wanted=2, most=4, seconds=5),
        Redis.from_pool(redis_pool(read_broker_url(url), {})) as client,
    ):
        keys = [key for key in client.scan_iter(count=500) if account.encode() in key]
        assert len(keys) == 4, "the rate, the limit a minute, the requests seen, the slots: counted in Redis"
        for key in keys:
            assert key.startswith(f"{PREFIX}:".encode())
            assert 0 < client.pttl(key) <= 125_000, key


def test_a_redis_that_is_away_stops_nobody() -> None:
    limiter = Limiter("redis://127.0.0.1:1/0")
    assert limiter.turn([Rate("main", 1)], 0.5) == 0
    assert limiter.turn([Rate("main", 1)], 0.5) is None, "the process counts for itself meanwhile"


@pytest.mark.redis
def test_a_redis_whose_clock_was_set_back_stops_nobody(account: str) -> None:
    limiter, rate = Limiter(redis_url()), Rate(f"{account}:text", 1)
    redis = Redis.from_url(redis_url())
    second = int(redis.time()[0]) + 3600
    redis.set(f"{PREFIX}:turn:{rate.name}", second * 1_000_000)
    redis.hset(f"{PREFIX}:{account}:in-flight", "vanished", f"5:{second * 1000}")
    redis.hset(f"{PREFIX}:{account}:seen", str(second), 40)
    assert limiter.turn([rate], 1.0) == 0
    assert slots(limiter, account, 5) == 4
    limiter.note(account, 2)
    assert limiter.observed_rate(account) <= 1
