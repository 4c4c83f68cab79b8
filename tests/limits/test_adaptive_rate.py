"""What VirtualText's answers do to an account's rate and to its breaker: pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.limits.adaptive_rate import (
    BREAKER_BACKOFF,
    FAILURES_TO_OPEN,
    SLOWEST,
    FailureCounter,
    ceiling_now,
    lowered_rate,
    rate_at_429,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(("rate", "then"), [(100.0, 70.0), (3.0, 2.1), (1.2, SLOWEST), (1.0, SLOWEST), (0.0, SLOWEST)])
def test_a_429_lowers_the_rate(rate: float, then: float) -> None:
    assert lowered_rate(rate) == pytest.approx(then)


@pytest.mark.parametrize(
    ("seconds", "ceiling"), [(0, 70.0), (1, 77.0), (10, 140.0), (149, 1113.0), (150, None), (86_400, None)]
)
def test_the_ceiling_rises_step_by_step_and_is_forgotten(seconds: int, ceiling: float | None) -> None:
    assert ceiling_now(70.0, NOON, NOON + timedelta(seconds=seconds)) == (ceiling and pytest.approx(ceiling))


@pytest.mark.parametrize(
    ("seen", "ceiling", "lowered_to", "rate"),
    [
        (100.0, None, None, 100.0),  # the first 429
        (5.0, 70.0, 70.0, 70.0),  # held back by the ceiling, or by its own pause: lowered from there
        (90.0, 140.0, 70.0, 90.0),  # the ceiling has risen beyond what is asked
        (500.0, 140.0, 70.0, 140.0),  # counted before they were made
    ],
)
def test_what_a_429_came_at(seen: float, ceiling: float | None, lowered_to: float | None, rate: float) -> None:
    assert rate_at_429(seen, ceiling, lowered_to) == rate


def test_rare_429s_that_are_not_about_the_rate_end_at_a_steady_one() -> None:
    ceiling, now = 70.0, NOON
    for _ in range(200):
        now += timedelta(seconds=20)
        ceiling = lowered_rate(rate_at_429(100.0, ceiling_now(ceiling, now - timedelta(seconds=20), now), ceiling))
        assert 60 < ceiling < 100


def test_without_a_429_there_is_no_ceiling() -> None:
    assert ceiling_now(None, None, NOON) is None


def test_a_clock_that_is_behind_lowers_no_ceiling_further() -> None:
    assert ceiling_now(50.0, NOON, NOON - timedelta(minutes=5)) == 50.0


@pytest.mark.parametrize(("trips", "seconds"), [(1, 15), (2, 30), (3, 60), (6, 480), (7, 600), (1000, 600)])
def test_the_breaker_stays_open_longer_each_time(trips: int, seconds: int) -> None:
    assert BREAKER_BACKOFF.wait(trips) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("answers", "opens"),
    [
        ("F" * 5, 1),
        ("F" * 4, 0),
        ("F" * 10, 2),
        ("FFFFSF" * 2, 1),
        ("FS" * 50, 0),
        ("SSSSSSSF" * 20, 0),
        ("FFS" * 5, 1),
        ("FFFF--F", 1),  # neither a failure nor a success
    ],
)
def test_failures_open_it_unless_successes_outweigh_them(answers: str, opens: int) -> None:
    counter = FailureCounter()
    assert sum(counter.add(failed={"F": True, "S": False}.get(answer)) for answer in answers) == opens


@given(st.lists(st.booleans(), max_size=200))
def test_it_opens_only_at_a_failure_and_after_five_of_them(answers: list[bool]) -> None:
    counter, since = FailureCounter(), 0
    for failed in answers:
        since += failed
        if counter.add(failed=failed):
            assert failed
            assert since >= FAILURES_TO_OPEN
            since = 0
