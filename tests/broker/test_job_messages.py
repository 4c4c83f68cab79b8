"""How a message is read: what Celery gets, and that clients of every kind are understood."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.transport.virtual.base import Message

from worker.broker.job_messages import MalformedMessage, fingerprint, read_job_message
from worker.broker.raw_messages import envelope_of

TASKS = {"vtsync.send_message": lambda *_, **__: None, "vtsync.record_message": lambda *_, **__: None}
JOB = {"account": "main", "to": "+14155550101", "message": "hello"}


def message(headers: dict[str, Any], body: Any, **properties: Any) -> Any:
    return SimpleNamespace(
        headers=headers,
        body=json.dumps(body),
        content_type="application/json",
        content_encoding="utf-8",
        properties=properties,
        delivery_info={},
    )


SEND = {"task": "vtsync.send_message", "id": "i1"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (SEND, JOB),
        (SEND, [[], JOB, None]),
        (SEND, [[], JOB, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]),
        (SEND, {"kwargs": JOB}),
        (SEND, {"args": None, "kwargs": JOB}),
        ({}, SEND | {"args": [], "kwargs": JOB, "retries": 0, "eta": None, "taskset": None, "utc": True}),
    ],
)
def test_every_form_is_the_same_job(headers: dict[str, Any], body: Any) -> None:
    read = read_job_message(message(headers, body), TASKS)
    assert (read.headers["task"], read.headers["id"], read.headers["retries"]) == ("vtsync.send_message", "i1", 0)
    args, kwargs, embed = json.loads(read.body)
    assert (args, kwargs) == ([], JOB)
    assert set(embed.values()) == {None}


def test_a_retry_of_celery_keeps_what_it_needs() -> None:
    given = {
        "lang": "py",
        "task": "vtsync.send_message",
        "id": "i1",
        "shadow": None,
        "eta": "2027-03-04T05:06:07.123456+00:00",
        "expires": None,
        "group": "g",
        "group_index": 3,
        "retries": 2,
        "timelimit": [None, None],
        "root_id": "r",
        "parent_id": "p",
        "argsrepr": "(hidden)",
        "ignore_result": False,
        "traceparent": "00-1-2-01",
        "headers": {"sentry-trace": "t", "other": [1]},
    }
    follows = {"task": "after", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
    embed = {"callbacks": [follows], "errbacks": None, "chain": [follows], "chord": follows}
    read = read_job_message(message(given, [[], JOB, embed], reply_to="q", correlation_id="c", priority=3), TASKS)
    left_out = {"shadow", "expires", "timelimit", "argsrepr"}
    assert read.headers == {name: given[name] for name in given if name not in left_out} | {
        "headers": {"sentry-trace": "t"}
    }
    assert read.properties == {"reply_to": "q", "correlation_id": "c", "priority": 3}
    assert json.loads(read.body)[2] == embed


@pytest.mark.parametrize(
    ("headers", "arguments", "properties", "found"),
    [
        ({"id": "i1"}, {}, {"message_id": "m1"}, "i1"),
        ({}, {}, {"message_id": "m1"}, "m1"),
        ({}, {"idempotency_key": "k1"}, {}, "fingerprint"),
        ({"task": "vtsync.record_message"}, {"carrier": "c", "carrier_message_id": "m"}, {}, "fingerprint"),
        ({}, {}, {}, None),
        ({"task": "vtsync.record_message"}, {}, {}, None),
    ],
)
def test_a_job_has_an_id_or_a_key(
    headers: dict[str, Any], arguments: dict[str, Any], properties: dict[str, Any], found: str | None
) -> None:
    given = message({"task": "vtsync.send_message"} | headers, JOB | arguments, **properties)
    if found is None:
        with pytest.raises(MalformedMessage, match="neither an id nor an idempotency_key"):
            read_job_message(given, TASKS)
    else:
        expected = fingerprint(given) if found == "fingerprint" else found
        assert read_job_message(given, TASKS).headers["id"] == expected


def test_a_message_that_is_delivered_again_is_the_same_dead_letter() -> None:
    first = fingerprint(message({"task": "a"}, JOB))
    assert fingerprint(message({"task": "a", "redelivered": True, "x-delivery-count": 2}, JOB)) == first
    assert fingerprint(message({"task": "b"}, JOB)) != first


def test_the_envelope_of_the_documentation_is_understood() -> None:
    page = Path(__file__).parents[2] / "docs" / "other-languages.md"
    (example,) = re.findall(r"```json\n(.+?)\n```", page.read_text("utf-8"), re.S)
    arrived = Message(
        envelope_of(example.encode(), "celery"), channel=SimpleNamespace(decode_body=lambda body, _: body)
    )
    read = read_job_message(arrived, TASKS)
    assert read.headers["id"] == "order-1042-ready"
    assert set(json.loads(read.body)[1]) == {"account", "to", "message"}
