"""What waits for a person: how many, since when the oldest, and the command to begin with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Table, insert

from tests.messages.conftest import FakeClient, FakeRuntime
from worker.core.states import PauseKind
from worker.doctor.pauses import LONG_PAUSE, judge_pause
from worker.doctor.status import overview
from worker.store.db import writing
from worker.store.ids import new_message_id
from worker.store.pauses import Pause
from worker.store.tables import (
    account_state,
    contact,
    dead_letter,
    delivery,
    inbox_event,
    message,
    number_review,
    pause,
    rejected_record,
)

OLD = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def text(at: datetime, n: int, **values: Any) -> dict[str, Any]:
    return {
        "id": new_message_id(), "account": "main", "kind": "send", "to_number": f"+1415555200{n}", "text": "x",
        "from_number": "+14155550100", "idempotency_key": str(n), "payload_hash": "", "created_at": at, "due_at": at,
    } | values  # fmt: skip


def person(at: datetime, n: int, **values: Any) -> dict[str, Any]:
    row = {"account": "main", "phone": f"+1415555200{n}", "wanted_hash": b"1", "created_at": OLD - timedelta(days=9)}
    return row | {"attempted_at": at} | values


def held(reason: str, **values: Any) -> Any:
    return message, lambda at, n: text(at, n, state="held", reason=reason, **values)


WAITS = {
    # command: the table, and its row that began to wait at a time
    "vtsync approve b1": held("approval: many", batch_id="b1", trigger="t"),
    "vtsync approve --trigger t": held("breaker: often", trigger="t"),
    "vtsync approve --trigger u": held("paused: its trigger was paused", trigger="u"),
    "vtsync messages --state held": held("time_zone: not known"),
    "vtsync messages --state unknown": (
        message,
        lambda at, n: text(OLD - timedelta(days=9), n, state="unknown", unanswered_at=at),
    ),
    "vtsync status --contacts unknown": (contact, lambda at, n: person(at, n, push_state="unknown")),
    "vtsync status --contacts rejected": (contact, lambda at, n: person(at, n, push_state="rejected")),
    "vtsync status --rejected": (
        rejected_record,
        lambda at, n: {"connection": "c", "key": str(n), "code": "x", "reason": "x", "since": at, "seen_at": at},
    ),
    "vtsync review": (number_review, lambda at, n: {"phone": f"+1415555200{n}", "since": at}),
    "vtsync relay show": (
        inbox_event,
        lambda at, n: {
            **{"source": "relay", "name": "main", "received_at": at, "payload": "{}", "state": "failed", "due_at": OLD}
        },
    ),
    "vtsync forwards list --failed": (
        delivery,
        lambda at, n: {
            **{"event_id": str(n), "target": "subscriber:s", "type": "x", "payload": "{}", "created_at": at},
            **{"state": "failed", "due_at": OLD},
        },
    ),
    "vtsync dead-letters": (dead_letter, lambda at, n: {"id": str(n), "reason": "x", "first_at": at, "last_at": at}),
}


@pytest.fixture
def runtime(engine: Engine) -> FakeRuntime:
    return FakeRuntime(engine, FakeClient())


@pytest.mark.parametrize(("command", "rows"), WAITS.items(), ids=WAITS)
def test_what_waits_and_since_when_the_oldest_does(runtime: FakeRuntime, command: str, rows: tuple[Table, Any]) -> None:
    table, row = rows
    with writing(runtime.engine) as db:
        for n, later in enumerate((timedelta(0), timedelta(days=1), timedelta(days=2))):
            db.execute(insert(table).values(**row(OLD + later, n)))
    (found,) = overview(runtime, brief=True).attention
    assert (found.command, found.count, found.since) == (command, 3, OLD)
    assert overview(runtime).as_json()["attention"][0]["oldest"] == OLD


def test_updates_that_keep_failing_are_counted_without_a_time(runtime: FakeRuntime) -> None:
    with writing(runtime.engine) as db:
        for n, attempts in enumerate((9, 9, 1)):
            known = {"virtualtext_id": f"v{n}", "attempts": attempts}
            db.execute(insert(contact).values(**person(OLD, n, push_state="due", **known)))
    (found,) = overview(runtime, brief=True).attention
    assert (found.command, found.count, found.since) == ("vtsync status --contacts due", 2, None)


def test_a_stopped_account_says_since_when(runtime: FakeRuntime) -> None:
    with writing(runtime.engine) as db:
        db.execute(insert(account_state).values(account="main", stopped_at=OLD, stopped_reason="401"))
    (found,) = overview(runtime, brief=True).attention
    assert (found.count, found.since) == (1, OLD)


def test_texts_of_a_paused_trigger_wait_until_it_is_resumed(runtime: FakeRuntime) -> None:
    table, row = held("paused: its trigger was paused", trigger="t")
    with writing(runtime.engine) as db:
        db.execute(insert(pause).values(kind="trigger", name="t", since=OLD, actor="ana", reason=""))
        db.execute(insert(table).values(**row(OLD, 1)))
    (found,) = overview(runtime, brief=True).attention
    assert (found.command, found.count, found.since) == ("vtsync resume trigger t", 1, OLD)


@pytest.mark.parametrize("kind", PauseKind)
def test_a_long_pause_says_since_when(kind: PauseKind) -> None:
    found = judge_pause(kind, "x", Pause(OLD, "ana", ""), OLD + LONG_PAUSE)
    assert (found.command, found.since) == (f"vtsync resume {kind} x", OLD)
