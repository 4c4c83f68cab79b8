"""Where a number's owner may be, and the tables that say so."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from phonenumbers.tzdata import TIMEZONE_DATA

from worker.core.numbering import (
    AreaCode,
    area_code_of,
    has_new_area_code,
    postal_code_subdivisions,
    subdivision_named,
    subdivisions,
)
from worker.core.phones import is_e164
from worker.policy.locations import Locations, RecordPlace, locations_of, zone_info, zone_named

E, C, M, P = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"
BC, WINNIPEG = ("America/Edmonton", "America/Fort_Nelson", "America/Vancouver"), "America/Winnipeg"
FIFTY_AND_DC = 51
ZONE = "the CRM's time zone"
STATE = "the CRM's state or postal code"


def every_code() -> Iterator[tuple[str, AreaCode]]:
    for code in map(str, range(200, 1000)):
        if (area := area_code_of(f"+1{code}5550100")) is not None:
            yield code, area


def geographic() -> list[tuple[str, AreaCode]]:
    return [(code, area) for code, area in every_code() if area.region]


def of_the_library() -> dict[str, set[str]]:
    """The zones of each area code of +1, number by number: a second opinion."""
    theirs: dict[str, set[str]] = defaultdict(set)
    for prefix, zones in TIMEZONE_DATA.items():
        if prefix.startswith("1") and len(prefix) >= 4:
            theirs[prefix[1:4]] |= set(zones)
    return theirs


def exists(kind: str, code: str) -> bool:
    """Whether the library says of some country of the plan that it has numbers of this kind with this area code."""
    for region in COUNTRY_CODE_TO_REGION_CODE[1]:
        metadata = PhoneMetadata.metadata_for_region(region)
        description = getattr(metadata, kind)
        pattern = description and description.national_number_pattern
        tails = ("2345678", "2015550", "5550100", "2222222", "4561234", "6789012", "9876543")
        if pattern and any(re.fullmatch(pattern, code + tail) for tail in tails):
            return True
    return False


def test_every_country_and_state_of_the_plan_is_in_the_table() -> None:
    assert {area.region for _, area in geographic()} == set(COUNTRY_CODE_TO_REGION_CODE[1])
    states = subdivisions()
    assert Counter(one.country for one in states.values()) == {"US": FIFTY_AND_DC + 5, "CA": 13}
    assert {state for _, area in every_code() for state in area.states} == set(states)
    assert all(zone_info(zone) for _, area in every_code() for zone in area.zones)


def test_every_area_code_belongs_to_one_state_and_lies_in_its_zones() -> None:
    shared = {"782": {"NS", "PE"}, "902": {"NS", "PE"}, "867": {"NT", "NU", "YT"}}
    for code, area in geographic():
        if area.states:
            assert set(area.states) == shared.get(code, set(area.states[:1])), code
            assert set(area.zones) <= {zone for state in area.states for zone in subdivisions()[state].zones}, code
            assert {subdivisions()[state].region for state in area.states} == {area.region}, code
        else:
            assert area.region not in {"US"}, code


def test_every_area_code_that_the_library_knows_is_in_the_table() -> None:
    assert set(of_the_library()) <= {code for code, _ in geographic()}
    ours = dict(every_code())
    for code in map(str, range(200, 1000)):
        for kind in ("fixed_line", "mobile", "toll_free", "premium_rate", "personal_number", "voip", "uan"):
            assert code in ours or not exists(kind, code), (code, kind)
        if exists("toll_free", code) or exists("premium_rate", code):
            assert ours[code].region == "", code


def test_numbers_with_codes_that_are_newer_than_the_library_are_accepted() -> None:
    """When an update of the library knows a code, it leaves ``new_area_codes``."""
    of_a_place = {code for code, area in geographic() if area.states or area.region != "CA"}
    new = of_a_place - set(of_the_library())
    assert {code for code, _ in every_code() if has_new_area_code(f"+1{code}2345678")} == new
    assert all(is_e164(f"+1{code}2345678") for code in new)


SAME_CLOCK = {
    "America/Boise": M,
    "America/Juneau": "America/Anchorage",
    "America/North_Dakota/Center": C,
    "America/Fort_Nelson": "America/Whitehorse",
}
"""The library names a zone that has shown the same time as one of ours for years."""
WRONG = {
    ("689", "America/Chicago"): "689 is Orlando's, which lies in the eastern zone",
    ("907", "Pacific/Honolulu"): "Adak has daylight saving time, and is listed as itself",
    ("879", "America/Puerto_Rico"): "Labrador has the time of Halifax, with daylight saving time",
}
"""Why the table does not have a zone that the library has."""


def test_area_codes_lie_where_the_library_says_too() -> None:
    ours, theirs = dict(geographic()), of_the_library()
    for code in sorted(theirs):
        named = {SAME_CLOCK.get(zone, zone) if zone not in ours[code].zones else zone for zone in theirs[code]}
        missing = {zone for zone in named - set(ours[code].zones) if (code, zone) not in WRONG}
        assert not missing, (code, missing)


def test_each_difference_is_one() -> None:
    theirs = of_the_library()
    assert all(zone in theirs[code] for code, zone in WRONG)


@pytest.mark.parametrize(
    ("code", "place", "zones"),
    [
        *((code, "JM", {"America/Jamaica"}) for code in (658, 876)),
        (868, "TT", {"America/Port_of_Spain"}),
        (441, "BM", {"Atlantic/Bermuda"}),
        (242, "BS", {"America/Nassau"}),
        (246, "BB", {"America/Barbados"}),
        *((code, "DO", {"America/Santo_Domingo"}) for code in (809, 829, 849)),
        (345, "KY", {"America/Cayman"}),
        (649, "TC", {"America/Grand_Turk"}),
        (787, "PR", {"America/Puerto_Rico"}),
        (340, "VI", {"America/St_Thomas"}),
        (671, "GU", {"Pacific/Guam"}),
        (670, "MP", {"Pacific/Saipan"}),
        (684, "AS", {"Pacific/Pago_Pago"}),
        (416, "CA", {"America/Toronto"}),
        (604, "CA", {"America/Vancouver"}),
        (250, "CA", {"America/Vancouver", "America/Edmonton", "America/Fort_Nelson"}),
        (306, "CA", {"America/Regina", "America/Edmonton", "America/Winnipeg"}),
        (807, "CA", {"America/Toronto", "America/Winnipeg", "America/Panama"}),
        (418, "CA", {"America/Toronto", "America/Halifax", "America/Puerto_Rico"}),
        (709, "CA", {"America/St_Johns", "America/Halifax"}),
        (
            867,
            "CA",
            {
                "America/Edmonton", "America/Panama", "America/Toronto", "America/Winnipeg", "America/Vancouver",
                "America/Whitehorse",
            },
        ),
        (907, "US", {"America/Adak", "America/Anchorage"}),
        (928, "US", {M, "America/Phoenix"}),
        (924, "US", {C}),  # in service since 2024, and unknown to the library
    ],
)  # fmt: skip
def test_a_code_names_its_country_and_all_its_zones(code: int, place: str, zones: set[str]) -> None:
    for account in (None, P):
        found = locations_of(f"+1{code}5550100", [], account)
        assert (set(found.zones), found.countries, found.source) == (zones, (place,), "the number")


@pytest.mark.parametrize("code", [222, 555, 666, 999])
def test_an_unknown_code_may_be_anywhere_in_the_plan_whatever_the_account_says(code: int) -> None:
    found = locations_of(f"+1{code}5550100", [], P)
    assert set(found.zones) == {zone for _, area in geographic() for zone in area.zones}
    assert found.countries == ()


def test_canadas_own_numbers_may_be_anywhere_in_canada() -> None:
    found = locations_of("+16005550100", [], P)
    assert set(found.zones) == {zone for one in subdivisions().values() if one.country == "CA" for zone in one.zones}
    assert found.countries == ("CA",)


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("America/New_York", E),
        ("america/new_york", E),
        ("america_slash_new_york", E),
        ("US/Eastern", "US/Eastern"),
        ("Eastern", E),
        ("EST", E),
        ("edt", E),
        ("ET", E),
        ("Eastern Standard Time", E),
        ("Eastern Time (US & Canada)", E),
        ("(GMT-05:00) Eastern Time (US & Canada)", E),
        ("Central Time", C),
        ("Mountain Daylight Time", M),
        ("Pacific Time Zone", P),
        ("Hawaii", "Pacific/Honolulu"),
        ("Arizona", "America/Phoenix"),
        ("Alaska Standard Time", "America/Anchorage"),
        ("Central European Time", None),
        ("Central America Standard Time", None),
        ("Central Standard Time (Mexico)", None),
        ("Pacific SA Standard Time", None),
        ("Eastern Europe", None),
        ("UTC", None),
        ("Etc/UTC", None),
        ("GMT", None),
        ("Mars/Olympus", None),
        ("local", None),
        ("", None),
    ],
)
def test_time_zones_as_crms_write_them(written: str, zone: str | None) -> None:
    assert zone_named(written) == zone


def test_american_words_mean_nothing_abroad() -> None:
    assert zone_named("Eastern Time", american=False) is None
    assert zone_named("Australia/Sydney", american=False) == "Australia/Sydney"


@pytest.mark.parametrize(
    ("written", "state"),
    [
        *((written, "FL") for written in ("FL", "fl.", "US-FL", "Florida", " florida ")),
        *(("Washington DC", "DC"), ("Washington", "WA")),
        *((written, "ON") for written in ("ON", "on", "CA-ON", "Ontario")),
        *((written, "QC") for written in ("QC", "PQ", "Quebec", "Québec")),
        *(("Newfoundland", "NL"), ("PEI", "PE"), ("Yukon Territory", "YT")),
        *((written, None) for written in ("New South Wales", "", "F", "Jalisco")),
    ],
)
def test_states_as_crms_write_them(written: str, state: str | None) -> None:
    assert subdivision_named(written) == state


@pytest.mark.parametrize(
    ("written", "states"),
    [
        *((written, ("FL",)) for written in ("33101", "33101-1234", "331011234")),
        *(("2108", ("MA",)), ("3310", ("NH",)), ("96910", ("GU", "MP"))),
        *((written, ("ON",)) for written in ("K1A 0B1", "k1a0b1", "M5V-3L9")),
        *(("H2X 1Y4", ("QC",)), ("X0A 0H0", ("NT", "NU")), ("V6B 1A1", ("BC",))),
        *((written, ()) for written in ("00000", "SW1A 1AA", "W1A 1AA", "K1A", "Z1A 0B1", "", "331014", "٣٣١٠١")),
    ],
)
def test_postal_codes(written: str, states: tuple[str, ...]) -> None:
    assert set(postal_code_subdivisions(written)) == set(states)


@pytest.mark.parametrize(
    ("phone", "records", "account", "expected"),
    [
        ("+13055550100", [], None, Locations((E,), ("FL",), "the number")),
        ("+13055550100", [RecordPlace(state="CA")], None, Locations((P,), ("CA", "FL"), STATE)),
        ("+13055550100", [RecordPlace(E, "CA")], None, Locations((P, E), ("CA", "FL"), f"{STATE} and {ZONE}")),
        ("+18505550100", [RecordPlace(C, "FL")], None, Locations((C,), ("FL",), ZONE)),
        ("+18505550100", [], C, Locations((C, E), ("FL",), "the number")),
        ("+18505550100", [], P, Locations((C, E), ("FL",), "the number")),
        ("+18005550100", [], C, Locations((C,), (), "the account's time zone")),
        ("+12125550100", [RecordPlace(state="NY", postal_code="06390")], None, Locations((E,), ("NY",), STATE)),
        ("+12125550100", [RecordPlace(postal_code="06390")], None, Locations((E,), ("CT", "NY"), STATE)),
        ("+882161234567", [], None, Locations((), (), "")),
        ("+12125550100", [RecordPlace(C), RecordPlace(P)], None, Locations((C, P), ("NY",), "the CRM's time zone")),
        (
            "+12125550100",
            [RecordPlace("", "CA"), RecordPlace("", "WA")],
            None,
            Locations((P,), ("CA", "NY", "WA"), STATE),
        ),
        ("+12125550100", [RecordPlace(*["nonsense"] * 3)], None, Locations((E,), ("NY",), "the number")),
        ("+14165550100", [RecordPlace(state="BC")], None, Locations(tuple(BC), ("BC", "ON"), STATE)),
        ("+14165550100", [RecordPlace(postal_code="R3C 1A1")], None, Locations((WINNIPEG,), ("MB", "ON"), STATE)),
        ("+18765550100", [RecordPlace(state="FL")], None, Locations((C, E), ("FL",), STATE)),
        ("+61291234567", [RecordPlace(state="WA")], None, Locations((P, "Australia/Sydney"), ("WA",), STATE)),
    ],
)  # fmt: skip
def test_where_somebody_may_be(
    phone: str, records: list[RecordPlace], account: str | None, expected: Locations
) -> None:
    found = locations_of(phone, records, account)
    assert (set(found.zones), found.states, found.source) == (set(expected.zones), expected.states, expected.source)
