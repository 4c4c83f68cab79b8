"""Cron lines: what is accepted means the same to Celery's crontab, and the rest is refused with the reason."""

from __future__ import annotations

import pytest
from celery.schedules import crontab
from hypothesis import given
from hypothesis import strategies as st

from config.cron import cron_problem


@pytest.mark.parametrize(
    "line",
    [
        "* * * * *",
        "*/15 8-18 * * 1-5",
        "0,30 9 1,15 * *",
        "5-55/10 0 * * *",
        "0 9 * * mon-fri",
        "0 9 * * Sun,sat",
        "0 0 29 2 *",
        "0 0 31 1,2 *",
        "  0  0\t1 1 0 ",
    ],
)
def test_good_lines(line: str) -> None:
    assert cron_problem(line) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "0 fields; it needs five"),
        ("* * * *", "4 fields; it needs five"),
        ("* * * * * *", "6 fields; it needs five"),
        ("60 * * * *", 'minute "60" is not between 0 and 59'),
        ("* 24 * * *", 'hour "24" is not between 0 and 23'),
        ("* * 0 * *", 'day of month "0" is not between 1 and 31'),
        ("* * * 13 *", 'month "13" is not between 1 and 12'),
        ("* * * jan *", 'month "jan" is not between 1 and 12'),
        ("* * * * 7", 'day of week "7" is not between 0 and 6'),
        ("* * * * foo", 'day of week "foo" is not between'),
        ("*/0 * * * *", "a step of 0"),
        ("5/10 * * * *", "a step without a range"),
        ("30-10 * * * *", "runs backwards"),
        ("1,,2 * * * *", "is not *, a number"),
        ("1- * * * *", "is not *, a number"),
        ("-1 * * * *", "is not *, a number"),
        ("@ * * * *", "is not *, a number"),
        ("\u0661 * * * *", "is not between 0 and 59"),
        ("0 0 30 2 *", "never run"),
        ("0 0 31 2,4,6,9,11 *", "never run"),
    ],
)
def test_bad_lines(line: str, words: str) -> None:
    assert words in (cron_problem(line) or "")


PARTS = st.from_regex(r"(\*|[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2}|mon|tue-fri)(/[0-9]{1,2})?", fullmatch=True)
FIELDS = st.lists(PARTS, min_size=1, max_size=2).map(",".join)


@given(st.lists(FIELDS, min_size=5, max_size=5))
def test_whatever_is_accepted_celery_accepts(fields: list[str]) -> None:
    if cron_problem(" ".join(fields)) is None:
        minute, hour, day, month, weekday = fields
        parsed = crontab(minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=weekday)
        assert parsed.minute
        assert parsed.day_of_week


@given(st.text(max_size=40))
def test_no_text_breaks_it(line: str) -> None:
    assert cron_problem(line) is None or "cron line" in str(cron_problem(line))
