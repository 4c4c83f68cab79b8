"""The filters of a text that read values: clocks, money, numbers. What they cannot read is never sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.context import text_context
from worker.triggers.templates import TemplateProblem, compile_template

LA, DENVER, BERLIN, PHOENIX = "America/Los_Angeles", "America/Denver", "Europe/Berlin", "America/Phoenix"
RECORD: dict[str, Any] = {
    "visit": "2026-12-01T17:00:00Z",
    "ahead": "2026-12-01T12:00:00-05:00",
    "late": "2026-12-02T05:30:00Z",
    "summer": "2026-07-01T16:00:00Z",
    "epoch": 1796144400000,
    "floating": "12/1/2026 9:00 AM",
    "day": "2026-12-01",
    "midnight": "2026-12-01T00:00:00Z",
    "vague": "soon",
    "serial": 46357,
    "total": "$1,250.00",
    "euros": "€99,90",
    "plain": 7.5,
    "large": 1234567.125,
    "grouped": "1.234",
    "share": "12%",
    "much": "about 5",
}


def render(source: str, zones: Sequence[str] | Callable[[], Sequence[str]] = (LA,), region: str | None = "US") -> str:
    asked = zones if callable(zones) else lambda: zones
    return compile_template(source).render(text_context(RECORD, None, {}, region, asked))


def problem(source: str, zones: Sequence[str] = (LA,), region: str | None = "US") -> str:
    with pytest.raises(TemplateProblem) as caught:
        render(source, zones, region)
    return str(caught.value)


TIME = "date: '%-I:%M %p'"
CLOCKS: list[tuple[str, Sequence[str], str | None, str]] = [
    (f"visit | {TIME}", (LA,), "US", "9:00 AM"),
    ("visit | local_time", (LA,), "US", "9:00 AM"),
    ("visit | local_time", (BERLIN,), "DE", "18:00"),
    ("visit | local_time", ("Europe/Paris",), "FR", "18:00"),
    ("visit | local_time", ("Europe/London",), "GB", "17:00"),
    ("visit | local_time", (LA,), None, "9:00 AM"),
    ("visit | local_time: '%H.%M'", (LA,), "US", "09.00"),
    ("ahead | local_time", (LA,), "US", "9:00 AM"),
    ("epoch | local_time", (LA,), "US", "9:00 AM"),
    ("summer | local_time", (LA,), "US", "9:00 AM"),
    ("visit | local_date", (LA,), "US", "Dec 1, 2026"),
    ("visit | local_date", (BERLIN,), "DE", "01.12.2026"),
    ("late | local_date", (LA,), "US", "Dec 1, 2026"),
    ("late | local_date", (BERLIN,), "GB", "2 Dec 2026"),
    ("late | date: '%A %-d'", (LA,), "US", "Tuesday 1"),
    ("visit | date: '%-I %p %Z'", (LA,), "US", "9 AM PST"),
    # the same on every clock that is possible
    (f"visit | {TIME}", (DENVER, PHOENIX), "US", "10:00 AM"),
    ("visit | date: '%-d %B'", (LA, DENVER), "US", "1 December"),
    # a time without a zone is the person's, and so is a day
    (f"floating | {TIME}", (LA,), "US", "9:00 AM"),
    (f"floating | {TIME}", (), "US", "9:00 AM"),
    ("day | local_date", (), "US", "Dec 1, 2026"),
    ("day | date: '%-d.%-m.'", (), "US", "1.12."),
    # the zone that the template names
    (f"visit | {TIME}, 'America/Denver'", (LA,), "US", "10:00 AM"),
    (f"visit | {TIME}, 'America/Denver'", (), "US", "10:00 AM"),
    ("visit | local_time: nil, 'America/Denver'", (LA, DENVER), "US", "10:00 AM"),
    # midnight in UTC is 4 PM in California where an hour is asked for
    ("midnight | local_time", (LA,), "US", "4:00 PM"),
    ("midnight | date: '%-d %B'", (BERLIN,), "US", "1 December"),
    ("midnight | date: '%-d %B', 'UTC'", (LA,), "US", "1 December"),
    ("midnight | date: '%-d %B', 'America/Los_Angeles'", (LA,), "US", "30 November"),
]


@pytest.mark.parametrize(("expression", "zones", "region", "text"), CLOCKS)
def test_a_time_is_written_by_the_persons_clock(
    expression: str, zones: Sequence[str], region: str | None, text: str
) -> None:
    assert render(f"{{{{ {expression} }}}}", zones, region) == text


@pytest.mark.parametrize(
    ("expression", "zones", "said"),
    [
        (f"visit | {TIME}", (LA, DENVER), "may be 10:00 AM (America/Denver) or 9:00 AM (America/Los_Angeles)"),
        (f"visit | {TIME}", (), "it is not known in which time zone the person is"),
        ("visit | date: '%-d %B'", (), "it is not known in which time zone the person is"),
        ("late | date: '%-d %B'", (LA, BERLIN), "may be 1 December (America/Los_Angeles) or 2 December (Europe/Ber"),
        ("midnight | date: '%-d %B'", (LA,), "may be 30 November (America/Los_Angeles) or 1 December (a day"),
        (f"day | {TIME}", (LA,), '"2026-12-01" is a day without a time of day'),
        ("day | local_time", (LA,), '"2026-12-01" is a day without a time of day'),
        (f"'20261201' | {TIME}", (LA,), '"20261201" is a day without a time of day'),
        ("'2026-W49-2' | local_time", (LA,), '"2026-W49-2" is a day without a time of day'),
        ("vague | local_time", (LA,), '"soon" is not a date that can be read without doubt'),
        ("serial | local_date", (LA,), '"46357" is not a date that can be read without doubt'),
        (f"visit | {TIME}, 'Mars/Base'", (LA,), 'there is no time zone "Mars/Base"; write it like America/Denver'),
        (f"visit | {TIME}, '../../etc/passwd'", (LA,), "there is no time zone"),
        ("vague | date: '%H:%M'", (LA,), "is not a date"),
    ],
)
def test_an_hour_that_is_not_certain_is_not_sent(expression: str, zones: Sequence[str], said: str) -> None:
    assert said in problem(f"See you at {{{{ {expression} }}}}", zones)


def test_zones_are_looked_up_only_for_a_text_that_needs_them() -> None:
    def never() -> Sequence[str]:
        raise AssertionError

    assert render("{{ floating | local_time }} {{ day | local_date }} {{ visit }}", never)


@given(st.datetimes(), st.sampled_from([LA, DENVER, BERLIN]))
def test_a_time_without_a_zone_is_never_moved(at: Any, zone: str) -> None:
    context = text_context({"x": at.isoformat()}, None, {}, "US", lambda: (zone,))
    if 1900 <= at.year < 2200:
        assert compile_template("{{ x | date: '%Y-%m-%d %H:%M' }}").render(context) == f"{at:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("expression", "region", "text"),
    [
        ("total | money", "US", "$1,250.00"),
        ("total | plus: 5 | money", "US", "$1,255.00"),
        ("total | times: 2 | money", "US", "$2,500.00"),
        ("total | divided_by: 3 | money", "US", "$416.67"),
        ("total | minus: 2000 | money", "US", "-$750.00"),
        ("total | divided_by: total", "US", "1"),
        ("total | plus: 0", "US", "1250"),
        ("total | at_least: 2000 | money", "US", "$2,000.00"),
        ("total | money", "DE", "1.250,00 $"),
        ("total | money: 'CAD'", None, "CA$1,250.00"),
        ("euros | money", "US", "€99.90"),
        ("euros | money", "DE", "99,90 €"),
        ("euros | money", None, "€99.90"),
        ("plain | money", "US", "$7.50"),
        ("plain | money", "CH", "CHF 7.50"),
        ("plain | money", "JP", "¥8"),
        ("plain | money: 'EUR'", "US", "€7.50"),
        ("large | money", "IN", "₹12,34,567.12"),
        ("large | number", "US", "1,234,567.125"),
        ("large | number", "DE", "1.234.567,125"),
        ("large | number", "FR", "1 234 567,125"),
        ("large | number: 1", "US", "1,234,567.1"),
        ("large | number: 0", "CH", "1'234'567"),
        ("plain | number: 2", "US", "7.50"),
        ("total | number", "US", "1,250"),
    ],
)
def test_money_and_numbers_are_written_as_in_the_region(expression: str, region: str | None, text: str) -> None:
    assert render(f"{{{{ {expression} }}}}", (), region) == text


@pytest.mark.parametrize(
    ("expression", "region", "said"),
    [
        ("total | plus: euros", "US", "EUR and USD cannot be calculated with each other"),
        ("total | minus: euros", "US", "EUR and USD cannot be calculated"),
        ("share | times: 2", "US", '"12%" may mean a number or hundredths'),
        ("share | money", "US", "may mean a number or hundredths"),
        ("grouped | plus: 0", None, '"1.234" may be two numbers; set default_region of the connection'),
        ("much | money", "US", '"about 5" is not a number'),
        ("plain | money", None, "it is not known in which currency this is"),
        ("total | money", None, '"$" may be several currencies; name it'),
        ("total | money: 'EUR'", "US", "the value is in USD, not in EUR"),
        ("plain | money: 'gold'", "US", '"gold" is no currency'),
        ("plain | number: 99", "US", "number takes 0 to 10 digits"),
    ],
)
def test_an_amount_that_is_not_certain_is_not_sent(expression: str, region: str | None, said: str) -> None:
    assert said in problem(f"You owe {{{{ {expression} }}}}", (), region)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("$1,250.00", "Large order of $1,250.00."),
        ("1,250.50", "Large order of 1,250.50."),
        ("€99,90", "Small order of €99,90."),
        ("USD 99", "Small order of USD 99."),
        ("1250.00", "Large order of 1250.00."),
        ("call us", None),
        ("1.234,50", None),
        ("12%", None),
    ],
)
def test_the_size_of_an_order(value: str, text: str | None) -> None:
    source = "{% assign n = total | plus: 0 %}{% if n > 1000 %}Large{% else %}Small{% endif %} order of {{ total }}."
    context = text_context({"total": value}, None, {}, "US")
    if text is None:
        with pytest.raises(TemplateProblem, match=r"is not a number|may mean"):
            compile_template(source).render(context)
    else:
        assert compile_template(source).render(context) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Tom &amp; Ann", "Tom & Ann"),
        ("O&#39;Brien", "O'Brien"),
        ("O&#x27;Brien", "O'Brien"),
        ("Caf&eacute;", "Café"),
        ("a&nbsp;b", "a b"),
        ("Tom &amp;amp; Ann", "Tom & Ann"),
        ("&lt;b&gt;", "<b>"),
        ("AT&T", "AT&T"),
        ("R&D; Co", "R&D; Co"),
        ("https://x.example/?a=1&copy=2", "https://x.example/?a=1&copy=2"),
        ("https://x.example/?a=1&amp;b=2", "https://x.example/?a=1&b=2"),
    ],
)
def test_entities_are_the_characters_that_they_stand_for(value: str, text: str) -> None:
    assert compile_template("{{ x }}").render(text_context({"x": value}, None, {})) == text
