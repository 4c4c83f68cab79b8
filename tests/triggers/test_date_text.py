"""What each spelling of a date means, by region. A row is (text, in GB, in US, without a region)."""

from __future__ import annotations

# ruff: noqa: DTZ001 - times without a zone are what CRMs have
import contextlib
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Literal

import pytest
from babel import Locale
from babel.core import get_global
from babel.dates import format_date, format_datetime
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.conditions import holds
from worker.triggers.context import text_context
from worker.triggers.date_text import DateOrder, Moment, date_order, is_day, possible_dates, read_date
from worker.triggers.notation import locales_of
from worker.triggers.templates import TemplateProblem, compile_template

APRIL, MARCH = date(2027, 4, 3), date(2027, 3, 4)
AT = datetime(2027, 4, 3, 10, 30)

EVERYWHERE: list[tuple[object, Moment]] = [
    ("2026-03-09", date(2026, 3, 9)),
    ("2026-3-9", date(2026, 3, 9)),
    (" 2026-03-09 ", date(2026, 3, 9)),
    ("20260501", datetime(2026, 5, 1)),
    (20260501, datetime(2026, 5, 1)),
    ("2026-03-09T10:30", datetime(2026, 3, 9, 10, 30)),
    ("2026-03-09 10:30:15", datetime(2026, 3, 9, 10, 30, 15)),
    ("2026-3-9 9:05", datetime(2026, 3, 9, 9, 5)),
    ("20260501T0930", datetime(2026, 5, 1, 9, 30)),
    ("2026-03-09 10.30", datetime(2026, 3, 9, 10, 30)),  # not 10 o'clock and a third of a second
    ("3 April 2027 10.30", AT),
    ("2026-03-09 10:30:15.0000000", datetime(2026, 3, 9, 10, 30, 15)),
    *[
        (text, datetime(2026, 5, 1, 9, 30, tzinfo=UTC))
        for text in (
            "2026-05-01T09:30:00Z",
            "2026-05-01T09:30:00.000+0000",
            "2026-05-01 09:30+00:00",
            "2026-05-01 09:30:00 UTC",
            "2026/05/01 9:30 am GMT",
            "Fri, 01 May 2026 09:30:00 +0000",
            "Fri May 01 2026 09:30:00 GMT+0000 (Coordinated Universal Time)",
            "2026-05-01T09:30:00Z[UTC]",
            "2026-05-01T02:30:00-07:00[America/Los_Angeles]",
            "/Date(1777627800000)/",
            "/Date(1777627800000+0000)/",
        )
    ],
    ("2027-04-03T10:30:00+0200", datetime(2027, 4, 3, 10, 30, tzinfo=timezone(timedelta(hours=2)))),
    ("3 April 2027 10:30 -0330", datetime(2027, 4, 3, 10, 30, tzinfo=timezone(-timedelta(hours=3, minutes=30)))),
    # milliseconds since 1970
    (1773014400000, date(2026, 3, 9)),
    ("1773052200000", datetime(2026, 3, 9, 10, 30, tzinfo=UTC)),
    ("315532800000", date(1980, 1, 1)),
    # the year first
    ("2027/04/03", APRIL),
    ("2027.04.03", APRIL),
    ("2027. 04. 03.", APRIL),
    # a day that is no month
    ("13.04.2027", date(2027, 4, 13)),
    # names of months
    *[
        (text, APRIL)
        for text in (
            "3 April 2027",
            "03 Apr 2027",
            "3-Apr-2027",
            "03-APR-27",
            "3rd April 2027",
            "3rd of April, 2027",
            "April 3, 2027",
            "April 3 2027",
            "Apr. 3rd, 2027",
            "April 3,2027",
            "Saturday, April 3, 2027",
            "Sat 3 Apr 2027",
            "3. April 2027",
            "Samstag, 3. April 2027",
            "sam. 3 avril 2027",
            "3 de abril de 2027",
            "sábado, 3 de abril de 2027",
            "3 aprile 2027",
            "3 apr. 2027",
            "zaterdag 3 april 2027",
            "the 3rd of April, 2027",
            "le 3 avril 2027",
            "2027\u5e744\u67083\u65e5",
            "2027\ub144 4\uc6d4 3\uc77c",
        )
    ],
    ("1er avril 2027", date(2027, 4, 1)),
    ("Mar 3, 2027", date(2027, 3, 3)),  # March, not mardi
    *[
        (f"3 {name} 2027", date(2027, month, 3))
        for month, names in {
            1: "Januar Jänner janvier enero gennaio janeiro januari",
            2: "Februar février febrero febbraio fevereiro",
            3: "März mars marzo março maart mrt marts",
            5: "Mai mayo maggio maio mei maj",
            6: "Juni juin junio giugno junho",
            7: "Juli juillet julio luglio julho",
            8: "August août agosto augustus augusti",
            9: "September septembre septiembre settembre setembro Sept",
            10: "Oktober octobre octubre ottobre outubro Okt",
            11: "November novembre noviembre",
            12: "Dezember décembre diciembre dicembre dezembro Dez desember",
        }.items()
        for name in names.split()
    ],
    # times
    *[
        (f"3 April 2027{text}", AT)
        for text in (
            " 10:30",
            ", 10:30",
            " at 10:30 AM",
            " 10:30:00 a.m.",
            " 10h30",
            " um 10:30 Uhr",
            " à 10h30",
            " 10:30 a. m.",
            " ore 10.30",
            " kl. 10:30",
            " klo 10.30",
            " 10.30 uur",
            " @ 10:30 AM",
            " - 10:30 AM",
        )
    ],
    ("3 April 2027, 10 Uhr", datetime(2027, 4, 3, 10)),
    ("3 avril 2027 à 10h", datetime(2027, 4, 3, 10)),
    ("10:30am - Saturday, April 3, 2027", AT),
    ("10:30 3 April 2027", AT),
    ("3 April 2027 10:30pm", datetime(2027, 4, 3, 22, 30)),
    ("3 April 2027 12:00 PM", datetime(2027, 4, 3, 12)),
    ("3 April 2027 12:05 am", datetime(2027, 4, 3, 0, 5)),
    ("3 April 2027, 10am", datetime(2027, 4, 3, 10)),
]

BY_REGION: list[tuple[object, Moment | None, Moment | None, Moment | None]] = [
    ("03/04/2027", APRIL, MARCH, None),
    ("3/4/2027", APRIL, MARCH, None),
    ("03-04-2027", APRIL, MARCH, None),
    ("03/04/2027 10:30", AT, datetime(2027, 3, 4, 10, 30), None),
    ("4/3/2027 1:05 PM", datetime(2027, 3, 4, 13, 5), datetime(2027, 4, 3, 13, 5), None),
    ("4/4/2027", date(2027, 4, 4), date(2027, 4, 4), date(2027, 4, 4)),
    # only one of the two is a day
    ("13/04/2027", date(2027, 4, 13), None, date(2027, 4, 13)),
    ("12/31/2026", None, date(2026, 12, 31), date(2026, 12, 31)),
    # dots
    ("03.04.2027", APRIL, None, None),
    ("3.4.2027 10:30", AT, None, None),
    # two digits of the year
    ("3.4.27", APRIL, None, None),
    ("03/04/27", APRIL, MARCH, None),
    ("03/04/85", date(1985, 4, 3), date(1985, 3, 4), None),
    ("03/04/45", None, None, None),  # 1945 to spreadsheets, 2045 to POSIX
]

NOWHERE: list[object] = [
    "13/40/2026",
    "31/04/2027",
    "29.02.2027",
    "Sunday, April 3, 2027",  # a Saturday
    "April 2027",
    "3 Foo 2027",
    "April 31, 2027",
    "46143",  # a day of Excel
    46143,
    46143.4,
    "1773052200",  # seconds since 1970
    "2026",
    "2026-05",
    "202605",
    "20260501093000",
    "09:30",
    "2026-02-30",
    "20261301",
    "2026-03-09T25:00",
    "3 April 2027 25:00",
    "3 April 2027 13:00 PM",
    "3 April 2027 10",
    "3 April 2027 10:30 CET",
    "0001-01-01",
    "1899-12-31T00:00:00",
    "9999-12-31",
    "٣ April 2027 10:99",
    "tomorrow",
    "n/a",
    "",
    None,
    True,
    17,
    ["2026-03-09"],
    {"date": "2026-03-09"},
]

ROWS = [
    *[(value, found, found, found) for value, found in EVERYWHERE],
    *BY_REGION,
    *[(value, None, None, None) for value in NOWHERE],
]
REGIONS = ("GB", "US", None)


@pytest.mark.parametrize(("value", "british", "american", "unknown"), ROWS)
def test_dates(value: object, british: Moment | None, american: Moment | None, unknown: Moment | None) -> None:
    for region, expected in zip(REGIONS, (british, american, unknown), strict=True):
        found = read_date(value, region)
        assert (found, type(found)) == (expected, type(expected)), region
        if isinstance(value, str) and value.strip() and value != "n/a":
            form = "%Y-%m-%d" if expected is None or is_day(value, expected) else "%Y-%m-%d %H:%M"
            in_text = rendered(f"{{{{ x | date: '{form}' }}}}", value, region)
            assert in_text == (None if expected is None else _on_utc_clocks(expected).strftime(form)), region
            compares = holds("x > '1901-01-01'", {"x": value}, region=region)
            assert compares is (expected is not None), region


def _on_utc_clocks(moment: Moment) -> Moment:
    return moment.astimezone(UTC) if isinstance(moment, datetime) and moment.tzinfo is not None else moment


def rendered(source: str, value: Any, region: str | None) -> str | None:
    with contextlib.suppress(TemplateProblem):
        return compile_template(source).render(text_context({"x": value}, None, {}, region, lambda: ("UTC",)))
    return None


@pytest.mark.parametrize(
    ("region", "order"),
    [
        (None, DateOrder.UNKNOWN),
        *[(region, DateOrder.MONTH_FIRST) for region in ("US", "PH", "PR")],
        *[(region, DateOrder.DAY_FIRST) for region in ("GB", "DE", "FR", "AU", "IN", "BR", "MX", "IE", "NZ")],
        *[(region, DateOrder.YEAR_FIRST) for region in ("SE", "ZA")],
        *[(region, DateOrder.UNKNOWN) for region in ("CA", "JP", "CN", "KR")],
    ],
)
def test_the_region_decides(region: str | None, order: DateOrder) -> None:
    assert date_order(region) is order


@pytest.mark.parametrize(("text", "expected"), [("03/04/2027", APRIL), ("03/04/27", None), ("27-04-03", None)])
def test_where_the_year_is_first_a_short_year_may_be_first(text: str, expected: date | None) -> None:
    assert read_date(text, "SE") == expected


OF_EACH_ORDER = ("GB", "US", "SE", None)
FORMS = (
    *("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%Y %H:%M", "%m/%d/%Y", "%m/%d/%Y %I:%M %p", "%d/%m/%y", "%m/%d/%y"),
    *("%Y-%m-%d", "%Y/%m/%d", "%d %B %Y", "%B %d, %Y", "%a, %d %b %Y %H:%M:%S", "%A %d %b %Y", "%d-%b-%Y"),
)


@given(st.dates(date(1900, 1, 1), date(2199, 12, 31)), st.sampled_from(FORMS), st.sampled_from(OF_EACH_ORDER))
def test_what_is_read_is_what_was_meant_or_the_region_is_another(day: date, form: str, region: str | None) -> None:
    found = read_date(day.strftime(form), region)
    meant = [day, datetime(day.year, day.month, day.day)]
    if not ("%d/%m" in form or "%d.%m" in form or "%d-%m" in form or "%m/%d" in form):
        assert found in meant
    elif region is None and "%Y" in form:
        assert found is None or found in meant
    if "%Y" in form:
        possible = possible_dates(day.strftime(form), None)
        assert any(one in meant for one in possible)


ALL_REGIONS = sorted(region for region in get_global("territory_languages") if len(region) == 2 and region.isalpha())


@given(
    st.sampled_from([region for region in ALL_REGIONS if locales_of(region)]).flatmap(
        lambda region: st.tuples(st.just(region), st.sampled_from(locales_of(region)))
    ),
    st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)),
    st.sampled_from(["short", "medium", "long", "full"]),
)
def test_a_date_as_a_region_writes_it_is_read_as_itself_or_not_at_all(
    where: tuple[str, Locale], at: datetime, form: Literal["short", "medium", "long", "full"]
) -> None:
    region, locale = where
    text = format_date(at, form, locale=locale)
    found = read_date(text, region)
    assert found is None or (found.month, found.day) == (at.month, at.day), text
    assert found is None or found.year == at.year or (form == "short" and (found.year - at.year) % 100 == 0), text
    if form != "full":
        text = format_datetime(at, form, locale=locale)
        found = read_date(text, region)
        read = None if not isinstance(found, datetime) else (found.month, found.day, found.hour, found.minute)
        assert found is None or read == (at.month, at.day, at.hour, at.minute), text


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(ANY | st.from_regex(r"[-+0-9T:.Z/ aApPmMri,]{0,32}", fullmatch=True), st.sampled_from(OF_EACH_ORDER))
def test_any_value_is_read_or_not_and_never_an_error(value: object, region: str | None) -> None:
    found = read_date(value, region)
    assert found is None or possible_dates(value, region) == (found,)
