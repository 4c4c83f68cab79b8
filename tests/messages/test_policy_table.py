"""The policy as a table: what it decides for a number, at a time on its owner's clock, and which rule says so.

``opens`` is when a held text may go at the earliest, on the same clock; the jitter is zero here. Sources are named as
in the data file; "policy" stands for the defaults of `[policy]`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.policy import Policy
from worker.messages.opt_outs import OptedOut
from worker.messages.places import Places, RecordPlace, places_of
from worker.messages.policy import (
    RELEASED_BY,
    Expire,
    FullCap,
    Go,
    Hold,
    MessageView,
    QuietHours,
    Suppress,
    decide,
)
from worker.messages.quiet_hours import rules_for
from worker.store.models import MessageKind

POLICY = Policy()
FEDERAL, OWN = "47 CFR 64.1200(c)(1)", "policy"
MON, SAT, SUN = "2026-03-02", "2026-03-07", "2026-03-15"  # 8 March 2026: clocks go forward in the US
NUMBERS = {
    "New York": ("+12125550123", "America/New_York"),
    "Chicago": ("+13125550123", "America/Chicago"),
    "Denver": ("+13035550123", "America/Denver"),
    "Phoenix": ("+16025550123", "America/Phoenix"),
    "Los Angeles": ("+12135550123", "America/Los_Angeles"),
    "Anchorage": ("+19075550123", "America/Anchorage"),
    "Honolulu": ("+18085550123", "Pacific/Honolulu"),
    "Miami": ("+13055550123", "America/New_York"),
    "Houston": ("+17135550123", "America/Chicago"),
    "Hartford": ("+18605550123", "America/New_York"),
    "Oklahoma City": ("+14055550123", "America/Chicago"),
    "Baltimore": ("+14105550123", "America/New_York"),
    "Jackson": ("+16015550123", "America/Chicago"),
    "Newark": ("+19735550123", "America/New_York"),
    "Seattle": ("+12065550123", "America/Los_Angeles"),
    "Birmingham": ("+12055550123", "America/Chicago"),
    "New Orleans": ("+15045550123", "America/Chicago"),
    "Boston": ("+16175550123", "America/New_York"),
    "Providence": ("+14015550123", "America/New_York"),
    "Salt Lake City": ("+18015550123", "America/Denver"),
    "Cheyenne": ("+13075550123", "America/Denver"),
    "Louisville": ("+15025550123", "America/New_York"),
    "Toronto": ("+14165550123", "America/Toronto"),
    "London": ("+442071838750", "Europe/London"),
    "Sydney": ("+61293744000", "Australia/Sydney"),
}


@dataclass(frozen=True)
class Case:
    """``day`` and ``clock`` are the person's; ``opens``: "" for go, else day and time that it is held until."""

    city: str
    day: str
    clock: str
    opens: str
    source: str


def _week(city: str, opens: str, closes: str, source: str) -> list[Case]:
    """A Monday's edges: a minute before, at, in the middle, a minute before the end, at the end, at night."""
    hour, minute = map(int, opens.split(":"))
    before = f"{(hour * 60 + minute - 1) // 60:02d}:{(minute - 1) % 60:02d}"
    end = int(closes[:2]) * 60 + int(closes[3:]) - 1
    last, tomorrow = f"{end // 60:02d}:{end % 60:02d}", f"2026-03-03 {opens}"
    return [
        Case(city, MON, before, f"{MON} {opens}", source),
        Case(city, MON, opens, "", source),
        Case(city, MON, "13:00", "", source),
        Case(city, MON, last, "", source),
        Case(city, MON, closes, tomorrow, source),
        Case(city, MON, "00:30", f"{MON} {opens}", source),
    ]


CASES = [
    *_week("New York", "09:00", "20:00", OWN),
    *_week("Chicago", "09:00", "20:00", OWN),
    *_week("Denver", "09:00", "20:00", OWN),
    *_week("Phoenix", "09:00", "20:00", OWN),
    *_week("Los Angeles", "09:00", "20:00", OWN),
    *_week("Anchorage", "10:00", "20:00", "policy: the Aleutians share the area code, an hour behind"),
    *_week("Honolulu", "09:00", "20:00", OWN),
    *_week("Miami", "09:00", "20:00", "Fla. Stat. 501.059 and 501.616(6)(a)"),
    *_week("Hartford", "09:00", "20:00", "Conn. Gen. Stat. 42-288a"),
    *_week("Oklahoma City", "09:00", "20:00", "Okla. Stat. tit. 15, 775C.4"),
    *_week("Baltimore", "09:00", "20:00", "Md. Code, Com. Law, title 14, subtitle 45"),
    *_week("Jackson", "09:00", "20:00", "Miss. Code 77-3-701"),
    *_week("Newark", "09:00", "20:00", "N.J. Stat. 56:8-128(d)"),
    *_week("Houston", "09:00", "20:00", "Tex. Bus. & Com. Code 301.051"),
    *_week("Seattle", "09:00", "20:00", "Wash. Rev. Code 19.158.040(2)"),
    *_week("Providence", "09:00", "18:00", "R.I. Gen. Laws 5-61-3.6"),
    *_week("Toronto", "09:00", "20:00", OWN),
    *_week("London", "09:00", "20:00", OWN),
    *_week("Sydney", "09:00", "20:00", OWN),
    # Louisville may be on Eastern or, with the rest of its state, on Central time: both must be open
    Case("Louisville", MON, "09:30", f"{MON} 10:00", "Ky. Rev. Stat. 367.46955"),
    # Saturdays
    Case("New York", SAT, "09:00", "", OWN),
    Case("Providence", SAT, "09:59", f"{SAT} 10:00", "R.I. Gen. Laws 5-61-3.6"),
    Case("Providence", SAT, "16:59", "", "R.I. Gen. Laws 5-61-3.6"),
    Case("Providence", SAT, "17:00", "2026-03-09 09:00", "R.I. Gen. Laws 5-61-3.6"),
    # Sundays: from noon by default; in some states not at all
    Case("New York", SUN, "11:59", f"{SUN} 12:00", OWN),
    Case("New York", SUN, "12:00", "", OWN),
    Case("New York", SUN, "19:59", "", OWN),
    Case("New York", SUN, "20:00", "2026-03-16 09:00", OWN),
    Case("Houston", SUN, "11:59", f"{SUN} 12:00", "Tex. Bus. & Com. Code 301.051"),
    Case("Houston", SUN, "12:00", "", "Tex. Bus. & Com. Code 301.051"),
    Case("Birmingham", SUN, "13:00", "2026-03-16 09:00", "Ala. Code 8-19A"),
    Case("New Orleans", SUN, "13:00", "2026-03-16 09:00", "La. PSC General Order R-29617"),
    Case("Jackson", SUN, "13:00", "2026-03-16 09:00", "Miss. Code 77-3-701"),
    Case("Providence", SUN, "13:00", "2026-03-16 09:00", "R.I. Gen. Laws 5-61-3.6"),
    Case("Salt Lake City", SUN, "13:00", "2026-03-16 09:00", "Utah Code 13-25a-103"),
    Case("Cheyenne", SUN, "19:59", "", "Wyo. Stat. 40-12-302"),
    Case("Boston", SUN, "20:00", "2026-03-16 09:00", "Mass. Gen. Laws ch. 159C, 3"),
    # the night in which the clocks change
    Case("New York", "2026-03-08", "01:30", "2026-03-08 12:00", OWN),
    Case("New York", "2026-03-07", "23:00", "2026-03-08 12:00", OWN),
    Case("New York", "2026-11-01", "00:30", "2026-11-01 12:00", OWN),
    Case("Phoenix", "2026-03-08", "01:30", "2026-03-08 12:00", OWN),
    Case("London", "2026-03-29", "00:30", "2026-03-29 12:00", OWN),
]
SENDS = MessageView(kind=MessageKind.SEND, expires_at=None, opted_out=None, to_number="+12125550123")


def hours(phone: str, places: Places | None = None, policy: Policy = POLICY) -> QuietHours | None:
    places = places or places_of(phone)
    rules = rules_for(policy, places.states)
    return None if rules is None else QuietHours(rules, places)


def view_of(phone: str, **more: Any) -> MessageView:
    return replace(SENDS, **{"to_number": phone, "quiet_hours": hours(phone)} | more)


def at(day_and_clock: str, zone: str) -> datetime:
    return datetime.fromisoformat(day_and_clock).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize("case", CASES, ids=lambda one: f"{one.city}-{one.day}-{one.clock}")
def test_quiet_hours(case: Case) -> None:
    phone, zone = NUMBERS[case.city]
    decision = decide(view_of(phone), at(f"{case.day} {case.clock}", zone))
    if not case.opens:
        assert decision == Go()
        return
    assert isinstance(decision, Hold)
    assert (decision.code, decision.until) == ("quiet_hours", at(case.opens, zone)), case.source


NOON = at(f"{MON} 12:00", "America/New_York")
OUT = OptedOut(datetime(2026, 1, 1, tzinfo=UTC), "relay")
LATER, EARLIER = NOON + timedelta(hours=1), NOON - timedelta(hours=1)
CAP = FullCap("the number", "max_per_contact", 10, LATER)
CTIA = "CTIA Messaging Principles 5.1"

RULES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "go", OWN),
    ({"opted_out": OUT}, "opted_out", "47 CFR 64.1200(a)(10)"),
    ({"opted_out": OUT, "urgent": True}, "opted_out", "47 CFR 64.1200(a)(10)"),
    ({"opted_out": OUT, "approved": True}, "opted_out", "47 CFR 64.1200(a)(10)"),
    ({"opted_out": OUT, "due_at": LATER}, "opted_out", "47 CFR 64.1200(a)(10)"),
    ({"do_not_text": "the field x"}, "do_not_text", CTIA),
    ({"do_not_text": "the field x", "approved": True, "urgent": True}, "do_not_text", CTIA),
    ({"no_consent": "the field y"}, "no_consent", "CTIA Messaging Principles 5.1.2"),
    ({"no_consent": "the field y", "approved": True}, "no_consent", "CTIA Messaging Principles 5.1.2"),
    ({"do_not_text": "x", "no_consent": "y"}, "do_not_text", CTIA),
    ({"expires_at": NOON}, "expired", OWN),
    ({"expires_at": EARLIER, "urgent": True}, "expired", OWN),
    ({"expires_at": EARLIER, "approved": True}, "expired", OWN),
    ({"expires_at": LATER}, "go", OWN),
    ({"expires_at": EARLIER, "do_not_text": "x"}, "do_not_text", CTIA),
    ({"contact_deleted": True}, "record_deleted", OWN),
    ({"phone_changed": True}, "phone_changed", OWN),
    ({"unwanted": ("moved", "words")}, "moved", OWN),
    ({"unwanted": ("stop_condition", "words"), "approved": True}, "stop_condition", OWN),
    ({"unwanted": ("moved", "words"), "phone_changed": True}, "phone_changed", OWN),
    ({"duplicate_of": "m1"}, "duplicate", OWN),
    ({"duplicate_of": "m1", "urgent": True}, "duplicate", OWN),
    ({"duplicate_of": "m1", "approved": True}, "go", OWN),
    ({"batch_verdict": "open"}, "run", OWN),
    ({"batch_verdict": "open", "urgent": True}, "run", OWN),
    ({"batch_verdict": "over_limit"}, "approval", OWN),
    ({"batch_verdict": "over_limit", "approved": True}, "go", OWN),
    ({"batch_verdict": "approved"}, "go", OWN),
    ({"breaker": "why"}, "breaker", OWN),
    ({"breaker": "why", "urgent": True}, "breaker", OWN),
    ({"breaker": "why", "approved": True}, "go", OWN),
    ({"review_since": EARLIER}, "review", "47 CFR 64.1200(a)(10)"),
    ({"review_since": EARLIER, "approved": True}, "review", "47 CFR 64.1200(a)(10)"),
    ({"review_since": EARLIER, "urgent": True}, "review", "47 CFR 64.1200(a)(10)"),
    ({"due_at": LATER}, "scheduled", OWN),
    ({"due_at": NOON}, "go", OWN),
    ({"due_at": EARLIER}, "go", OWN),
    ({"due_at": LATER, "urgent": True}, "scheduled", OWN),
    ({"due_at": LATER, "expires_at": EARLIER}, "expired", OWN),
    ({"full_caps": (CAP,)}, "cap", OWN),
    ({"full_caps": (CAP,), "urgent": True}, "cap", OWN),
    ({"full_caps": (CAP,), "approved": True}, "cap", OWN),
    ({"full_caps": (CAP,), "due_at": LATER}, "scheduled", OWN),
    ({"kind": MessageKind.RECORD, "opted_out": OUT, "expires_at": EARLIER}, "go", OWN),
]


@pytest.mark.parametrize(("change", "code", "source"), RULES)
def test_rules_and_which_comes_first(change: dict[str, Any], code: str, source: str) -> None:
    decision = decide(replace(view_of("+12125550123"), **change), NOON)
    found = {Go: "go", Expire: "expired"}.get(type(decision)) or decision.code  # type: ignore[union-attr]
    assert found == code, source


NIGHT = at(f"{MON} 23:00", "America/New_York")


@pytest.mark.parametrize(
    ("phone", "record", "account_zone", "open_at_15_utc"),
    [
        # 15:00 UTC on a Monday in March: 10:00 in New York, 07:00 in Los Angeles, 05:00 in Honolulu
        ("+12125550123", None, None, True),
        ("+12135550123", None, None, False),
        # the CRM knows better than the number
        ("+12135550123", RecordPlace(time_zone="America/New_York"), None, True),
        ("+12125550123", RecordPlace(time_zone="Pacific/Honolulu"), None, False),
        ("+12125550123", RecordPlace(state="CA"), None, False),
        ("+12135550123", RecordPlace(state="New York"), None, True),
        ("+12125550123", RecordPlace(postal_code="90001"), None, False),
        # two zones in one state: both must be open
        ("+16155550123", RecordPlace(state="TN"), None, True),
        ("+12125550123", RecordPlace(state="AK"), None, False),
        # a toll-free number may be anywhere
        ("+18005550123", None, None, False),
        ("+18005550123", None, "America/New_York", True),
        ("+18005550123", RecordPlace(time_zone="America/Los_Angeles"), "America/New_York", False),
        # what systems write where nobody chose says nothing
        ("+12135550123", RecordPlace(time_zone="UTC"), None, False),
    ],
)
def test_where_somebody_is(
    phone: str, record: RecordPlace | None, account_zone: str | None, open_at_15_utc: bool
) -> None:
    places = places_of(phone, [record] if record else [], account_zone)
    decision = decide(view_of(phone, quiet_hours=hours(phone, places)), datetime(2026, 3, 2, 15, tzinfo=UTC))
    assert (decision == Go()) is open_at_15_utc


def test_where_nothing_is_known_nothing_goes() -> None:
    nowhere = Places((), (), "")
    decision = decide(view_of("+12125550123", quiet_hours=hours("+12125550123", nowhere)), NOON)
    assert isinstance(decision, Hold)
    assert (decision.code, decision.until) == ("time_zone", None)


def test_an_urgent_text_goes_at_night_and_none_without_quiet_hours_waits() -> None:
    assert decide(view_of("+12125550123", urgent=True), NIGHT) == Go()
    at_any_hour = hours("+12125550123", policy=Policy(quiet_hours="none"))
    assert decide(view_of("+12125550123", quiet_hours=at_any_hour), NIGHT) == Go()


def test_there_are_150_cases_and_more() -> None:
    assert len(CASES) + len(RULES) + 13 >= 150


# --- what must hold for all of them

PHONES = st.sampled_from([*sorted(phone for phone, _ in NUMBERS.values()), "+18005550123", "+16155550123"])
MOMENTS = st.datetimes(
    datetime(2026, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    datetime(2026, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)
VIEWS = st.builds(
    lambda phone, jitter, zone, more: replace(
        view_of(phone, quiet_hours=replace(hours(phone, places_of(phone, [], zone)), jitter=jitter)),  # type: ignore[type-var]
        **more,
    ),
    PHONES,
    st.sampled_from([timedelta(0), timedelta(minutes=15)]),
    st.sampled_from([None, "America/New_York"]),
    st.fixed_dictionaries(
        {},
        optional={
            "opted_out": st.just(OUT),
            "do_not_text": st.just("x"),
            "no_consent": st.just("y"),
            "unwanted": st.just(("moved", "words")),
            "duplicate_of": st.just("m1"),
            "approved": st.booleans(),
            "breaker": st.just("why"),
            "review_since": MOMENTS,
            "due_at": MOMENTS,
            "expires_at": MOMENTS,
            "batch_verdict": st.sampled_from(["none", "open", "over_limit", "approved"]),
        },
    ),
)


@given(VIEWS, MOMENTS)
def test_nobody_who_must_not_be_texted_ever_is(view: MessageView, now: datetime) -> None:
    if view.opted_out or view.do_not_text or view.no_consent:
        assert isinstance(decide(view, now), Suppress)


def _quiet_somewhere(view: MessageView, now: datetime) -> bool:
    """Asked minute by minute and naively: is any place where this number could be closed at this minute?"""
    quiet = view.quiet_hours
    assert quiet is not None
    for zone in quiet.places.zones:
        local = now.astimezone(ZoneInfo(zone))
        day = [quiet.rules.weekday] * 5 + [quiet.rules.saturday, quiet.rules.sunday]
        hours_ = day[local.weekday()]
        if not hours_.opens <= local.time() < hours_.closes:
            return True
    return not quiet.places.zones


@settings(max_examples=300)
@given(VIEWS, MOMENTS)
def test_nothing_ever_goes_in_quiet_hours_of_any_place_it_could_be(view: MessageView, now: datetime) -> None:
    if decide(view, now) == Go():
        assert not _quiet_somewhere(view, now)


@given(VIEWS, MOMENTS)
def test_every_hold_ends(view: MessageView, now: datetime) -> None:
    """In going, in an end, or in something that a person or a run releases; never in waiting for ever."""
    for _ in range(20):
        decision = decide(view, now)
        if not isinstance(decision, Hold):
            return
        assert decision.reason
        if decision.until is None:
            assert decision.code in RELEASED_BY
            return
        assert decision.until > now
        now = decision.until
    raise AssertionError("it was held twenty times in a row")


@given(VIEWS, MOMENTS)
def test_a_text_that_waited_goes_when_its_time_has_come(view: MessageView, now: datetime) -> None:
    decision = decide(view, now)
    if isinstance(decision, Hold) and decision.code == "quiet_hours" and decision.until is not None:
        after = decide(view, decision.until)
        assert isinstance(after, Go | Expire)
        assert decide(view, now) == decision, "the same question has the same answer"
