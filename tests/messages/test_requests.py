"""One model reads each job: what other services send is checked, and every problem comes back in plain words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.messages.requests import InvalidRequest, JobRequest, RecordRequest, SendRequest, SyncRequest

GOOD = {"account": "main", "to": "+14155550101", "message": "hello"}
RECORD = GOOD | {"carrier": "twilio", "carrier_message_id": "SM1"}


def problems(model: type[JobRequest], *positional: Any, **named: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as error:
        model.from_call(positional, named)
    return [problem.sentence for problem in error.value.problems]


def test_good_arguments_become_values() -> None:
    named = GOOD | {"send_at": "2026-03-01T14:30:00+00:00", "media": "https://x.example/y.png"}
    request = SendRequest.from_call((), named)
    assert request.media == ("https://x.example/y.png",)
    assert request.send_at == datetime(2026, 3, 1, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("model", "order"),
    [
        (SendRequest, "account to message media from_number idempotency_key send_at expires_at urgent"),
        (RecordRequest, "account to message media from_number carrier carrier_message_id sent_at idempotency_key"),
        (SyncRequest, "connection accept_removals"),
    ],
)
def test_positional_arguments_count_in_an_order_that_never_changes(model: type[JobRequest], order: str) -> None:
    assert order.split() == list(model.POSITIONAL)
    assert set(model.POSITIONAL) <= set(model.model_fields)


def test_positional_arguments_are_taken() -> None:
    assert SyncRequest.from_call(("crm", True), {}) == SyncRequest(connection="crm", accept_removals=True)


def test_null_means_left_out() -> None:
    assert SendRequest.from_call((), GOOD | {"media": None, "urgent": None}) == SendRequest.parse(GOOD)


def test_what_was_left_out_takes_the_tasks_default() -> None:
    default = {"idempotency_key": "task:1"}
    assert SendRequest.from_call((), GOOD, **default).idempotency_key == "task:1"
    assert SendRequest.from_call((), GOOD | {"idempotency_key": "mine"}, **default).idempotency_key == "mine"


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"account": None}, "account is missing"),
    ({"to": None}, "to is missing"),
    ({"mesage": "x"}, '"mesage" is unknown; did you mean "message"?'),
    ({"zzz": "x"}, '"zzz" is unknown; the known names are: to, message,'),
    ({"to": 14155550101}, "to must be a string"),
    ({"message": {}}, "message must be a string"),
    ({"media": [1]}, "media must be a list of strings"),
    ({"media": 5}, "media must be a list of strings"),
    ({"urgent": "yes"}, "urgent must be true or false"),
    ({"urgent": 1}, "urgent must be true or false"),
    ({"send_at": "tomorrow"}, "send_at must be an ISO 8601 time with a time zone, such as"),
    ({"send_at": "2026-03-01T14:30:00"}, "send_at must be an ISO 8601 time with a time zone"),
    ({"send_at": 5}, "send_at must be an ISO 8601 time with a time zone"),
    ({"send_at": "1767225600"}, "send_at must be an ISO 8601 time with a time zone"),
    ({"send_at": True}, "send_at must be an ISO 8601 time with a time zone"),
]
UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"to": "415"}, 'to must be a phone number in E.164, such as "+14155552671", not "415"'),
    ({"from_number": "+14155552670" * 9}, 'from_number must be a phone number in E.164, such as "+14155552671", not "'),
    ({"to": "\ud800"}, "to has characters that cannot be sent"),
    ({"message": ""}, "message is empty and there is no media; give at least one of them"),
    ({"message": "x" * 1601}, "message has 1601 characters, at most 1600 are allowed; shorten it"),
    ({"message": "a\x00"}, "message has characters that cannot be sent"),
    ({"media": ["ftp://x"]}, 'media must be public http or https URLs, not "ftp://x"'),
    ({"media": ["https://x.example/y"] * 11}, "media has 11 items, at most 10 are allowed"),
    ({"account": "x" * 101}, "account has 101 characters, at most 100 are allowed"),
    ({"idempotency_key": "auto:1"}, "idempotency_key must not begin with trigger: or auto:"),
    ({"send_at": "0001-01-01T00:00:00+23:00"}, "send_at must be in this century, not in the year 1"),
]


@pytest.mark.parametrize(
    ("change", "problem", "malformed"),
    [(*one, True) for one in MALFORMED] + [(*one, False) for one in UNUSABLE],
)
def test_every_problem_is_named_and_is_of_its_kind(change: dict[str, Any], problem: str, malformed: bool) -> None:
    with pytest.raises(InvalidRequest) as error:
        SendRequest.from_call((), GOOD | change)
    (found,) = error.value.problems
    assert found.sentence.startswith(problem)
    assert (found.malformed, error.value.malformed) == (malformed, malformed)
    assert str(found.path[0]) in (*change, "\ud800")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"carrier": None}, "carrier and carrier_message_id belong together; give both or neither"),
        ({"carrier_message_id": None}, "carrier and carrier_message_id belong together; give both or neither"),
        ({"carrier": None, "carrier_message_id": None}, "carrier and carrier_message_id, or an idempotency_key, must"),
        ({"carrier_message_id": "1\x00"}, "carrier_message_id must not contain NUL characters"),
    ],
)
def test_a_record_must_be_known_by_something(change: dict[str, Any], problem: str) -> None:
    (found,) = problems(RecordRequest, **RECORD | change)
    assert found.startswith(problem)


def test_all_problems_are_found_at_once() -> None:
    assert problems(SendRequest, to="415", media=["ftp://x"], zzz=1) == [
        '"zzz" is unknown; the known names are: ' + ", ".join(SendRequest.model_fields),
        'to must be a phone number in E.164, such as "+14155552671", not "415"',
        'media must be public http or https URLs, not "ftp://x"',
        "account is missing",
    ]


def test_too_many_and_doubled_arguments_are_problems() -> None:
    assert problems(SyncRequest, "crm", True, 3, connection="other") == [
        "at most 2 positional arguments are allowed, 3 were given; name them",
        "connection was given twice",
    ]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from([SendRequest, RecordRequest, SyncRequest]),
    st.lists(_json, max_size=10),
    st.dictionaries(st.sampled_from(SendRequest.POSITIONAL) | st.text(), _json, max_size=8),
)
def test_any_json_is_a_request_or_a_list_of_problems(
    model: type[JobRequest], positional: list[Any], named: dict[str, Any]
) -> None:
    try:
        model.from_call(positional, named)
    except InvalidRequest as error:
        json.dumps([problem.sentence for problem in error.problems]).encode()
