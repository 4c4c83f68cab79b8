"""Conditions over a record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.conditions import holds, problem

RECORD = {
    "Status": "ready",
    "Balance": "120.50",
    "Visits": 3,
    "Zip": "02134",
    "VIP": True,
    "Nick Name": "",
    "Tags": "a;b",
    "code": "7",
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("status == 'ready'", True),
        ("status == 'Ready'", False),
        ("status != 'cancelled'", True),
        ("status == 'ready' and balance > 100", True),
        ("status == 'open' or balance > 100", True),
        ("balance > 120.5", False),
        ("balance >= 120.5", True),
        ("visits > 2", True),
        ("visits == 3", True),
        ("code == 7", True),
        ("zip == '02134'", True),
        ("vip", True),
        ("vip == true", True),
        ("tags contains 'b'", True),
        ("record['Status'] == 'ready'", True),
        ("missing", False),
        ("missing == 'x'", False),
        ("missing != 'x'", True),
        ("missing == nil", True),
        ("nick_name == nil", True),
        ("status > 5", False),
        ("missing > 5", False),
        ("status\n  == 'ready'", True),
    ],
)
def test_conditions(condition: str, expected: bool) -> None:
    assert problem(condition) == ""
    assert holds(condition, RECORD) is expected


@pytest.mark.parametrize(
    ("condition", "word"),
    [
        ("", "empty"),
        ("status ==", "cannot be read"),
        ("{{ status }}", "without braces"),
        ("status == 'x' %}{% endif", "without braces"),
        ("x" * 501, "at most 500"),
    ],
)
def test_what_is_wrong_is_said(condition: str, word: str) -> None:
    assert word in problem(condition)


@given(
    st.dictionaries(
        st.sampled_from([*RECORD, "x"]), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())
    )
)
def test_any_record_can_be_asked(record: dict[str, Any]) -> None:
    for condition in ("status == 'ready' and balance > 100", "visits > 2 or vip", "tags contains 'b'"):
        assert holds(condition, record) in (True, False)
