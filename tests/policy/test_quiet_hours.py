"""The hours and the file that they come from."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from config.policy import Policy
from worker.core.numbering import subdivisions
from worker.policy import decide
from worker.policy.locations import Locations
from worker.policy.quiet_hours import next_open, next_window, release_time, rules_for

WIDE = Policy(text_from=time(0), text_until=time(23, 59), sunday_from=time(0))
NOWHERE = Locations(())
NEW_YORK = Locations(("America/New_York",))


def table() -> dict[str, Any]:
    return tomllib.loads(files("worker.policy").joinpath("data/quiet_hours.toml").read_text("utf-8"))


def test_the_file_says_since_when_and_from_where() -> None:
    data = table()
    assert date(2026, 1, 1) < data["checked"]
    assert set(data["states"]) <= set(subdivisions())
    for name, row in (*data["states"].items(), ("federal", data["federal"])):
        assert any(character.isdigit() for character in row["source"]), f"{name}: which section?"


def test_the_document_shows_the_file() -> None:
    data, document = table(), (Path(__file__).parents[2] / "docs" / "policy.md").read_text("utf-8")
    assert f"As of {data['checked']}" in document
    for state, row in data["states"].items():
        hours = rules_for(WIDE, Locations((), (state,)))
        assert f"| {subdivisions()[state].name} | {hours} | {row['source']} |" in document
    hours = rules_for(WIDE, Locations((), ("ON",)))
    assert f"| Canada | {hours} | {data['countries']['CA']['source']} |" in document


def test_the_document_names_every_code() -> None:
    document = (Path(__file__).parents[2] / "docs" / "policy.md").read_text("utf-8")
    code = (Path(decide.__file__)).read_text("utf-8")
    codes = set(re.findall(r'(?:Suppress\(\s*|Hold\(\s*[^,]+,\s*|_until\([^,]+, )"(\w+)"', code))
    assert len(codes) >= 14
    assert not {one for one in codes if f"`{one}`" not in document}


def test_no_state_is_wider_than_the_federal_rule_and_each_says_something() -> None:
    data = table()
    opens, closes = (time.fromisoformat(data["federal"][key]) for key in ("from", "until"))
    known = {f"{day}{end}" for day in ("", "saturday_", "sunday_") for end in ("from", "until")}
    for state, row in data["states"].items():
        said = set(row) - {"source"}
        assert said, state
        assert said <= known | {"no_sundays", "no_holidays", "closed_days"}, state
        for key in said & known:
            assert opens <= time.fromisoformat(row[key]) <= closes, (state, key)
        rules = rules_for(WIDE, Locations((), (state,)))
        assert rules is not None
        assert rules.weekday.opens < rules.weekday.closes, state


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([], "08:00 to 21:00"),
        (["FL"], "08:00 to 20:00"),
        (["TX"], "09:00 to 21:00, on Sundays 12:00 to 21:00"),
        (["FL", "TX"], "09:00 to 20:00, on Sundays 12:00 to 20:00"),
        (["AL"], "08:00 to 20:00, on Sundays not at all, not on public holidays"),
        (["MS"], "08:00 to 20:00, on Sundays not at all"),
        (["PA"], "08:00 to 21:00, not on public holidays"),
        (["RI"], "09:00 to 18:00, on Saturdays 10:00 to 17:00, on Sundays not at all, not on public holidays"),
        (["KY", "RI"], "10:00 to 18:00, on Saturdays 10:00 to 17:00, on Sundays not at all, not on public holidays"),
        (["CA"], "08:00 to 21:00"),
        (["ON"], "09:00 to 21:00, on Saturdays 10:00 to 18:00, on Sundays 10:00 to 18:00"),
        (["FL", "ON"], "09:00 to 20:00, on Saturdays 10:00 to 18:00, on Sundays 10:00 to 18:00"),
    ],
)
def test_rules_in_words(states: list[str], words: str) -> None:
    assert str(rules_for(WIDE, Locations((), tuple(states)))) == words


def test_the_configuration_only_narrows() -> None:
    assert str(rules_for(Policy(), NOWHERE)) == "09:00 to 20:00, on Sundays 12:00 to 20:00"
    assert (
        str(rules_for(Policy(text_from=time(5), text_until=time(23), sunday_from=time(6)), NOWHERE)) == "08:00 to 21:00"
    )
    assert rules_for(Policy(quiet_hours="none"), Locations((), ("FL",))) is None


@pytest.mark.parametrize("locations", [Locations(()), NEW_YORK])
def test_no_zone_or_no_hour_is_never_open(locations: Locations) -> None:
    never = rules_for(Policy(text_from=time(20), text_until=time(9)), NOWHERE)
    assert never is not None
    assert next_window(locations, never, datetime(2026, 6, 3, 16, tzinfo=UTC)) is None


def test_the_next_window_is_the_rest_of_this_one_or_the_whole_of_the_next() -> None:
    rules = rules_for(Policy(), NOWHERE)
    assert rules is not None
    noon = datetime(2026, 6, 3, 16, tzinfo=UTC)
    assert next_window(NEW_YORK, rules, noon) == (noon, datetime(2026, 6, 4, 0, tzinfo=UTC))
    night = datetime(2026, 6, 4, 0, tzinfo=UTC)
    assert next_window(NEW_YORK, rules, night) == (night + timedelta(hours=13), night + timedelta(hours=24))
    assert next_open(NEW_YORK, rules, night) == night + timedelta(hours=13)


def test_a_text_that_would_expire_in_the_spread_goes_before() -> None:
    start = datetime(2026, 6, 3, 13, tzinfo=UTC)
    window, expires_at = (start, start + timedelta(hours=11)), start + timedelta(minutes=2)
    numbers = [f"+1415555{n:04d}" for n in range(100)]
    assert all(release_time(one, window, timedelta(hours=1), expires_at) < expires_at for one in numbers)
    # One that has expired by then is not hurried.
    assert {release_time(one, window, timedelta(0), start) for one in numbers} == {start}
