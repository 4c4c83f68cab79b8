"""Which countries may be texted, number by number. A new case is a row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.models import Account, Connection, Policy, Settings
from worker.core.states import MessageKind
from worker.doctor.countries import AreaCount, judge_countries
from worker.messages.policy_facts import country_problem_of
from worker.policy.countries import allowed_countries, country_problem, possible_numbers
from worker.policy.decide import Go, PolicyFacts, Suppress, decide
from worker.store.models import utcnow

US, MX, UK = "+14155550100", "+525512345678", "+447400123456"
CANADA, JAMAICA, TORONTO = "+16045550100", "+18765550100", "+14165550100"

# what, number, the account's own number, policy.countries, the part of the reason that matters ("": it may be texted)
NUMBERS: list[tuple[str, str, str, tuple[str, ...] | None, str]] = [
    ("at home", US, US, None, ""),
    ("Canada", CANADA, US, None, ""),
    ("Jamaica has the calling code +1", JAMAICA, US, None, ""),
    ("toll-free", "+18005550100", US, None, ""),
    ("Mexico", MX, US, None, "MX (+52), and texts may go only to +1"),
    ("Great Britain", UK, US, None, "GB (+44)"),
    ("Guernsey, which shares +44", "+447911123456", US, None, "GG (+44)"),
    ("the account is British", UK, UK, None, ""),
    ("the account is British, +1", US, UK, None, ""),
    ("the account is British, Mexico", MX, UK, None, "only to +1, +44"),
    ("Jersey has the calling code of the account", "+447797712345", UK, None, ""),
    ("a number of no country", "+80012345678", US, None, "is in +800"),
    ("a satellite", "+881612345678", US, None, "is in +881"),
    ("a list that has it", MX, US, ("US", "MX"), ""),
    ("a list replaces the default", CANADA, US, ("US", "MX"), "CA (+1), and texts may go only to MX, US"),
    ("a list replaces the account's own country", UK, UK, ("US",), "GB (+44)"),
    ("a list tells Jamaica from the US", JAMAICA, US, ("US", "CA"), "JM (+1)"),
    ("a list tells Toronto from the US", TORONTO, US, ("US",), "CA (+1)"),
    ("an empty list", US, US, (), "only to no country"),
    ("no number at all", "12", US, None, "is in +0"),
    ("no number at all, and an account that is gone", "12", "", None, "is in +0"),
    ("an account that is gone", US, "", None, ""),
    ("an account that is gone, abroad", UK, "", None, "GB (+44)"),
]


@pytest.mark.parametrize(
    ("to", "own", "countries", "reason"), [row[1:] for row in NUMBERS], ids=[n[0] for n in NUMBERS]
)
def test_a_number_may_be_texted_or_the_reason_says_why_not(
    to: str, own: str, countries: tuple[str, ...] | None, reason: str
) -> None:
    found = country_problem(to, own, Policy(countries=countries))
    assert bool(found) is bool(reason)
    assert reason in found
    assert not found or "policy.countries" in found
    assert allowed_countries(own, countries).allow(to) is not bool(found)


@given(
    st.sampled_from([MX, UK, "+819012345678", "+4915112345678", "+80012345678", "+2348031234567", "+5355512345"]),
    st.sampled_from([None, (), ("US",), ("US", "CA", "BR")]),
    st.booleans(),
    st.booleans(),
)
def test_nothing_sends_a_text_to_another_country(
    to: str, countries: tuple[str, ...] | None, urgent: bool, approved: bool
) -> None:
    facts: dict[str, Any] = {"to_number": to, "country": country_problem(to, US, Policy(countries=countries))}
    decision = decide(PolicyFacts(MessageKind.SEND, None, None, urgent=urgent, approved=approved, **facts), utcnow())
    assert isinstance(decision, Suppress)
    assert decision.code == "country"
    assert isinstance(decide(PolicyFacts(MessageKind.RECORD, None, None, **facts), utcnow()), Go)


def settings(countries: tuple[str, ...] | None = None, region: str | None = None, own: str = US) -> Settings:
    account = Account(uid="u", token="t", from_number=own)
    connection = Connection(adapter="csv", account="main", default_region=region, owner_numbers={"Ann": UK})
    return Settings(accounts={"main": account}, connections={"crm": connection}, policy=Policy(countries=countries))


def test_a_sender_of_another_country_opens_it_for_nobody() -> None:
    assert country_problem_of(settings(), "main", UK, Policy())
    assert not country_problem_of(settings(), "main", UK, Policy(countries=("GB",)))
    assert country_problem_of(settings(), "removed", UK, Policy())


# what, settings, contacts by area, what the findings say
FINDINGS: list[tuple[str, Settings, list[AreaCount], list[str]]] = [
    ("all at home", settings(region="US"), [AreaCount(US, 1_000_000), AreaCount(JAMAICA, 1)], []),
    ("nobody", settings(), [], []),
    ("a region abroad", settings(region="MX"), [], ['connection crm: default_region is "MX"']),
    ("a region that is allowed", settings(("US", "MX"), region="MX"), [AreaCount(MX, 3)], []),
    ("one contact", settings(), [AreaCount(MX, 1)], ["account main: 1 contact has a number in countries"]),
    (
        "several countries, most contacts first",
        settings(),
        [AreaCount(MX, 2), AreaCount(UK, 1200), AreaCount("+525587654321", 1)],
        ["1,203 contacts have numbers in countries that it may not text: GB (+44): 1,200, such as +4474•••3456; MX"],
    ),
    (
        "the rest is counted",
        settings(),
        [AreaCount(one, 1) for one in (MX, UK, "+33612345678", "+4915112345678", "+819012345678", "+5511961234567")],
        ["and 1 more country"],
    ),
    ("a list without Jamaica", settings(("US",)), [AreaCount(US, 9), AreaCount(JAMAICA, 2)], ["JM (+1): 2"]),
]  # fmt: skip


@pytest.mark.parametrize(("of", "areas", "words"), [row[1:] for row in FINDINGS], ids=[row[0] for row in FINDINGS])
def test_check_names_the_countries_that_may_not_be_texted(
    of: Settings, areas: list[AreaCount], words: list[str]
) -> None:
    found = list(judge_countries(of, {"main": areas}))
    assert len(found) == len(words)
    for finding, part in zip(found, words, strict=True):
        said = f"{finding.what}: {finding.found}"
        assert part in said
        assert finding.level == "warning"
        assert all(area.example not in said for area in areas), "numbers are masked"


def test_what_check_proposes_allows_everybody_and_forbids_nobody() -> None:
    areas = [AreaCount(number, 1) for number in (US, TORONTO, MX, UK)]
    (finding,) = judge_countries(settings(), {"main": areas})
    assert finding.do.endswith('such as ["CA", "GB", "MX", "US"]')
    assert not list(judge_countries(settings(("CA", "GB", "MX", "US")), {"main": areas}))


def test_a_number_without_a_country_code_may_be_of_any_own_country() -> None:
    assert possible_numbers("(415) 555-2671", settings()) == (["+14155552671"], "")
    assert possible_numbers("(415) 555-2671", settings(region="DE"))[0] == ["+14155552671", "+494155552671"]
    assert possible_numbers("+49 4155 552671", settings())[0] == ["+494155552671"]
    none, why = possible_numbers("hello", settings(region="DE"))
    assert (none, bool(why)) == ([], True)
