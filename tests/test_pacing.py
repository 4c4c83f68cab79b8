"""What VirtualText's answers do to an account's rate and to its breaker: pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pacing import (
    FAILURES_TO_OPEN,
    LONGEST_OPEN,
    SHORTEST_OPEN,
    SLOWEST,
    Breaker,
    after_answers,
    ceiling_now,
    lowered,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(("rate", "then"), [(100.0, 50.0), (3.0, 1.5), (2.0, SLOWEST), (1.0, SLOWEST), (0.0, SLOWEST)])
def test_a_429_halves_the_rate(rate: float, then: float) -> None:
    assert lowered(rate) == then


@pytest.mark.parametrize(
    ("seconds", "ceiling"),
    [
        (0, 50.0),
        (10, pytest.approx(55.0)),
        (100, 100.0),
        (1000, 550.0),
        (1499, pytest.approx(799.5)),
        (1500, None),
        (86_400, None),
    ],
)
def test_the_ceiling_rises_step_by_step_and_is_forgotten(seconds: int, ceiling: float | None) -> None:
    assert ceiling_now(50.0, NOON, NOON + timedelta(seconds=seconds)) == ceiling


def test_without_a_429_there_is_no_ceiling() -> None:
    assert ceiling_now(None, None, NOON) is None


def test_a_clock_that_is_behind_lowers_no_ceiling_further() -> None:
    assert ceiling_now(50.0, NOON, NOON - timedelta(minutes=5)) == 50.0


@pytest.mark.parametrize(
    ("before", "failed", "succeeded", "probe", "after", "seconds"),
    [
        (Breaker(), 0, 9, False, Breaker(), None),
        (Breaker(), 1, 0, False, Breaker(1, 0), None),
        (Breaker(4, 0), 1, 0, False, Breaker(0, 1), 15),
        (Breaker(), 5, 0, False, Breaker(0, 1), 15),
        (Breaker(), 25, 475, False, Breaker(), None),  # 5 % of a batch: bad luck
        (Breaker(), 300, 200, False, Breaker(0, 1), 15),  # most of a batch: an outage
        (Breaker(3, 0), 0, 1, False, Breaker(2, 0), None),
        (Breaker(0, 1), 1, 0, True, Breaker(0, 2), 30),
        (Breaker(0, 2), 1, 0, True, Breaker(0, 3), 60),
        (Breaker(0, 30), 1, 0, True, Breaker(0, 31), 600),
        (Breaker(0, 7), 0, 1, True, Breaker(), None),
        (Breaker(0, 3), 0, 0, True, Breaker(0, 0), None),  # a probe that was refused: it was served
    ],
)
def test_breaker(
    before: Breaker, failed: int, succeeded: int, probe: bool, after: Breaker, seconds: int | None
) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert after_answers(before, failed, succeeded, probe=probe) == (after, expected)


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.booleans()).filter(lambda one: one[0] + one[1] > 0),
        max_size=30,
    )
)
def test_the_breaker_always_opens_for_a_bounded_time_and_one_success_of_a_probe_closes_it(
    answers: list[tuple[int, int, bool]],
) -> None:
    breaker = Breaker()
    for failed, succeeded, probe in answers:
        breaker, open_for = after_answers(breaker, failed, succeeded, probe=probe)
        assert open_for is None or SHORTEST_OPEN <= open_for <= LONGEST_OPEN
        assert (open_for is not None) <= (failed > 0), "only failures open it"
        assert breaker.failures < FAILURES_TO_OPEN
    assert after_answers(breaker, 0, 1, probe=True) == (Breaker(), None)
