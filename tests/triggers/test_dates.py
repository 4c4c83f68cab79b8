"""When date triggers are due: tables, and what must hold for every date and zone."""

from __future__ import annotations

# ruff: noqa: DTZ001 - times without a zone are what CRMs have
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.dates import DateRule, due, occurrence_date

NEW_YORK, CHICAGO, LONDON = "America/New_York", "America/Chicago", "Europe/London"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY_BEFORE, AT_TEN = DateRule(timedelta(hours=-24)), DateRule(at=time(10))


def local(year: int, month: int, day: int, hour: int = 0, minute: int = 0, zone: str = NEW_YORK) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("when", "rule", "zones", "at"),
    [
        # an appointment, the day before
        (datetime(2026, 3, 5, 10), DAY_BEFORE, [NEW_YORK], local(2026, 3, 4, 10)),
        (datetime(2026, 3, 5, 15, tzinfo=UTC), DAY_BEFORE, [NEW_YORK], local(2026, 3, 4, 10)),
        (datetime(2026, 3, 5, 10), DAY_BEFORE, [CHICAGO], local(2026, 3, 4, 10, zone=CHICAGO)),
        # over the change to summer time (8 March 2026): the same hour on the clock
        (datetime(2026, 3, 8, 10), DAY_BEFORE, [NEW_YORK], local(2026, 3, 7, 10)),
        (datetime(2026, 3, 8, 14, tzinfo=UTC), DAY_BEFORE, [NEW_YORK], local(2026, 3, 7, 10)),
        # a time that the clocks skip comes after the gap; of one that they show twice the first counts
        (datetime(2026, 3, 8, 2, 30), DateRule(), [NEW_YORK], local(2026, 3, 8, 3, 30)),
        (datetime(2026, 11, 1, 1, 30), DateRule(), [NEW_YORK], datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
        # a day, at an hour
        (date(2026, 3, 5), AT_TEN, [NEW_YORK], local(2026, 3, 5, 10)),
        (date(2026, 3, 5), DateRule(timedelta(days=-2), time(18)), [NEW_YORK], local(2026, 3, 3, 18)),
        (datetime(2026, 3, 5, 1), DateRule(timedelta(hours=-2), time(18)), [NEW_YORK], local(2026, 3, 4, 18)),
        (date(2026, 3, 5), DateRule(timedelta(days=7)), [LONDON], datetime(2026, 3, 12, tzinfo=UTC)),
        # of several zones nobody's comes too early
        (date(2026, 3, 5), AT_TEN, [NEW_YORK, CHICAGO], local(2026, 3, 5, 10, zone=CHICAGO)),
        # past ones do nothing
        (datetime(2026, 2, 28, 10), DateRule(), [NEW_YORK], None),
        (datetime(2026, 3, 2, 10), DAY_BEFORE, [LONDON], None),
        (date(2026, 2, 1), DateRule(timedelta(days=30), time(9)), [LONDON], local(2026, 3, 3, 9, zone=LONDON)),
    ],
)
def test_once(when: date | datetime, rule: DateRule, zones: list[str], at: datetime | None) -> None:
    found = due(when, rule, zones, NOW)
    assert (None if found is None else found.at) == at


@pytest.mark.parametrize(
    ("born", "now", "at", "occurrence"),
    [
        (date(1980, 7, 4), NOW, local(2026, 7, 4, 10), "1980-07-04/2026"),
        (date(1980, 2, 1), NOW, local(2027, 2, 1, 10), "1980-02-01/2027"),
        (date(1980, 3, 1), local(2026, 3, 1, 9, 59), local(2026, 3, 1, 10), "1980-03-01/2026"),
        (date(1980, 3, 1), local(2026, 3, 1, 10), local(2027, 3, 1, 10), "1980-03-01/2027"),
        (date(2000, 2, 29), NOW, local(2027, 2, 28, 10), "2000-02-29/2027"),
        (date(2000, 2, 29), local(2027, 3, 1), local(2028, 2, 29, 10), "2000-02-29/2028"),
        (date(2030, 5, 1), NOW, None, ""),
    ],
)
def test_every_year(born: date, now: datetime, at: datetime | None, occurrence: str) -> None:
    found = due(born, DateRule(at=time(10), every_year=True), [NEW_YORK], now)
    assert (found and found.at, found.occurrence if found else "") == (at, occurrence)
    if found is not None:
        assert occurrence_date(f"trigger:t:crm:17:{found.occurrence}", every_year=True) == born


ZONES = st.lists(
    st.sampled_from([NEW_YORK, CHICAGO, LONDON, "Pacific/Honolulu", "Asia/Kolkata"]), min_size=1, max_size=3
)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))
RULES = st.builds(
    DateRule,
    st.timedeltas(timedelta(days=-30), timedelta(days=30)),
    st.none() | st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    st.booleans(),
)


@given(MOMENTS | MOMENTS.map(datetime.date) | MOMENTS.map(lambda one: one.replace(tzinfo=None)), RULES, ZONES, MOMENTS)
def test_it_is_always_in_the_future_and_never_before_any_zones_hour(
    when: date | datetime, rule: DateRule, zones: list[str], now: datetime
) -> None:
    found = due(when, rule, zones, now)
    if found is None:
        assert not rule.every_year or (when.year > now.year), "what comes every year always comes again"
        return
    assert found.at > now
    assert found.at.tzinfo is UTC
    if rule.at is not None:
        clocks = [found.at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for zone in zones]
        assert any(clock.time() == rule.at or clock.dst() is None for clock in clocks)
    again = due(when, rule, zones, found.at)
    assert again is None or (rule.every_year and again.occurrence != found.occurrence), "each occurrence is due once"
