"""The fleet's clock in one process: what it believes, and what it does not notice."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from worker.core import clock
from worker.core.clock import FleetClock, Measured, describe_clock, steady_seconds

MOMENT = timedelta(seconds=1)


def store_at(seconds: float, error: float = 0.001) -> Measured:
    """The measurement of a store whose clock is ``seconds`` ahead of the real time."""
    return Measured(time.time() + seconds - steady_seconds(), error)


@pytest.mark.parametrize(
    ("ahead", "error", "believed"),
    [
        (300.0, 0.001, 300.0),
        (-170.0, 0.001, -170.0),
        (0.5, 0.001, 0.5),
        (0.02, 0.001, 0.0),  # our own clock is finer than that
        (2.0, 5.0, 0.0),  # an answer that took ten seconds proves nothing
        (300.0, 5.0, 300.0),
    ],
)
def test_the_store_is_believed_as_far_as_it_was_measured(ahead: float, error: float, believed: float) -> None:
    mine = FleetClock()
    assert not mine.is_measured
    mine.follow(store_at(ahead, error))
    assert mine.is_measured
    assert mine.machine_is_ahead == pytest.approx(-believed, abs=0.05)
    assert abs(mine.now() - datetime.now(UTC) - timedelta(seconds=believed)) < MOMENT


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_nobody_who_sets_the_machine_s_clock_changes_the_time(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, real = FleetClock(), time.time
    mine.follow(store_at(0))
    assert not mine.is_due()
    before = mine.now()
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    assert abs(mine.now() - before) < MOMENT
    assert mine.machine_is_ahead == pytest.approx(jump, abs=0.5)
    assert mine.is_due(), "the store is asked again at once"
    mine.follow(Measured(real() - steady_seconds(), 0.001))
    assert abs(mine.now() - before) < MOMENT
    assert not mine.is_due()


def test_it_is_measured_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, steady, real = FleetClock(), steady_seconds(), time.time()
    mine.follow(store_at(0))
    assert not mine.is_due()
    later = clock.MEASURE_EVERY_SECONDS + 1
    monkeypatch.setattr(clock, "steady_seconds", lambda: steady + later)
    monkeypatch.setattr(time, "time", lambda: real + later)
    assert mine.is_due()


@pytest.mark.parametrize(
    ("jump", "expiry", "start"),
    [
        (3600.0, -3600, 0),  # leases are judged by the old time, and given by the new one
        (-3600.0, 0, 3600),  # the other way round
        (0.5, 0, 0),  # drift
    ],
)
def test_leases_while_the_store_s_clock_has_just_been_set(
    jump: float, expiry: int, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = FleetClock()
    mine.follow(store_at(0))
    mine.follow(store_at(jump))
    now = mine.now()
    assert abs(mine.expiry(now) - now - timedelta(seconds=expiry)) < MOMENT
    assert abs(mine.lease_start(now) - now - timedelta(seconds=start)) < MOMENT
    steady = steady_seconds()
    monkeypatch.setattr(clock, "steady_seconds", lambda: steady + clock.GRACE_SECONDS + 1)
    assert mine.expiry(now) == now == mine.lease_start(now)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_is_set_there_and_back(jump: float) -> None:
    mine = FleetClock()
    for ahead in (0.0, jump, 0.0):
        mine.follow(store_at(ahead))
    now = mine.now()
    assert abs(mine.expiry(now) - now) < MOMENT  # leases from before the jumps are right again
    mine.follow(store_at(jump))
    mine.follow(store_at(2 * jump))
    moved = mine.lease_start(now) - mine.expiry(now)
    assert abs(moved - timedelta(seconds=2 * abs(jump))) < MOMENT


def test_the_first_measurement_is_no_jump() -> None:
    mine = FleetClock()
    mine.follow(store_at(3600))
    now = mine.now()
    assert mine.expiry(now) == now == mine.lease_start(now)


def test_a_child_of_a_fork_has_the_time_and_can_follow() -> None:
    mine = FleetClock()
    mine.follow(store_at(300))
    with mine._lock:  # as if another thread measured while this one forks
        child = os.fork()
        if child == 0:
            mine._after_fork()
            mine.follow(store_at(-100))
            os._exit(0 if abs(mine.machine_is_ahead - 100) < 1 else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("seconds", "words"), [(300.2, "300 s ahead of"), (-30.0, "30 s behind")])
def test_words_for_people(seconds: float, words: str) -> None:
    assert describe_clock(seconds) == words
