"""What must hold whatever is asked: the policy against a naive reading of the rules, minute by minute."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from holidays import country_holidays
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.models import Account, Connection, Settings
from config.policy import Policy, PolicyOverride
from config.policy_levels import policy_for
from config.triggers import CreatedTrigger
from worker.core.states import MessageKind
from worker.policy.decide import (
    Expire,
    FullCap,
    Go,
    Hold,
    OptedOut,
    PolicyFacts,
    QuietHours,
    Suppress,
    decide,
)
from worker.policy.locations import RecordPlace, locations_of
from worker.policy.look_ahead import look_ahead
from worker.policy.quiet_hours import Hours, QuietHoursRules, next_window, release_time, rules_for

E, C, M, P = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"

# By hand: the zones that a number may be in, and its state.
NUMBERS: dict[str, tuple[set[str], str]] = {
    "+12125550100": ({E}, "NY"),
    "+13055550100": ({E}, "FL"),
    "+18505550100": ({E, C}, "FL"),
    "+12195550100": ({C}, "IN"),
    "+15025550100": ({E}, "KY"),
    "+12705550100": ({E, C}, "KY"),
    "+15125550100": ({C}, "TX"),
    "+19155550100": ({M}, "TX"),
    "+16025550100": ({"America/Phoenix"}, "AZ"),
    "+19285550100": ({"America/Phoenix", M}, "AZ"),
    "+12055550100": ({C}, "AL"),
    "+14015550100": ({E}, "RI"),
    "+18015550100": ({M}, "UT"),
    "+19075550100": ({"America/Anchorage", "America/Adak"}, "AK"),
    "+18085550100": ({"Pacific/Honolulu"}, "HI"),
    "+16715550100": ({"Pacific/Guam"}, "GU"),
    "+17095550100": ({"America/St_Johns", "America/Halifax"}, "NL"),
    "+14165550100": ({"America/Toronto"}, "ON"),
    "+12155550100": ({E}, "PA"),
    "+18765550100": ({"America/Jamaica"}, ""),
    "+14415550100": ({"Atlantic/Bermuda"}, ""),
    "+447911123456": ({"Europe/London"}, ""),
    "+819012345678": ({"Asia/Tokyo"}, ""),
    "+18005550100": ({E, C, M, P, "Pacific/Honolulu", "Pacific/Guam"}, ""),
}
CANADA = {"NL", "ON", "MB"}
STATES: dict[str, set[str]] = {
    "MB": {"America/Winnipeg"},
    "": set(),
    "CA": {P},
    "OK": {C},
    "TN": {E, C},
    "RI": {E},
    "MS": {C},
    "WA": {P},
}
ZONES: dict[str, set[str]] = {"": set(), "America/Denver": {M}, "Eastern Time (US & Canada)": {E}, "UTC": set()}

MINUTES = st.timedeltas(timedelta(0), timedelta(days=380)).map(lambda later: datetime(2025, 12, 20, tzinfo=UTC) + later)
TABLE = tomllib.loads(files("worker.policy").joinpath("data/quiet_hours.toml").read_text("utf-8"))
HOURS = st.times().map(lambda at: at.replace(second=0, microsecond=0))
THE_LAW = Policy(text_from=time(0), text_until=time(23, 59), sunday_from=time(0))
HOLIDAYS: st.SearchStrategy[tuple[str, ...]] = st.sampled_from(
    [(), ("US",), ("CA",), ("JM", "12-24"), ("US", "CA", "2026-06-03")]
)
POLICIES = (
    st.just(THE_LAW)
    | st.just(Policy())
    | st.builds(Policy, text_from=HOURS, text_until=HOURS, sunday_from=HOURS, holidays=HOLIDAYS)
)
OVERRIDES = st.fixed_dictionaries(
    {}, optional={"text_from": HOURS, "text_until": HOURS, "sunday_from": HOURS, "holidays": HOLIDAYS}
).map(lambda keys: PolicyOverride(**keys))
LEVELS = st.tuples(OVERRIDES, OVERRIDES, OVERRIDES)
"""The tables of an account, a connection and a trigger."""


def _moment(day: date, clock: time, zone: str, early: bool, fold: int) -> datetime:
    local = datetime.combine(day, clock, ZoneInfo(zone)).replace(fold=fold)
    return local.astimezone(UTC) - timedelta(minutes=early)


# Full hours and the minutes before them, on days of every kind: where the rules change their minds.
EDGES = st.builds(
    _moment,
    st.sampled_from([date(2026, 3, 7), date(2026, 3, 8), date(2026, 6, 3), date(2026, 6, 6), date(2026, 6, 7)])
    | st.sampled_from([date(2026, 10, 31), date(2026, 11, 1), date(2026, 1, 7), date(2026, 3, 29)])
    | st.sampled_from([date(2026, 7, 3), date(2026, 10, 12), date(2026, 11, 26), date(2026, 8, 6), date(2026, 12, 24)]),
    st.sampled_from([8, 9, 10, 12, 17, 18, 20, 21]).map(time) | st.integers(0, 23).map(time),
    st.sampled_from([E, C, M, P, "America/Phoenix", "Pacific/Honolulu", "Europe/London"]),
    st.booleans(),
    st.sampled_from([0, 1]),
)
DAY_HOURS = st.builds(
    Policy,
    text_from=st.integers(4, 12).map(time),
    text_until=st.integers(13, 23).map(time),
    sunday_from=st.integers(4, 14).map(time),
    holidays=HOLIDAYS,
)


def possible(number: str, zone: str, state: str, account: str | None = None) -> tuple[set[str], set[str]]:
    """The zones in which the person may be, and the states whose rules count, read by hand."""
    by_number, own_state = NUMBERS[number]
    if account and number.startswith("+1800"):
        by_number = {account}
    known = ZONES[zone] | (STATES[state] if not ZONES[zone] & STATES[state] else set())
    if zone.startswith("Eastern") and not number.startswith("+1"):
        known = STATES[state]
    return known or by_number, {one for one in (own_state, state) if one}


def countries_of(number: str, states: set[str]) -> set[str]:
    """The countries in which the person may be, read by hand; empty: anywhere."""
    by_number = {"+1876": "JM", "+1441": "BM", "+1709": "CA", "+1416": "CA", "+1671": "GU", "+1800": ""}.get(
        number[:5], "US" if number.startswith("+1") else {"+44": "GB", "+81": "JP"}[number[:3]]
    )
    return {by_number, *("CA" if state in CANADA else "US" for state in states)} - {""}


def naively_closed(day: date, states: set[str], countries: set[str], policy: Policy) -> bool:
    """Whether the configuration or a law closes that day for somebody of these places."""
    for one in policy.holidays:
        if "-" in one and f"{day}".endswith(one):
            return True
        if "-" not in one and (one in countries or not countries):
            own = {state for state in states if one in ("US", "CA") and (state in CANADA) == (one == "CA")}
            if any(day in country_holidays(one, subdiv=state, years=day.year) for state in own or {None}):
                return True
    banned = {state for state in states if TABLE["states"].get(state, {}).get("no_holidays")}
    if any(day in country_holidays("US", subdiv=state, years=day.year) for state in banned):
        return True
    # Good Friday, Election Day and Flag Day; the days of the tests end in January 2027.
    of_pennsylvania = {date(2026, 4, 3), date(2026, 11, 3), date(2026, 6, 14)}
    return "PA" in states and day in of_pennsylvania


def naively_open(at: datetime, zones: set[str], states: set[str], policy: Policy, countries: set[str]) -> bool:
    """Whether the clocks of all zones show a time that every rule allows."""
    rules = [TABLE["federal"], *(TABLE["states"][state] for state in states if state in TABLE["states"])]
    rules += [TABLE["countries"]["CA"]] if "CA" in countries else []
    for zone in zones:
        local = at.astimezone(ZoneInfo(zone))
        clock, day = f"{local:%H:%M}", f"{local:%A}".lower()
        if naively_closed(local.date(), states, countries, policy):
            return False
        if not policy.text_from <= local.time() < policy.text_until:
            return False
        if day == "sunday" and local.time() < policy.sunday_from:
            return False
        for rule in rules:
            if day == "sunday" and rule.get("no_sundays"):
                return False
            opens = rule.get(f"{day}_from", rule.get("from", "08:00"))
            closes = rule.get(f"{day}_until", rule.get("until", "21:00"))
            if not opens <= clock < closes:
                return False
    return True


def asked(number: str, zone: str, state: str, policy: Policy, account: str | None = None, **more: Any) -> PolicyFacts:
    locations = locations_of(number, [RecordPlace(zone, state)], account)
    rules = rules_for(policy, locations)
    assert rules is not None
    quiet = QuietHours(rules, locations, policy.release_jitter)
    return PolicyFacts(MessageKind.SEND, None, None, to_number=number, quiet_hours=quiet, policy=policy, **more)


PEOPLE = st.tuples(st.sampled_from(sorted(NUMBERS)), st.sampled_from(sorted(ZONES)), st.sampled_from(sorted(STATES)))


@given(PEOPLE, EDGES, POLICIES, st.sampled_from([None, C, P, "Asia/Kolkata"]))
@settings(max_examples=500)
@example(("+18505550100", "", ""), datetime(2026, 6, 4, 0, 30, tzinfo=UTC), THE_LAW, C)
def test_no_text_goes_while_any_clock_that_may_be_the_persons_shows_a_quiet_hour(
    person: tuple[str, str, str], now: datetime, policy: Policy, account: str | None
) -> None:
    zones, states = possible(*person, account)
    if isinstance(decide(asked(*person, policy, account), now), Go):
        assert naively_open(now, zones, states, policy, countries_of(person[0], states))


@given(PEOPLE, EDGES, POLICIES, LEVELS)
@settings(max_examples=200)
def test_no_policy_of_a_trigger_opens_an_hour_that_its_own_settings_or_the_law_close(
    person: tuple[str, str, str], now: datetime, general: Policy, levels: tuple[PolicyOverride, ...]
) -> None:
    """For each key the most specific table counts, read by hand; the law always does."""
    of_account, of_connection, of_trigger = levels
    trigger = CreatedTrigger(connections=("crm",), on="created", message="Welcome!", policy=of_trigger)
    configured = Settings(
        policy=general,
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100", policy=of_account)},
        connections={"crm": Connection(adapter="csv", account="main", policy=of_connection)},
        triggers={"welcome": trigger},
    )
    policy = policy_for(configured, connection="crm", trigger="welcome")
    tables = {"triggers.welcome": of_trigger, "connections.crm": of_connection, "accounts.main": of_account}
    for key in ("text_from", "text_until", "sunday_from", "holidays", "max_per_contact"):
        named = [(f"{name}.policy", table) for name, table in tables.items() if key in table.model_fields_set]
        where, table = (*named, ("policy", general))[0]
        assert getattr(policy, key) == getattr(table, key)
        assert policy.setting(key) == f"{where}.{key}"
    zones, states = possible(*person)
    if isinstance(decide(asked(*person, policy), now), Go):
        assert naively_open(now, zones, states, policy, countries_of(person[0], states))


@given(PEOPLE, MINUTES | EDGES, st.just(THE_LAW) | DAY_HOURS)
@settings(max_examples=60)
@example(("+12125550100", "", ""), datetime(2026, 3, 8, 12, tzinfo=UTC), Policy(text_from=time(8), sunday_from=time(8)))
def test_a_hold_ends_at_the_first_minute_that_is_open_everywhere(
    person: tuple[str, str, str], now: datetime, policy: Policy
) -> None:
    view = asked(*person, policy)
    assert view.quiet_hours is not None
    zones, states = set(view.quiet_hours.locations.zones), set(view.quiet_hours.locations.states)
    window = next_window(view.quiet_hours.locations, view.quiet_hours.rules, now)
    minute = now.replace(second=0, microsecond=0)
    countries = countries_of(person[0], states)
    opened = naively_open(minute, zones, states, policy, countries)
    assert opened == (window is not None and window[0] <= now)
    if window is not None and not opened:
        assert naively_open(window[0], zones, states, policy, countries)
        assert not naively_open(window[0] - timedelta(minutes=1), zones, states, policy, countries)
        waits = int((window[0] - minute) / timedelta(minutes=67))
        assert not any(
            naively_open(minute + timedelta(minutes=67) * step, zones, states, policy, countries)
            for step in range(waits)
        )


@given(
    PEOPLE,
    MINUTES,
    POLICIES,
    st.fixed_dictionaries(
        {
            "urgent": st.booleans(),
            "approved": st.booleans(),
            "expires_at": st.none() | MINUTES,
            "due_at": st.none() | MINUTES,
            "behind": st.none() | MINUTES,
            "review_since": st.none() | MINUTES,
            "batch_verdict": st.sampled_from(["none", "open", "over_limit", "approved"]),
            "breaker": st.sampled_from(["", "it runs wild"]),
            "duplicate_of": st.sampled_from(["", "0123"]),
            "unwanted": st.sampled_from([None, ("moved", "its date moved")]),
            "phone_changed": st.booleans(),
            "contact_deleted": st.booleans(),
        }
    ),
    st.sampled_from(["opted_out", "do_not_text", "no_consent", "country"]),
)
@settings(max_examples=60)
def test_nothing_lets_a_text_go_to_somebody_who_said_no(
    person: tuple[str, str, str], now: datetime, policy: Policy, facts: dict[str, Any], refusal: str
) -> None:
    expires_at = facts.pop("expires_at")
    view = replace(asked(*person, policy, **facts), expires_at=expires_at)
    decide(view, now)  # whatever it is, it is decided
    no: Any = OptedOut(now, "relay") if refusal == "opted_out" else "the record"
    refused = decide(replace(view, **{refusal: no}), now)
    assert isinstance(refused, Suppress)
    assert refused.code == refusal


@given(
    PEOPLE,
    MINUTES,
    POLICIES,
    st.timedeltas(timedelta(0), timedelta(days=12)),
    st.lists(st.timedeltas(timedelta(seconds=1), timedelta(days=1)), max_size=2),
    st.none() | st.timedeltas(timedelta(0), timedelta(days=3)),
    st.none() | st.timedeltas(timedelta(0), timedelta(hours=15)),
)
@settings(max_examples=80)
def test_every_wait_ends(
    person: tuple[str, str, str],
    now: datetime,
    policy: Policy,
    lasts: timedelta,
    caps: list[timedelta],
    due_in: timedelta | None,
    behind: timedelta | None,
) -> None:
    """In a release, in its expiry, or in a wait for somebody with a name; and time passes from one hold to the next."""
    full = [FullCap("somebody", "max_per_contact", 1, now + cap) for cap in caps]
    view = asked(*person, policy, due_at=None if due_in is None else now + due_in)
    view = replace(view, expires_at=now + lasts, behind=None if behind is None else now + behind)
    for _ in range(12):
        decision = decide(replace(view, full_caps=tuple(cap for cap in full if cap.until > now)), now)
        if not isinstance(decision, Hold):
            assert isinstance(decision, Go | Expire)
            return
        if decision.until is None:
            assert decision.code == "time_zone"
            return
        assert decision.until > now
        now = decision.until
    raise AssertionError(f"it waits for ever: {decision}")


@given(
    PEOPLE,
    MINUTES,
    POLICIES,
    st.timedeltas(timedelta(0), timedelta(days=12)),
    st.lists(st.timedeltas(timedelta(seconds=1), timedelta(days=1)), max_size=2),
    st.none() | st.timedeltas(timedelta(0), timedelta(days=3)),
)
@settings(max_examples=80)
def test_what_is_foreseen_is_what_happens(
    person: tuple[str, str, str],
    now: datetime,
    policy: Policy,
    lasts: timedelta,
    caps: list[timedelta],
    due_in: timedelta | None,
) -> None:
    """If nothing else changes, the text goes at the time that was named when it was queued, and at no other."""
    full = tuple(FullCap("somebody", "max_per_contact", 1, now + cap) for cap in caps)
    view = asked(*person, policy, due_at=None if due_in is None else now + due_in, full_caps=full)
    view = replace(view, expires_at=now + lasts)
    outlook, at = look_ahead(view, now), now
    while isinstance(decision := decide(view, at), Hold) and decision.until is not None:
        at = decision.until
    assert outlook.at == (at if isinstance(decision, Go) else None)
    if outlook.at is None:
        assert outlook.reason
    elif outlook.at > max(now, view.due_at or now):
        assert outlook.code in ("quiet_hours", "cap")


@given(
    st.sampled_from(sorted(NUMBERS)),
    MINUTES,
    st.timedeltas(timedelta(seconds=1), timedelta(hours=12)),
    st.timedeltas(timedelta(0), timedelta(hours=2)),
    st.none() | st.timedeltas(timedelta(seconds=-1), timedelta(hours=24)),
)
@settings(max_examples=100)
def test_the_spread_is_a_numbers_own_and_stays_in_the_window(
    number: str, start: datetime, length: timedelta, spread: timedelta, lasts: timedelta | None
) -> None:
    expires_at = None if lasts is None else start + lasts
    window = (start, start + length)
    at = release_time(number, window, spread, expires_at)
    assert at == release_time(number, window, spread, expires_at)
    assert start <= at < start + length
    assert at - start <= spread
    if expires_at is not None and expires_at > start:
        assert at < expires_at


def test_an_hour_that_comes_twice_opens_late_and_closes_early() -> None:
    """In New York 1:30 comes twice on that Sunday. Before the law's 8:00 it can only be asked of the configuration."""
    locations = locations_of("+819012345678", [RecordPlace(E)])
    early, late = (datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (5, 6))
    only = Hours(time(1, 30), time(3)), Hours(time(0), time(1, 30))
    opening, closing = (
        next_window(locations, QuietHoursRules(hours, hours, hours), early - timedelta(hours=1)) for hours in only
    )
    assert opening is not None
    assert opening[0] == late
    assert closing is not None
    assert closing[1] == early


def test_an_hour_that_is_skipped_opens_at_the_skip() -> None:
    locations = locations_of("+819012345678", [RecordPlace(E)])
    hours = Hours(time(2, 30), time(5))
    window = next_window(locations, QuietHoursRules(hours, hours, hours), datetime(2026, 3, 8, 5, tzinfo=UTC))
    assert window == (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 3, 8, 9, tzinfo=UTC))


def test_the_spread_uses_the_whole_time() -> None:
    start = datetime(2026, 6, 3, 16, tzinfo=UTC)
    window, spread = (start, start + timedelta(hours=11)), timedelta(minutes=15)
    minutes = {
        (release_time(f"+1415555{n:04d}", window, spread, None) - start) // timedelta(minutes=1) for n in range(400)
    }
    assert minutes == set(range(15))


def test_a_night_ends_for_everybody_at_another_moment() -> None:
    night = datetime(2026, 6, 3, 6, tzinfo=UTC)
    one = asked("+14155550100", "", "", Policy())
    people = [replace(one, to_number=f"+1415555{n:04d}") for n in range(300)]
    holds = [decide(view, night) for view in people]
    untils = [hold.until for hold in holds if isinstance(hold, Hold) and hold.until]
    opens = datetime(2026, 6, 3, 16, tzinfo=UTC)
    assert len(untils) == 300
    assert {(until - opens) // timedelta(minutes=1) for until in untils} == set(range(15))
    assert all(decide(view, until) == Go() for view, until in zip(people, untils, strict=True)), "and then it goes"


def test_a_text_that_expires_soon_after_the_night_is_spread_over_what_is_left() -> None:
    opens = datetime(2026, 6, 3, 16, tzinfo=UTC)
    one = replace(asked("+14155550100", "", "", Policy()), expires_at=opens + timedelta(minutes=2))
    holds = [decide(replace(one, to_number=f"+1415555{n:04d}"), opens - timedelta(hours=1)) for n in range(100)]
    assert all(isinstance(hold, Hold) and hold.until and hold.until < opens + timedelta(minutes=2) for hold in holds)


@given(PEOPLE, MINUTES, st.timedeltas(timedelta(0), timedelta(days=1)))
@settings(max_examples=100)
def test_two_texts_to_one_number_go_in_their_order(
    person: tuple[str, str, str], now: datetime, later: timedelta
) -> None:
    """The second is made while the first waits, in the night or in the spread after it: it never overtakes it."""
    view = asked(*person, Policy())
    first = decide(view, now)
    if not isinstance(first, Hold) or first.until is None or now + later >= first.until:
        return
    second = decide(replace(view, behind=first.until), now + later)
    assert isinstance(second, Hold)
    assert second.until is not None
    assert second.until >= first.until
