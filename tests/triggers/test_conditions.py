"""Conditions over a record."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.conditions import Judgement, holds, judge, problem
from worker.triggers.context import text_context
from worker.triggers.templates import TemplateProblem, compile_template

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


TYPED = {
    "due": "4/3/2027",
    "start": "3 April 2027 10:30",
    "seen": "2027-04-03T08:30:00Z",
    "late": "soon",
    "sum": "1,234.50",
    "grouped": "1,234",
    "german": "1.234,50",
    "price": "$1,250.00",
    "owed": "($99.50)",
    "euros": "€99,90",
    "share": "12%",
    "code": "7",
    "zip": "007",
    "vip": "TRUE",
    "off": "f",
    "flag": "maybe",
    "size": "XL",
    "nine": "9",
    "ten": "10",
    "gone": "",
}
READ: list[tuple[str, bool, str]] = [
    # dates
    ("due > '2027-01-01'", True, ""),
    ("due < '2027-01-01'", False, ""),
    ("due >= '3 April 2027'", True, ""),
    ("due == '2027-04-03'", True, ""),
    ("due != '2027-04-03'", False, ""),
    ("'2027-04-03' == due", True, ""),
    ("due == '4/3/2027'", True, ""),
    ("due == '2027-03-04'", False, ""),
    ("start > due", True, ""),
    ("seen > due", True, ""),  # as it is written
    ("seen == '2027-04-03T10:30:00+02:00'", True, ""),
    ("late > '2027-01-01'", False, "late"),
    ("late <= '2027-01-01'", False, "late"),
    ("'2027-01-01' < late", False, "late"),
    ("late == '2027-01-01'", False, ""),
    ("late != '2027-01-01'", True, ""),
    ("due == '13/04/2027'", False, ""),
    # numbers
    ("sum > 100", True, ""),
    ("sum >= 1234.5", True, ""),
    ("sum == 1234.5", True, ""),
    ("sum != 1234.5", False, ""),
    ("sum == 7", False, ""),
    ("grouped == 1234", True, ""),
    ("german > 100", False, "german"),
    ("german == 1234.5", False, "german"),
    ("german != 1234.5", False, "german"),
    ("german == 7", False, ""),
    ("german > sum", False, "german"),
    # money
    ("price > 1000", True, ""),
    ("price == '$1250'", True, ""),
    ("price == 1250", True, ""),
    ("price > 'USD 1,000'", True, ""),
    ("owed < 0", True, ""),
    ("euros > 50", True, ""),
    ("euros > price", False, "euros"),
    ("euros == price", False, "euros"),
    ("euros != price", False, "euros"),
    ("price > size", False, "price"),
    # percent
    ("share > '10%'", True, ""),
    ("share == '12.0 %'", True, ""),
    ("share > 10", False, "share"),
    ("share == 12", False, "share"),
    ("share > price", False, "share"),
    ("zip == 7", False, "zip"),
    ("zip == '007'", True, ""),
    ("code == 7", True, ""),
    ("code == '7'", True, ""),
    ("code == '7.0'", True, ""),
    ("ten > nine", True, ""),
    ("ten > '9'", True, ""),
    ("size > 3", False, "size"),
    ("size > nine", False, "size"),
    ("size > 'L'", True, ""),
    ("size == 3", False, ""),
    # booleans
    ("vip == true", True, ""),
    ("vip != true", False, ""),
    ("off == false", True, ""),
    ("flag == true", False, "flag"),
    ("flag != true", False, "flag"),
    ("gone == true", False, ""),
    ("code == false", False, "code"),
    # the rest decides
    ("vip or late > '2027-01-01'", True, ""),
    ("late > '2027-01-01' or vip", True, ""),
    ("gone and late > '2027-01-01'", False, ""),
    ("late > '2027-01-01' and gone", False, ""),
    ("late > '2027-01-01' and vip", False, "late"),
    ("gone or late > '2027-01-01'", False, "late"),
    # nothing to compare
    ("gone > 5", False, ""),
    ("gone > '2027-01-01'", False, ""),
    ("record > 5", False, ""),
]


@pytest.mark.parametrize(("condition", "expected", "unread"), READ)
def test_values_are_compared_as_what_they_are(condition: str, expected: bool, unread: str) -> None:
    found = judge(condition, TYPED, None, "US")
    assert found == Judgement(expected, (unread, str(TYPED[unread])) if unread else None)


@pytest.mark.parametrize(("condition", "expected", "unread"), READ)
def test_messages_compare_as_conditions_do_and_are_not_sent_with_what_they_cannot_read(
    condition: str, expected: bool, unread: str
) -> None:
    context = text_context(TYPED, None, {}, "US")
    for source, said in (
        (f"{{% if {condition} %}}yes{{% else %}}no{{% endif %}}", "yes" if expected else "no"),
        (f"{{% unless {condition} %}}no{{% else %}}yes{{% endunless %}}", "yes" if expected else "no"),
        (f"{{% if nothing %}}x{{% elsif {condition} %}}yes{{% else %}}no{{% endif %}}", "yes" if expected else "no"),
    ):
        template = compile_template(source)
        if unread:
            with pytest.raises(TemplateProblem, match=re.escape(f'{unread} is "{TYPED[unread]}", which cannot')):
                template.render(context)
        elif "gone >" not in condition and "record" not in condition:  # which are errors in a text
            assert template.render(context) == said


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
