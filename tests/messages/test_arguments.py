"""What other services send through the broker is checked, and every problem comes back as a result."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.messages.arguments import RECORD, SEND, SYNC, read_arguments

GOOD = {"account": "main", "to": "+14155550101", "message": "hello"}


def test_good_arguments_become_values() -> None:
    values, problems = read_arguments(
        SEND, (), GOOD | {"send_at": "2026-03-01T14:30:00+00:00", "media": "https://x/y.png"}
    )
    assert problems == []
    assert values["media"] == ("https://x/y.png",)
    assert values["send_at"].isoformat() == "2026-03-01T14:30:00+00:00"


def test_positional_arguments_count_in_order() -> None:
    assert read_arguments(SYNC, ("crm", True), {}) == ({"connection": "crm", "accept_removals": True}, [])


def test_null_means_left_out() -> None:
    assert read_arguments(SEND, (), GOOD | {"media": None}) == (GOOD, [])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, '"account" is missing'),
        (GOOD | {"message": None}, '"message" is missing'),
        (GOOD | {"mesage": "x"}, '"mesage" is not an argument; did you mean "message"?'),
        (GOOD | {"zzz": "x"}, '"zzz" is not an argument; there are:'),
        (GOOD | {"to": 14155550101}, '"to" must be a string'),
        (GOOD | {"media": [1]}, '"media" must be a list of strings'),
        (GOOD | {"send_at": "tomorrow"}, '"send_at" must be a time with a zone'),
        (GOOD | {"send_at": "2026-03-01T14:30:00"}, '"send_at" must be a time with a zone'),
        (GOOD | {"send_at": 5}, '"send_at" must be a time with a zone'),
    ],
)
def test_every_problem_is_named(arguments: dict[str, Any], problem: str) -> None:
    _, problems = read_arguments(SEND, (), arguments)
    assert any(one.startswith(problem) for one in problems), problems


def test_too_many_and_doubled_arguments_are_problems() -> None:
    _, problems = read_arguments(SYNC, ("crm", True, 3), {"connection": "other"})
    assert len(problems) == 2


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from([SEND, RECORD, SYNC]),
    st.lists(_json, max_size=10),
    st.dictionaries(st.sampled_from([a.name for a in SEND]) | st.text(), _json, max_size=8),
)
def test_no_json_ever_raises(specification: Any, positional: list[Any], named: dict[str, Any]) -> None:
    _, problems = read_arguments(specification, positional, named)
    json.dumps(problems)
