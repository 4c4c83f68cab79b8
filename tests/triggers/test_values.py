"""One reader of dates and one of numbers: what each makes of a value, in triggers, conditions and templates alike."""

from __future__ import annotations

# ruff: noqa: DTZ001 - times without a zone are what CRMs have
import contextlib
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.conditions import holds
from worker.triggers.context import text_context
from worker.triggers.templates import TemplateProblem, compile_template
from worker.triggers.values import property_named, read_date, read_iso_date, read_number


@pytest.mark.parametrize(
    ("value", "iso", "of_a_trigger"),
    [
        # ISO 8601
        ("2026-03-09", date(2026, 3, 9), date(2026, 3, 9)),
        ("2026-3-9", date(2026, 3, 9), date(2026, 3, 9)),
        (" 2026-03-09 ", date(2026, 3, 9), date(2026, 3, 9)),
        ("20260501", datetime(2026, 5, 1), datetime(2026, 5, 1)),
        (20260501, datetime(2026, 5, 1), datetime(2026, 5, 1)),
        ("2026-03-09T10:30", datetime(2026, 3, 9, 10, 30), datetime(2026, 3, 9, 10, 30)),
        ("2026-03-09 10:30:15", datetime(2026, 3, 9, 10, 30, 15), datetime(2026, 3, 9, 10, 30, 15)),
        ("20260501T0930", datetime(2026, 5, 1, 9, 30), datetime(2026, 5, 1, 9, 30)),
        *[
            (text, datetime(2026, 5, 1, 9, 30, tzinfo=UTC), datetime(2026, 5, 1, 9, 30, tzinfo=UTC))
            for text in ("2026-05-01T09:30:00Z", "2026-05-01T09:30:00.000+0000", "2026-05-01 09:30+00:00")
        ],
        # month first and milliseconds: documented for the field of a date trigger, and refused elsewhere
        ("3/9/2026", None, date(2026, 3, 9)),
        ("03/04/2026", None, date(2026, 3, 4)),
        ("12/31/2026", None, date(2026, 12, 31)),
        (1773014400000, None, date(2026, 3, 9)),
        ("1773052200000", None, datetime(2026, 3, 9, 10, 30, tzinfo=UTC)),
        ("1710123100000", None, datetime(2024, 3, 11, 2, 11, 40, tzinfo=UTC)),
        ("315532800000", None, date(1980, 1, 1)),
        # never guessed
        ("31/12/2026", None, None),
        ("13/40/2026", None, None),
        ("3/9/26", None, None),
        ("01.05.2026", None, None),
        ("1 May 2026", None, None),
        ("May 1, 2026", None, None),
        ("2026/05/01", None, None),
        ("05-01-2026", None, None),
        ("46143", None, None),  # a day of Excel
        (46143, None, None),
        (46143.4, None, None),
        ("1773052200", None, None),  # seconds since 1970
        ("2026", None, None),
        ("2026-05", None, None),
        ("202605", None, None),
        ("20260501093000", None, None),
        ("09:30", None, None),
        ("2026-02-30", None, None),
        ("20261301", None, None),
        ("2026-03-09T25:00", None, None),
        ("0001-01-01", None, None),
        ("1899-12-31T00:00:00", None, None),
        ("9999-12-31", None, None),
        ("tomorrow", None, None),
        ("n/a", None, None),
        ("", None, None),
        (None, None, None),
        (True, None, None),
        (17, None, None),
        (["2026-03-09"], None, None),
        ({"date": "2026-03-09"}, None, None),
    ],
)
def test_dates(value: object, iso: date | datetime | None, of_a_trigger: date | datetime | None) -> None:
    assert (read_iso_date(value), read_date(value)) == (iso, of_a_trigger)
    assert (type(read_iso_date(value)), type(read_date(value))) == (type(iso), type(of_a_trigger))
    if isinstance(value, str) and value.strip() and value != "n/a":
        written = rendered("{{ x | date: '%Y-%m-%d %H:%M' }}", value)
        assert written == (None if iso is None else f"{iso:%Y-%m-%d %H:%M}")


NUMBERS: list[tuple[object, int | float | None]] = [
    (0, 0),
    (-7, -7),
    (19.9, 19.9),
    ("0", 0),
    ("7", 7),
    (" 7 ", 7),
    ("-7", -7),
    ("1234", 1234),
    ("120.50", 120.5),
    ("-0.5", -0.5),
    ("19.900000000000002", 19.900000000000002),
    ("999999999999999", 999999999999999),
    # never guessed
    ("1,234", None),
    ("1.234,50", None),
    ("1,234.50", None),
    ("1 234", None),
    ("1\u00a0234", None),
    ("1'234", None),
    ("1_000", None),
    ("12,5", None),
    ("€ 12", None),
    ("$12", None),
    ("12 €", None),
    ("USD 12", None),
    ("12 %", None),
    ("12%", None),
    ("(12)", None),
    ("12-", None),
    ("+12", None),
    ("1e3", None),
    ("0x10", None),
    (".5", None),
    ("5.", None),
    ("1.2.3", None),
    ("007", None),
    ("02134", None),
    ("1234567890123456", None),
    ("inf", None),
    ("nan", None),
    ("NaN", None),
    (float("nan"), None),
    (float("inf"), None),
    ("½", None),
    ("٣", None),
    ("seven", None),
    ("2026-03-09", None),
    ("", None),
    (None, None),
    (True, None),
    ([7], None),
    ({"n": 7}, None),
]


@pytest.mark.parametrize(("value", "number"), [*NUMBERS, (10**400, 10**400)])
def test_numbers(value: object, number: float | None) -> None:
    assert read_number(value) == number
    assert type(read_number(value)) is type(number)


@pytest.mark.parametrize(("value", "number"), NUMBERS)
def test_conditions_and_templates_read_the_same_numbers(value: object, number: float | None) -> None:
    if not isinstance(value, bool):  # which Liquid compares by itself
        assert holds("x > -1000 or x <= -1000", {"x": value}) is (number is not None)
    assert (rendered("{{ x | plus: 0 }}", value) is not None) is (number is not None)
    assert (rendered("{{ 1 | times: x }}", value) is not None) is (number is not None)


@pytest.mark.parametrize(
    "source",
    [
        *[
            f"{{{{ x | {name}: 1 }}}}"
            for name in ("plus", "minus", "times", "divided_by", "modulo", "at_least", "at_most")
        ],
        *[f"{{{{ x | {name} }}}}" for name in ("abs", "ceil", "floor", "round")],
        *[f"{{{{ 5 | {name}: x }}}}" for name in ("plus", "times", "at_least", "round")],
    ],
)
def test_no_arithmetic_takes_what_it_cannot_read_for_zero(source: str) -> None:
    with pytest.raises(TemplateProblem, match=r'"1,234\.50" is not a plain number such as 1234\.5'):
        compile_template(source).render({"x": "1,234.50"})


def rendered(source: str, value: Any) -> str | None:
    with contextlib.suppress(TemplateProblem):
        return compile_template(source).render(text_context({"x": value}, None, {}))
    return None


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(ANY | st.from_regex(r"[-+0-9T:.Z/ ]{0,24}", fullmatch=True))
def test_any_value_is_read_or_not_and_never_an_error(value: object) -> None:
    assert read_number(value) is None or not isinstance(value, bool)
    assert read_iso_date(value) is None or read_date(value) is not None
    assert holds("x > 5", {"x": value}) in (True, False)


@given(st.permutations(["Order Status", "order_status", "ORDER-STATUS", "name"]))
def test_of_two_fields_with_one_name_the_choice_does_not_depend_on_their_order(names: list[str]) -> None:
    record = {name: name for name in names}
    assert property_named("order status", record) == "ORDER-STATUS"
    assert text_context(record, None, {})["order_status"] == "ORDER-STATUS"
