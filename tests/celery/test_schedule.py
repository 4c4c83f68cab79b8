"""When connections run: the pure next run, and the claim that lets each slot run once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, update

from config.models import Account, Connection, Settings
from tests.fakes import FakeVirtualText
from tests.sync.conftest import FakeRuntime
from worker.messages.outbox import SendRequest, enqueue_send
from worker.schedule import abandoned, claim_due, next_run
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, message
from worker.sweeper import Hint, tick
from worker.sync import lease

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("15m", NOON, NOON + timedelta(minutes=15)),
        ("90s", NOON, NOON + timedelta(seconds=90)),
        ("1d", NOON, NOON + timedelta(days=1)),
        ("*/15 * * * *", NOON, NOON + timedelta(minutes=15)),
        ("*/15 * * * *", NOON + timedelta(minutes=14, seconds=59), NOON + timedelta(minutes=15)),
        ("30 9 * * *", NOON, datetime(2026, 3, 2, 9, 30, tzinfo=UTC)),
        ("0 8-18 * * 1-5", NOON, datetime(2026, 3, 2, 8, 0, tzinfo=UTC)),
        ("0 0 1 * *", NOON, datetime(2026, 4, 1, tzinfo=UTC)),
    ],
)
def test_the_next_run(schedule: str, after: datetime, expected: datetime) -> None:
    assert next_run(schedule, after) == expected


@given(
    st.sampled_from(["15m", "2h", "*/5 * * * *", "0 3 * * *", "7 7 * * 0"]),
    st.integers(0, 365 * 86400).map(lambda seconds: NOON + timedelta(seconds=seconds)),
)
def test_the_next_run_is_always_later(schedule: str, after: datetime) -> None:
    assert next_run(schedule, after) > after


def settings(schedule: str | None = "15m", enabled: bool = True) -> Settings:
    return Settings(
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},
        connections={"crm": Connection(adapter="csv", account="main", schedule=schedule, enabled=enabled)},
    )


def claimed(engine: Engine, configured: Settings, now: datetime) -> list[str]:
    with writing(engine) as db:
        return claim_due(db, configured, now)


def test_a_new_connection_runs_at_once_and_then_by_its_schedule(engine: Engine) -> None:
    assert claimed(engine, settings(), NOON) == ["crm"]
    assert claimed(engine, settings(), NOON + timedelta(minutes=14)) == []
    assert claimed(engine, settings(), NOON + timedelta(minutes=15)) == ["crm"]


def test_missed_slots_run_once_not_ten_times(engine: Engine) -> None:
    claimed(engine, settings(), NOON)
    late = NOON + timedelta(hours=3)
    assert [claimed(engine, settings(), late + timedelta(seconds=n)) for n in range(3)] == [["crm"], [], []]


def test_many_schedulers_start_a_slot_once(engine: Engine) -> None:
    claimed(engine, settings(), NOON)
    results: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: results.append(claimed(engine, settings(), NOON + timedelta(hours=1))))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [[], [], [], [], [], ["crm"]]


def test_a_changed_schedule_counts_from_the_next_tick(engine: Engine) -> None:
    claimed(engine, settings("1d"), NOON)
    assert claimed(engine, settings("5m"), NOON + timedelta(minutes=1)) == []
    assert claimed(engine, settings("5m"), NOON + timedelta(minutes=6)) == ["crm"]


@pytest.mark.parametrize("configured", [settings(None), settings(enabled=False)])
def test_what_is_by_hand_or_disabled_does_not_run(engine: Engine, configured: Settings) -> None:
    assert claimed(engine, configured, NOON) == []


def test_a_run_whose_worker_vanished_is_found(engine: Engine) -> None:
    lease.claim(engine, "crm", 60)
    with reading(engine) as db:
        assert abandoned(db, settings(), utcnow()) == []
        assert abandoned(db, settings(), utcnow() + timedelta(seconds=61)) == ["crm"]


def test_the_tick_finds_everything_that_is_due_and_nothing_else(engine: Engine) -> None:
    runtime = FakeRuntime(engine, FakeVirtualText(), settings())
    assert tick(runtime) == [Hint("vtsync.run_sync", "crm")]
    assert tick(runtime) == []
    enqueue_send(runtime, SendRequest("main", "+14155550101", "hello"), source="cli", actor="test")
    assert tick(runtime) == [Hint("vtsync.deliver_messages", "main")]
    with writing(engine) as db:
        db.execute(update(message).values(due_at=utcnow() + timedelta(hours=1)))
        db.execute(update(connection_state).values(next_run_at=utcnow() - timedelta(hours=1)))
    assert tick(runtime) == [Hint("vtsync.run_sync", "crm")]
