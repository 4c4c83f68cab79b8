"""When the time of a job counts as past, and when two ways to write a job are the same job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from tests.messages.conftest import Outbox, number
from worker.messages.outbox import Enqueued, enqueue_send, payload_hash
from worker.messages.request_times import FURTHEST, GRACE, LONGEST_WAIT, record_time_problems, send_time_problems
from worker.messages.requests import IdempotencyConflict, InvalidRequest, RecordRequest, SendRequest
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import message, public_event

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
MOMENT = timedelta(seconds=1)
JOB: dict[str, Any] = {"account": "main", "to": number(0), "message": "hello"}


NO_WAIT, DAY = timedelta(0), timedelta(days=1)


@pytest.mark.parametrize(
    ("send_at", "expires_at", "waited", "fields"),
    [
        (NOW, None, NO_WAIT, []),
        (NOW - GRACE, None, NO_WAIT, []),
        (NOW - GRACE - MOMENT, None, NO_WAIT, ["send_at"]),
        (NOW - DAY, None, LONGEST_WAIT, []),
        (NOW - GRACE - LONGEST_WAIT - MOMENT, None, LONGEST_WAIT, ["send_at"]),
        (NOW + FURTHEST, None, NO_WAIT, []),
        (NOW + FURTHEST + MOMENT, None, NO_WAIT, ["send_at"]),
        (NOW + FURTHEST + MOMENT, None, LONGEST_WAIT, ["send_at"]),
        (None, NOW + MOMENT, NO_WAIT, []),
        (None, NOW, NO_WAIT, ["expires_at"]),
        (None, NOW, LONGEST_WAIT, []),
        (NOW - 2 * DAY, NOW - DAY, NO_WAIT, ["send_at", "expires_at"]),
        (NOW - 20 * DAY, NOW - 10 * DAY, LONGEST_WAIT, ["send_at", "expires_at"]),
    ],
)
def test_the_limits_of_a_time(
    send_at: datetime | None, expires_at: datetime | None, waited: timedelta, fields: list[str]
) -> None:
    request = SendRequest.parse(JOB | {"send_at": send_at, "expires_at": expires_at})
    assert [problem.path[0] for problem in send_time_problems(request, NOW, waited)] == fields


@pytest.mark.parametrize(("sent_at", "fine"), [(NOW, True), (NOW + GRACE, True), (NOW + GRACE + MOMENT, False)])
def test_a_record_is_of_something_that_has_happened(sent_at: datetime, fine: bool) -> None:
    request = RecordRequest.parse(JOB | {"carrier": "c", "carrier_message_id": "1", "sent_at": sent_at})
    assert (record_time_problems(request, NOW) == []) is fine


def from_broker(box: Outbox, **more: Any) -> Enqueued:
    request = SendRequest.parse(JOB | more)
    return enqueue_send(box.runtime, request, source="task", actor="task", may_be_late=True)


def test_a_job_that_waited_in_the_broker_is_sent_as_long_as_its_text_may_be(box: Outbox) -> None:
    five_hours_ago = utcnow() - timedelta(hours=5)
    with pytest.raises(InvalidRequest, match="send_at is 5 hours in the past"):
        box.send(send_at=five_hours_ago)
    late = box.row(from_broker(box, send_at=five_hours_ago).message_id)
    assert late.state == "queued"
    assert late.due_at > five_hours_ago, "it is due now"
    assert late.expires_at == five_hours_ago + timedelta(hours=24), "and not allowed to be later than in time"


@pytest.mark.parametrize(
    "times",
    [
        {"send_at": timedelta(hours=-25)},
        {"send_at": timedelta(hours=-5), "expires_at": timedelta(hours=-1)},
        {"expires_at": timedelta(days=-6)},
    ],
)
def test_a_text_that_expired_in_the_broker_is_not_sent_and_is_told_of(box: Outbox, times: dict[str, timedelta]) -> None:
    late = from_broker(box, **{name: utcnow() + distance for name, distance in times.items()})
    assert late.state == "expired"
    with reading(box.engine) as connection:
        (event,) = connection.execute(public_event.select()).all()
    assert (event.type, event.message_id) == ("message.expired", late.message_id)


def test_a_time_of_long_ago_is_a_mistake_even_from_a_broker(box: Outbox) -> None:
    with pytest.raises(InvalidRequest, match="send_at is 366 days in the past"):
        from_broker(box, send_at=utcnow() - timedelta(days=366, hours=1))
    assert box.states() == {}


def test_repeating_a_job_is_harmless_after_its_time_too(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = utcnow() + timedelta(minutes=10)
    first = box.enqueue(send_at=soon, idempotency_key="k")
    monkeypatch.setattr("worker.messages.outbox.utcnow", lambda: soon + timedelta(hours=3))
    again = box.enqueue(send_at=soon, idempotency_key="k")
    assert (again.message_id, again.duplicate) == (first.message_id, True)
    with pytest.raises(IdempotencyConflict):
        box.enqueue(send_at=soon, idempotency_key="k", text="another")
    with pytest.raises(InvalidRequest):
        box.enqueue(send_at=soon, idempotency_key="new")


def in_a_month(zone: str) -> str:
    """One moment, as a zone writes it."""
    at = (utcnow() + timedelta(days=30)).replace(hour=14, minute=30, second=0, microsecond=0)
    return at.astimezone(ZoneInfo(zone)).isoformat()


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"send_at": in_a_month("UTC")}, {"send_at": in_a_month("America/Los_Angeles")}),
    ({"send_at": in_a_month("UTC")}, {"send_at": in_a_month("Asia/Kathmandu")}),
    ({"send_at": in_a_month("UTC")}, {"send_at": in_a_month("UTC").replace("+00:00", "Z")}),
    ({"send_at": in_a_month("UTC")}, {"send_at": in_a_month("UTC").replace("+00:00", "z")}),
    ({"send_at": in_a_month("UTC")}, {"send_at": in_a_month("UTC").replace("+00:00", ".000Z")}),
    ({"send_at": in_a_month("UTC")}, {"send_at": in_a_month("UTC").replace("+00:00", "+0000")}),
    ({"expires_at": in_a_month("UTC")}, {"expires_at": in_a_month("America/New_York")}),
    ({"metadata": {"a": 1, "b": 2}}, {"metadata": {"b": 2, "a": 1}}),
    ({"metadata": {}}, {}),
    ({"media": []}, {}),
    ({"urgent": False}, {}),
    ({"from_number": "+14155550100"}, {}),
]
DIFFERENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"send_at": in_a_month("UTC")}, {"send_at": in_a_month("UTC").replace("30:00+", "30:01+")}),
    ({"message": "caf\u00e9"}, {"message": "cafe\u0301"}),  # other bytes, and other segments
    ({"media": ["https://a.example.com/1", "https://a.example.com/2"]},
     {"media": ["https://a.example.com/2", "https://a.example.com/1"]}),  # shown in their order
    ({"metadata": {"a": 1}}, {"metadata": {"a": "1"}}),
    ({"metadata": {"a": 1}}, {}),
    ({"callback_url": None}, {"message": "other"}),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_job_written_in_another_way(box: Outbox, one: dict[str, Any], other: dict[str, Any]) -> None:
    first, again = (
        enqueue_send(box.runtime, SendRequest.parse(JOB | {"idempotency_key": "k"} | job), source="http", actor="test")
        for job in (one, other)
    )
    assert (again.message_id, again.duplicate) == (first.message_id, True)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_job_with_the_same_key(box: Outbox, one: dict[str, Any], other: dict[str, Any]) -> None:
    jobs = [SendRequest.parse(JOB | {"idempotency_key": "k"} | job) for job in (one, other)]
    enqueue_send(box.runtime, jobs[0], source="http", actor="test")
    with pytest.raises(IdempotencyConflict):
        enqueue_send(box.runtime, jobs[1], source="http", actor="test")


def test_a_job_of_the_version_before_is_known_whose_time_was_written_in_another_zone(box: Outbox) -> None:
    at = datetime.fromisoformat(in_a_month("America/Los_Angeles"))
    first = box.enqueue(send_at=at, idempotency_key="k")
    before = payload_hash(number(0), "+14155550100", "hello", "[]", at, None)  # as that version hashed it
    with writing(box.engine) as connection:
        connection.execute(update(message).values(payload_hash=before))
    again = box.enqueue(send_at=at, idempotency_key="k")
    assert (again.message_id, again.duplicate) == (first.message_id, True)
