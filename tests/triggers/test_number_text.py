"""What each spelling of a number means, by region. A row is (text, in the US, in Germany, without a region).

A number alone is a number without a unit. None: it is not read, because it is no number or may be another one.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from babel.core import get_global
from babel.numbers import format_currency, format_decimal
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.conditions import holds, judge
from worker.triggers.context import text_context
from worker.triggers.notation import currency_of, decimal_mark, number_locale
from worker.triggers.number_text import PERCENT, Amount, possible_amounts, read_amount
from worker.triggers.templates import TemplateProblem, compile_template


def same(value: object, number: float, unit: str = "") -> tuple[object, Amount, Amount, Amount]:
    amount = Amount(number, unit)
    return value, amount, amount, amount


def dollars(text: str, number: float) -> tuple[object, Amount, Amount, Amount]:
    return text, Amount(number, "USD"), Amount(number, "USD"), Amount(number, "$")


def by_region(
    value: object, us: float | None, de: float | None, unknown: float | None
) -> tuple[object, Amount | None, Amount | None, Amount | None]:
    read = [None if number is None else Amount(number) for number in (us, de, unknown)]
    return value, read[0], read[1], read[2]


ROWS: list[tuple[object, Amount | None, Amount | None, Amount | None]] = [
    # as software writes them, everywhere
    same(0, 0),
    same(-7, -7),
    same(19.9, 19.9),
    same("0", 0),
    same(" 7 ", 7),
    same("-7", -7),
    same("1234", 1234),
    same("1250.00", 1250.0),
    same("-0.5", -0.5),
    same("0.125", 0.125),
    same("19.900000000000002", 19.900000000000002),
    same("999999999999999", 999999999999999),
    # what can mean one number only
    same("1 234", 1234),
    same("1\u00a0234", 1234),
    same("1\u202f234", 1234),
    same("1'234", 1234),
    same("1\u2019234\u2019567", 1234567),
    same(".5", 0.5),
    same("12-", -12),
    same("(12)", -12),
    same("\u221212", -12),
    same("- 12", -12),
    same("12,-", 12),
    same("12.\u2013", 12),
    same("\uff11\uff12", 12),
    # the region decides, and a value that contradicts it is not read
    by_region("1,234", 1234, 1.234, None),
    by_region("1.234", 1.234, 1234, None),
    by_region("-1.234", -1.234, -1234, None),
    by_region("(1,234)", -1234, -1.234, None),
    by_region("12,345,678", 12345678, None, 12345678),
    by_region("12.345.678", None, 12345678, 12345678),
    by_region("1,250.50", 1250.5, None, 1250.5),
    by_region("1.250,50", None, 1250.5, 1250.5),
    by_region("(1,250.00)", -1250.0, None, -1250.0),
    by_region("12,5", None, 12.5, 12.5),
    by_region("0,50", None, 0.5, 0.5),
    by_region("0,125", None, 0.125, 0.125),
    by_region("1 234,50", None, 1234.5, 1234.5),
    by_region("1\u00a0234.50", 1234.5, None, 1234.5),
    by_region("1'234.50", 1234.5, None, 1234.5),
    by_region("1,23,456", 123456, None, 123456),
    by_region("12,34,56,789.50", 123456789.5, None, 123456789.5),
    by_region("-1,250.00", -1250.0, None, -1250.0),
    by_region("1,250.00-", -1250.0, None, -1250.0),
    # money
    dollars("$5", 5),
    dollars("$1,250.00", 1250.0),
    dollars("$ 1,250.00", 1250.0),
    dollars("-$5", -5),
    dollars("$-5", -5),
    dollars("$5-", -5),
    dollars("($1,250.00)", -1250.0),
    dollars("$(1,250.00)", -1250.0),
    dollars("$.50", 0.5),
    dollars("5 dollars", 5),
    same("USD 99", 99, "USD"),
    same("99 USD", 99, "USD"),
    same("usd 99", 99, "USD"),
    same("$99 USD", 99, "USD"),
    same("US$99", 99, "USD"),
    same("$99 CAD", 99, "CAD"),
    same("CAD$99", 99, "CAD"),
    same("$USD 99", 99, "USD"),
    same("99 USD$", 99, "USD"),
    same("99 US dollars", 99, "USD"),
    same("J$500", 500, "JMD"),
    same("TT$ 500", 500, "TTD"),
    same("Rs 500/-", 500, "Rs"),
    same("Rs. 1,25,000/-", 125000, "Rs"),
    same("250:- kr", 250, "kr"),
    ("£20 GBP", Amount(20, "GBP"), Amount(20, "GBP"), Amount(20, "GBP")),
    same("€99,90", 99.9, "EUR"),
    same("99,90 €", 99.9, "EUR"),
    ("€1.234,50", Amount(1234.5, "EUR"), Amount(1234.5, "EUR"), Amount(1234.5, "EUR")),
    ("1,234.50 €", Amount(1234.5, "EUR"), None, Amount(1234.5, "EUR")),
    ("1.234 €", None, Amount(1234, "EUR"), None),  # in the US it may be one euro and some
    ("$1,234", Amount(1234, "USD"), None, None),
    ("$3.459", Amount(3.459, "USD"), None, None),
    ("£20", Amount(20, "GBP"), Amount(20, "GBP"), Amount(20, "£")),
    same("₹1,23,456.00", 123456.0, "INR"),
    same("Rs. 500", 500, "Rs"),
    same("Rs.500", 500, "Rs"),
    same("Rs .50", 0.5, "Rs"),
    same("CHF 12.-", 12, "CHF"),
    same("Fr. 20", 20, "CHF"),
    same("R$ 1.234,50", 1234.5, "BRL"),
    same("1 234,50 kr", 1234.5, "kr"),
    same("1.234,50 kr.", 1234.5, "kr"),
    same("5 euros", 5, "EUR"),
    # percent
    same("12%", 12, PERCENT),
    same("12 %", 12, PERCENT),
    by_region("x%", None, None, None),
    # what is no number, or may be anything
    *[
        (value, None, None, None)
        for value in (
            *("1,23", "00.5", "007", "02134", "+12", "5.", "1.2.3", "1,2,3", "12,34,5", "1.234.56", "1,234.567,8"),
            *("--5", "-5-", "(-5)", "5)", "(5", "1_000", "1e3", "1.25E+05", "0x10", "½", "5²", "٣", "seven", "5k"),
            *("1.2M", "5 kg", "5 items", "#5", "No. 5", "~5", ">5", "5+", "5-10", "5/10", "12:30", "$", "%", "-", ""),
            *(
                "$5 €5",
                "$5%",
                "$EUR 5",
                "$CAD 5 USD",
                "5/-2",
                "5:-1",
                "5 CR",
                "USD",
                "EUR 5 USD",
                "1234567890123456",
                "inf",
                "nan",
                "NaN",
                "2026-03-09",
            ),
            *("12.05.2026", "+1 415 555 2671", "415-555-2671", "call us", "$ to be agreed", "1,234 or 5", "9" * 60),
        )
        if value != "1,23"
    ],
    by_region("1,23", None, 1.23, 1.23),
    *[(value, None, None, None) for value in (None, True, [7], {"n": 7}, float("nan"), float("inf"))],
]
REGIONS = ("US", "DE", None)


@pytest.mark.parametrize(("value", "american", "german", "unknown"), ROWS, ids=lambda value: repr(value)[:40])
def test_numbers(value: object, american: Amount | None, german: Amount | None, unknown: Amount | None) -> None:
    for region, expected in zip(REGIONS, (american, german, unknown), strict=True):
        found = read_amount(value, region)
        assert found == expected, region
        if found is not None and expected is not None:
            assert type(found.number) is type(expected.number), region
        number = found is not None and found.unit != PERCENT
        if not isinstance(value, bool):  # which Liquid compares by itself
            assert holds("x > -1000000000000000 or x <= -1000000000000000", {"x": value}, region=region) is number
        assert (rendered("{{ x | plus: 0 }}", value, region) is not None) is number
        assert (rendered("{{ 1 | times: x }}", value, region) is not None) is number


def rendered(source: str, value: Any, region: str | None) -> str | None:
    with contextlib.suppress(TemplateProblem):
        return compile_template(source).render(text_context({"x": value}, None, {}, region))
    return None


@pytest.mark.parametrize(
    ("region", "text", "amount"),
    [
        ("CA", "$1,234", Amount(1234, "CAD")),
        ("CA", "1,234", None),  # French Canadians write decimals so
        ("CA", "1 234,50 $", Amount(1234.5, "CAD")),
        ("CA", "$1,234.50", Amount(1234.5, "CAD")),
        ("CA", "1,549 $", Amount(1.549, "CAD")),
        ("CA", "US$1,234", None),
        ("CH", "1\u2019234.50", Amount(1234.5)),
        ("CH", "1.234", None),
        ("ZA", "1,234", None),
        ("GB", "£1,234", Amount(1234, "GBP")),
        ("GB", "1.234", Amount(1.234)),
        ("FR", "1\u202f234,56 €", Amount(1234.56, "EUR")),
        ("FR", "1,234", Amount(1.234)),
        ("IN", "1,23,456", Amount(123456)),
        ("MX", "$1,234.50", Amount(1234.5, "MXN")),
        ("AR", "$ 1.234,50", Amount(1234.5, "ARS")),
        ("SE", "1 234:-", Amount(1234)),
        ("SE", "1 234 kr", Amount(1234, "SEK")),
        ("JP", "¥1,235", Amount(1235, "JPY")),
        ("JP", "１，２３５円", Amount(1235, "JPY")),
        ("AU", "A$5", Amount(5, "AUD")),
        ("BR", "R$ 1.234", Amount(1234, "BRL")),
        ("PL", "1 234,50 zł", Amount(1234.5, "PLN")),
    ],
)
def test_numbers_of_other_regions(region: str, text: str, amount: Amount | None) -> None:
    assert read_amount(text, region) == amount


@pytest.mark.parametrize(
    ("one", "other", "known"),
    [
        ("$5", "€3", False),
        ("$5", "$3", True),
        ("$5", "USD 3", True),
        ("$5", "CA$ 3", False),
        ("$5", "3", True),
        ("12%", "10%", True),
        ("12%", "10", False),
        ("12%", "$10", False),
    ],
)
def test_only_amounts_of_one_unit_compare(one: str, other: str, known: bool) -> None:
    for operator in (">", "<", ">=", "<=", "==", "!="):
        found = judge(f"a {operator} b", {"a": one, "b": other}, None, "US")
        assert (found.unread is None) is known, operator


def test_two_dollars_of_an_unknown_country_compare_with_each_other_alone() -> None:
    assert judge("a > b", {"a": "$5", "b": "$3"}).holds
    assert judge("a > b", {"a": "$5", "b": "USD 3"}).unread == ("a", "$5")


ALL_REGIONS = sorted(region for region in get_global("territory_languages") if len(region) == 2 and region.isalpha())
CENTS = st.decimals(-(10**9), 10**9, places=2, allow_nan=False)


@given(st.sampled_from(ALL_REGIONS), st.decimals(-(10**9), 10**9, places=3, allow_nan=False))
def test_a_number_as_a_region_writes_it_is_read_as_itself_or_not_at_all(region: str, number: Decimal) -> None:
    text = format_decimal(number, locale=number_locale(region))
    found = read_amount(text, region)
    assert found is None or (Decimal(str(found.number)), found.unit) == (number, ""), text
    if decimal_mark(region) is not None and found is None:
        assert not text.isascii(), f"{text} is how people of {region} write it"


@given(
    st.sampled_from(ALL_REGIONS),
    CENTS,
    st.sampled_from(["own", "USD", "EUR", "GBP", "JPY", "CAD", "KWD", "INR"]),
    st.sampled_from(["standard", "accounting"]),
)
def test_money_as_a_region_writes_it_is_read_as_itself_or_not_at_all(
    region: str, amount: Decimal, currency: str, form: str
) -> None:
    code = currency_of(region) or "USD" if currency == "own" else currency
    locale = number_locale(region)
    text = format_currency(amount, code, locale=locale, format_type=form, currency_digits=False)  # type: ignore[arg-type]
    found = read_amount(text, region)
    assert found is None or Decimal(str(found.number)) == amount, text
    if found is not None and len(found.unit) == 3:
        assert found.unit == code, text


@given(st.text() | st.from_regex(r"[-+(]?[$€]?[0-9., '%)-]{0,20}", fullmatch=True), st.sampled_from(["US", "DE", None]))
def test_any_text_is_read_or_not_and_never_an_error(text: str, region: str | None) -> None:
    found = read_amount(text, region)
    assert found is None or possible_amounts(text, region) == (found,)
    for amount in possible_amounts(text, region):
        digits = "".join(one for one in f"{abs(Decimal(str(amount.number))):f}" if one.isdigit()).strip("0")
        assert digits in "".join(str(int(one)) for one in text if one.isdecimal()), "no digit is made up"
