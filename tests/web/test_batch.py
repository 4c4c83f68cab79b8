"""Many texts in one request: each has its own outcome, and none stops another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from tests.messages.conftest import number
from tests.web.conftest import Site
from worker.core.states import MessageState
from worker.messages import send_many
from worker.store.db import writing
from worker.store.models import utcnow


def text(index: int, **more: Any) -> dict[str, Any]:
    return {"account": "main", "to": number(index), "message": f"text {index}"} | more


def post(site: Site, *messages: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = site.http.post("/v1/messages:batch", json={"messages": messages}, headers=headers or {})
    assert answer.status_code == 200, answer.text
    outcomes: dict[str, Any] = answer.json()
    assert outcomes["stored"] + outcomes["refused"] == len(outcomes["outcomes"]) == len(messages)
    return outcomes


BAD: list[tuple[Any, int, str, str]] = [
    # (the text, its status, the type of its problem, where or why)
    (text(1, to="415"), 422, "invalid_request", "/to"),
    (text(1, mesage="x"), 422, "invalid_request", "/mesage"),
    ({}, 422, "invalid_request", "/to"),
    (17, 422, "invalid_request", "/"),
    (None, 422, "invalid_request", "/"),
    (text(1, idempotency_key="two words"), 422, "invalid_request", "/idempotency_key"),
    (text(1, idempotency_key="auto:1", send_at="2000-01-01T00:00:00Z"), 422, "invalid_request", "/send_at"),
    (text(1, metadata={"a": {}}), 422, "invalid_request", "/metadata"),
    (text(1, to="+14155550100"), 422, "invalid_request", "/to"),
    (text(1, message="\u200b"), 422, "invalid_request", "/message"),
    (text(1, idempotency_key="taken"), 422, "idempotency_conflict", "used before"),
    (text(1, account="other"), 403, "forbidden", "other"),
    (text(1, account="nobody"), 403, "forbidden", "nobody"),
    (text(1, urgent=True), 403, "forbidden", "messages:urgent"),
    (text(1, from_number="+14155550199"), 403, "forbidden", "from_number"),
]


def test_a_bad_text_is_refused_alone(site: Site) -> None:
    key = site.headers("messages:write", accounts=("main",))
    post(site, text(0, idempotency_key="taken"), headers=key)
    mixed = [one for index, (bad, *_) in enumerate(BAD) for one in (bad, text(100 + index))]
    answer = post(site, *mixed, headers=key)
    assert (answer["stored"], answer["refused"]) == (len(BAD), len(BAD))
    assert {one["status"] for one in answer["outcomes"][1::2]} == {202}
    for (bad, status, kind, where), outcome in zip(BAD, answer["outcomes"][::2], strict=True):
        problem = outcome["problem"]
        assert (outcome["status"], problem["status"], problem["type"]) == (status, status, f"/problems/{kind}"), bad
        shown = [one["pointer"] for one in problem["errors"] or ()] or [problem["detail"]]
        assert any(where in one for one in shown), (bad, shown)
    assert len(site.states()) == 1 + len(BAD)
    assert ("vtsync.deliver_messages", "main") in site.hinted


def test_repeating_a_batch_sends_nothing_twice(site: Site) -> None:
    batch = [text(0, idempotency_key="mine"), text(1), text(2)]
    header = {"Idempotency-Key": "batch-1"}
    first, again = (post(site, *batch, headers=header) for _ in range(2))
    assert [one["taken"]["id"] for one in first["outcomes"]] == [one["taken"]["id"] for one in again["outcomes"]]
    assert {one["taken"]["duplicate"] for one in again["outcomes"]} == {True}
    assert len(site.states()) == 3
    alone = site.http.post("/v1/messages", json=text(0), headers={"Idempotency-Key": "mine"}).json()
    assert alone["id"] == first["outcomes"][0]["taken"]["id"], "a text of a batch has the key that it would have alone"


def test_the_same_text_twice_in_a_batch_is_one(site: Site) -> None:
    same = text(0, idempotency_key="k")
    answer = post(site, same, same)
    assert [one["taken"]["duplicate"] for one in answer["outcomes"]] == [False, True]


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1000, 200), (1001, 422)])
def test_a_batch_has_up_to_a_thousand_texts(site: Site, count: int, status: int) -> None:
    same = text(0, idempotency_key="k", message="x" * 1600)
    answer = site.http.post("/v1/messages:batch", json={"messages": [same] * count})
    assert answer.status_code == status, answer.text[:300]
    assert len(site.states()) == (1 if status == 200 else 0)


def test_a_body_that_is_too_large_is_refused_with_its_setting(site: Site) -> None:
    for path, setting in (("/v1/messages", "web.max_body"), ("/v1/messages:batch", "web.max_batch_body")):
        answer = site.http.post(path, content=b" " * 5_000_000, headers={"Content-Type": "application/json"})
        assert (answer.status_code, setting in answer.json()["detail"]) == (413, True)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Exception], None]:
    """Let the n-th transaction of a batch fail when it commits."""

    def fail(which: int, error: Exception) -> None:
        done = 0

        @contextmanager
        def writing_until(engine: Engine) -> Iterator[Connection]:
            nonlocal done
            with writing(engine) as connection:
                yield connection
                done += 1
                if done == which:
                    raise error

        monkeypatch.setattr(send_many, "writing", writing_until)
        monkeypatch.setattr(send_many, "CHUNK", 2)

    return fail


AWAY = OperationalError("INSERT", {}, Exception("gone"))


def test_when_the_store_goes_away_the_rest_is_to_be_sent_again(
    site: Site, failing: Callable[[int, Exception], None]
) -> None:
    failing(2, AWAY)
    batch = [text(index, idempotency_key=f"k{index}") for index in range(5)]
    answer = post(site, *batch)
    assert [one["status"] for one in answer["outcomes"]] == [202, 202, 503, 503, 503]
    assert len(site.states()) == 2
    again = post(site, *batch)
    assert [one["taken"]["duplicate"] for one in again["outcomes"]] == [True, True, False, False, False]


def test_when_nothing_was_stored_the_batch_is_refused_as_a_whole(
    site: Site, failing: Callable[[int, Exception], None]
) -> None:
    failing(1, AWAY)
    answer = site.http.post("/v1/messages:batch", json={"messages": [text(0)]})
    assert (answer.status_code, answer.headers["retry-after"], site.states()) == (503, "5", {})


def test_a_text_that_fails_for_an_unknown_reason_stops_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    insert = send_many.insert_send

    def insert_send(connection: Connection, runtime: Any, request: Any, **more: Any) -> Any:
        if request.message == "text 3":
            raise ZeroDivisionError
        return insert(connection, runtime, request, **more)

    monkeypatch.setattr(send_many, "insert_send", insert_send)
    answer = post(site, *(text(index) for index in range(6)))
    assert [one["status"] for one in answer["outcomes"]] == [202, 202, 202, 500, 202, 202]
    assert len(site.states()) == 5


def test_what_is_stored_alone_is_not_called_unsent(
    site: Site, failing: Callable[[int, Exception], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store goes away while each text of a chunk is stored alone, because one of them cannot be."""
    insert = send_many.insert_send

    def insert_send(connection: Connection, runtime: Any, request: Any, **more: Any) -> Any:
        if request.message == "text 1":
            raise ZeroDivisionError
        return insert(connection, runtime, request, **more)

    monkeypatch.setattr(send_many, "insert_send", insert_send)
    failing(2, AWAY)
    monkeypatch.setattr(send_many, "CHUNK", 4)
    answer = post(site, *(text(index) for index in range(4)))
    assert [one["status"] for one in answer["outcomes"]] == [202, 500, 503, 503]
    assert len(site.states()) == 1


def test_who_opted_out_is_suppressed_and_the_others_are_sent(site: Site) -> None:
    site.http.post("/v1/opt-outs", json={"phone": number(1), "reason": "asked"})
    later = (utcnow() + timedelta(hours=1)).isoformat()
    answer = post(site, text(0), text(1), text(2, send_at=later, metadata={"order": 2}))
    states = [one["taken"]["state"] for one in answer["outcomes"]]
    assert states == [MessageState.QUEUED, MessageState.SUPPRESSED, MessageState.QUEUED]
    (found,) = site.http.get("/v1/messages", params={"metadata.order": "2"}).json()["messages"]
    assert (found["id"], found["metadata"]) == (answer["outcomes"][2]["taken"]["id"], {"order": 2})
