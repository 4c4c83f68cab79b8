"""What long work says about itself."""

from __future__ import annotations

import pytest

from worker.core.progress import progress_text

SAID = {
    # what: (done, total, seconds, text)
    "at the beginning": (0, 5000, 0, "reading: 0 of 5,000 (0%)"),
    "too early for an estimate": (50, 5000, 1, "reading: 50 of 5,000 (1%)"),
    "on the way": (1250, 5000, 60, "reading: 1,250 of 5,000 (25%), about 3 minutes left"),
    "nearly done": (4999, 5000, 60, "reading: 4,999 of 5,000 (99%), about 0 seconds left"),
    "done": (5000, 5000, 60, "reading: 5,000 of 5,000 (100%)"),
    "the total is not known": (1250, 0, 60, "reading: 1,250"),
    "more than there was": (5001, 5000, 60, "reading: 5,001"),
    "nothing to do": (0, 0, 60, "reading: 0"),
}


@pytest.mark.parametrize("what", SAID)
def test_progress_says_the_total_and_the_time_that_is_left(what: str) -> None:
    done, total, seconds, text = SAID[what]
    assert progress_text("reading", done, total, seconds) == text
