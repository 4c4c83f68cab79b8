"""Where a number's owner may be, and the tables that say so."""

from __future__ import annotations

from collections import defaultdict

import pytest
from phonenumbers.tzdata import TIMEZONE_DATA

from worker.policy.locations import (
    Locations,
    RecordPlace,
    area_code_states,
    locations_of,
    number_zones,
    state_named,
    us_states,
    zip_states,
    zone_info,
    zone_named,
)

E, C, M, P = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"
FIFTY_AND_DC = 51
ZONE = "the CRM's time zone"
STATE = "the CRM's state or ZIP code"


def area_codes() -> dict[str, tuple[str, ...]]:
    return {
        code: states for n in range(200, 1000) if (states := area_code_states(f"+1{n}5550100")) for code in [str(n)]
    }


def test_every_state_has_zones_that_exist_and_area_codes() -> None:
    states = us_states()
    assert len(states) == FIFTY_AND_DC + 5
    assert all(zone_info(zone) for state in states.values() for zone in state.zones)
    assert {state for one in area_codes().values() for state in one} == set(states)


def test_every_area_code_belongs_to_one_state_and_lies_in_its_zones() -> None:
    for code, states in area_codes().items():
        assert len(states) == 1, code
        zones = number_zones(f"+1{code}5550100")
        assert zones, code
        assert set(zones) <= set(us_states()[states[0]].zones), code


def test_area_codes_lie_where_the_library_says_too() -> None:
    """Its data is a second opinion, number by number; it is wrong about 689, which is Orlando's."""
    theirs: dict[str, set[str]] = defaultdict(set)
    for prefix, zones in TIMEZONE_DATA.items():
        if prefix.startswith("1") and len(prefix) >= 4:
            theirs[prefix[1:4]] |= set(zones)
    same = {"America/Boise": M, "America/Juneau": "America/Anchorage", "America/North_Dakota/Center": C}
    beside_zone = {"907": {"Pacific/Honolulu"}}
    for code in area_codes():
        expected = {same.get(zone, zone) for zone in theirs[code]} - beside_zone.get(code, set())
        if code == "689" or len(expected) > 5:  # the library knows nothing of it
            continue
        missing = expected - set(number_zones(f"+1{code}5550100"))
        assert not missing, (code, missing)


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
        *((written, None) for written in ("New South Wales", "", "F", "Ontario")),
    ],
)
def test_states_as_crms_write_them(written: str, state: str | None) -> None:
    assert state_named(written) == state


@pytest.mark.parametrize(
    ("written", "states"),
    [
        *((written, ("FL",)) for written in ("33101", "33101-1234", "331011234")),
        *(("2108", ("MA",)), ("3310", ("NH",)), ("96910", ("GU", "MP"))),
        *((written, ()) for written in ("00000", "SW1A 1AA", "K1A 0B1", "", "331014", "٣٣١٠١")),
    ],
)
def test_zip_codes(written: str, states: tuple[str, ...]) -> None:
    assert set(zip_states(written)) == set(states)


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
        ("+61291234567", [RecordPlace(state="WA")], None, Locations((P, "Australia/Sydney"), ("WA",), STATE)),
    ],
)  # fmt: skip
def test_where_somebody_may_be(
    phone: str, records: list[RecordPlace], account: str | None, expected: Locations
) -> None:
    found = locations_of(phone, records, account)
    assert (set(found.zones), found.states, found.source) == (set(expected.zones), expected.states, expected.source)
