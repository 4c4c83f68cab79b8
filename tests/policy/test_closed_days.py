"""The days on which no text goes: public holidays by place, the law of some states, and dates of one's own."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from config.policy import Policy
from worker.core.states import MessageKind
from worker.policy.closed_days import ClosedCalendar
from worker.policy.decide import Go, Hold, PolicyDecision, PolicyFacts, QuietHours, decide
from worker.policy.locations import RecordPlace, locations_of
from worker.policy.quiet_hours import rules_for

US, TORONTO, KINGSTON, ALABAMA, LOUISIANA = (
    "+12125550100",
    "+14165550100",
    "+18765550100",
    "+12055550100",
    "+15045550100",
)
PENNSYLVANIA, RHODE_ISLAND, UTAH, MISSISSIPPI = "+12155550100", "+14015550100", "+18015550100", "+16015550100"
TOLL_FREE, SAN_JUAN, FLORIDA = "+18005550100", "+17875550100", "+13055550100"

# Days as calendars print them. What, number, holidays, day, what closes it ("" when the day is open).
DAYS = [
    ("Thanksgiving", US, ("US",), "2026-11-26", "Thanksgiving"),
    ("not without the choice", US, (), "2026-11-26", ""),
    ("the day before", US, ("US",), "2026-11-25", ""),
    ("Independence Day is a Saturday", US, ("US",), "2026-07-04", "Independence Day"),
    ("and is observed on Friday", US, ("US",), "2026-07-03", "observed"),
    ("New Year 2028 is observed in 2027", US, ("US",), "2027-12-31", "observed"),
    ("Juneteenth", US, ("US",), "2026-06-19", "Juneteenth"),
    ("a holiday of Florida", FLORIDA, ("US",), "2026-11-27", "Friday After Thanksgiving"),
    ("which is none in New York", US, ("US",), "2026-11-27", ""),
    ("Three Kings in San Juan", SAN_JUAN, ("US",), "2026-01-06", "is a public holiday"),
    ("Thanksgiving in Toronto", TORONTO, ("CA",), "2026-10-12", "Thanksgiving"),
    ("which the US do not have there", TORONTO, ("US",), "2026-11-26", ""),
    ("both countries", TORONTO, ("US", "CA"), "2026-11-26", ""),
    ("Boxing Day in Ontario", TORONTO, ("CA",), "2026-12-26", "Boxing Day"),
    ("Jamaica", KINGSTON, ("JM",), "2026-08-06", "Independence Day"),
    ("Jamaica has no Fourth of July", KINGSTON, ("US",), "2026-07-03", ""),
    ("toll-free numbers may be anywhere", TOLL_FREE, ("US", "JM"), "2026-08-06", "Independence Day"),
    ("a date of every year", US, ("12-24",), "2030-12-24", "December 24"),
    ("a date of one year", US, ("2026-12-24",), "2026-12-24", "December 24"),
    ("and not of another", US, ("2026-12-24",), "2027-12-24", ""),
    ("Alabama's law", ALABAMA, (), "2026-04-27", "Ala. Code"),
    ("Alabama, Thanksgiving", ALABAMA, (), "2026-11-26", "Ala. Code"),
    ("Louisiana's law: Mardi Gras", LOUISIANA, (), "2026-02-17", "La. Public Service"),
    ("Louisiana's law: All Saints' Day", LOUISIANA, (), "2027-11-01", "La. Public Service"),
    ("Pennsylvania's law: Good Friday", PENNSYLVANIA, (), "2026-04-03", "Pa. Stat."),
    ("Pennsylvania's law: Flag Day", PENNSYLVANIA, (), "2027-06-14", "Pa. Stat."),
    ("Pennsylvania's law: Election Day", PENNSYLVANIA, (), "2026-11-03", "Pa. Stat."),
    ("Election Day is never November 1", PENNSYLVANIA, (), "2022-11-01", ""),
    ("Election Day may be November 8", PENNSYLVANIA, (), "2022-11-08", "Pa. Stat."),
    ("Rhode Island's law: Victory Day", RHODE_ISLAND, (), "2026-08-10", "R.I. Gen. Laws"),
    ("Utah's law: Pioneer Day", UTAH, (), "2026-07-24", "Utah Code"),
    ("Mississippi has lifted its rule", MISSISSIPPI, (), "2026-11-26", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "holidays", "day", "words"), [row[1:] for row in DAYS], ids=[row[0] for row in DAYS]
)
def test_no_text_goes_on_a_closed_day(number: str, holidays: tuple[str, ...], day: str, words: str) -> None:
    locations = locations_of(number, (), "America/New_York")
    rules = rules_for(Policy(holidays=holidays), locations)
    assert rules is not None
    closed = rules.closed.on(date.fromisoformat(day))
    assert bool(closed) is bool(words)
    assert words in closed
    assert not words or rules.on(date.fromisoformat(day)).opens >= rules.on(date.fromisoformat(day)).closes


def decided(
    number: str, policy: Policy, at: str, zone: str = "America/New_York", record: RecordPlace | None = None
) -> PolicyDecision:
    locations = locations_of(number, [] if record is None else [record])
    rules = rules_for(policy, locations)
    assert rules is not None
    facts = PolicyFacts(
        MessageKind.SEND, None, None, to_number=number, quiet_hours=QuietHours(rules, locations), policy=policy
    )
    return decide(facts, datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC))


def test_a_text_waits_for_the_day_after_the_holidays_and_says_why() -> None:
    policy = Policy(holidays=("US", "12-24", "12-26"))
    held = decided(US, policy, "2026-12-24 10:00")
    assert isinstance(held, Hold)
    assert held.code == "quiet_hours"
    assert held.until == datetime(2026, 12, 27, 17, tzinfo=UTC), "Sunday at noon"
    assert "no text goes on December 24 (policy.holidays)" in held.reason
    assert "not on public holidays" in held.reason
    named = decided(US, policy, "2026-12-25 10:00")
    assert isinstance(named, Hold)
    assert "Christmas Day is a public holiday (policy.holidays)" in named.reason
    assert decided(US, policy, "2026-12-28 10:00") == Go()


def test_it_is_a_holiday_where_the_person_is() -> None:
    """The day is that of the person's clock: Guam begins and ends its holiday while New York has another day."""
    policy = Policy(holidays=("07-04",))
    assert isinstance(decided("+16715550100", policy, "2026-07-03 19:00"), Hold)
    assert decided(US, policy, "2026-07-03 19:00") == Go()
    in_utah = RecordPlace(state="UT")
    assert isinstance(decided(US, Policy(), "2026-07-24 14:00", record=in_utah), Hold)


def test_a_long_closed_season_ends() -> None:
    days = tuple(f"{date(2026, 6, 1) + timedelta(days=n):%m-%d}" for n in range(60))
    held = decided(US, Policy(holidays=days), "2026-06-01 10:00")
    assert isinstance(held, Hold)
    assert held.until == datetime(2026, 7, 31, 13, tzinfo=UTC)


def test_holidays_count_without_quiet_hours_too() -> None:
    policy = Policy(quiet_hours="none", holidays=("US",))
    assert decided(US, policy, "2026-11-25 23:00") == Go()
    held = decided(US, policy, "2026-11-26 10:00")
    assert isinstance(held, Hold)
    assert held.until == datetime(2026, 11, 27, 5, tzinfo=UTC)
    assert rules_for(policy, locations_of("+447911123456")) is None, "nothing of the choice is about London"


@pytest.mark.parametrize("year", range(2026, 2036))
def test_named_rules_fall_on_their_days(year: int) -> None:
    def days(rule: str) -> list[date]:
        calendar = ClosedCalendar("law", rule=rule)
        return [
            day for n in range(366) if calendar.on(day := date(year, 1, 1) + timedelta(days=n)) and day.year == year
        ]

    (election,) = days("11-02 Tue")
    assert (election.weekday(), 2 <= election.day <= 8) == (1, True)
    (good_friday,) = days("Easter-2")
    assert good_friday.weekday() == 4
    assert date(year, 3, 20) <= good_friday <= date(year, 4, 23)


def test_the_hours_of_the_day_before_a_holiday_are_whole() -> None:
    rules = rules_for(Policy(holidays=("US",)), locations_of(US))
    assert rules is not None
    assert rules.on(date(2026, 11, 25)).closes == time(20)
