"""One formula for every wait before a retry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.backoff import Backoff

HALF_MINUTE_TO_HALF_HOUR = Backoff(30, 1800)


@pytest.mark.parametrize(
    ("backoff", "attempt", "jitter", "seconds"),
    [
        (HALF_MINUTE_TO_HALF_HOUR, 1, 0.0, 30),
        (HALF_MINUTE_TO_HALF_HOUR, 2, 0.0, 60),
        (HALF_MINUTE_TO_HALF_HOUR, 7, 0.0, 1800),
        (HALF_MINUTE_TO_HALF_HOUR, 1, 1.0, 15),
        (HALF_MINUTE_TO_HALF_HOUR, 2, 0.5, 45),
        (HALF_MINUTE_TO_HALF_HOUR, 0, 0.0, 30),
        (Backoff(1, 1000, factor=4), 3, 0.0, 16),
    ],
)
def test_the_wait_grows_up_to_its_limit(backoff: Backoff, attempt: int, jitter: float, seconds: float) -> None:
    assert backoff.seconds(attempt, jitter) == seconds
    assert backoff.wait(attempt, jitter).total_seconds() == seconds


@given(
    st.floats(0.1, 100),
    st.floats(100, 10_000),
    st.floats(1, 10),
    st.integers(1, 100_000),
    st.floats(0, 1),
)
def test_no_wait_is_shorter_than_half_the_first_or_longer_than_the_longest(
    first: float, longest: float, factor: float, attempt: int, jitter: float
) -> None:
    backoff = Backoff(first, longest, factor)
    assert first / 2 <= backoff.seconds(attempt, jitter) <= longest
    assert backoff.seconds(attempt) <= backoff.seconds(attempt + 1)
