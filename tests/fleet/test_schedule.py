"""When connections run: the pure next run, and the claim that lets each slot run once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, update
from sqlalchemy.exc import OperationalError

from config.models import Account, Connection, Policy, Settings
from tests.contacts.conftest import FakeRuntime
from tests.fakes import FakeVirtualText
from worker.contacts import lease
from worker.fleet.schedule import Slot, abandoned, claim_due, next_run, put_back_slot, start_slot
from worker.fleet.tick import TaskCall, begin_tick, tick
from worker.messages.outbox import enqueue_send
from worker.messages.requests import SendRequest
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, maintenance_lock, message

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


_lines = st.builds(
    lambda minute, hour, weekday: f"{minute} {hour} * * {weekday}",
    st.sampled_from(["*/5", "7", "0,30", "10-12"]),
    st.sampled_from(["*", "3", "8-18", "*/6"]),
    st.sampled_from(["*", "1-5", "sun", "0,6"]),
)


@given(_lines, st.integers(0, 365 * 86400 * 10).map(lambda tenths: NOON + timedelta(seconds=tenths / 10)))
def test_a_cron_line_names_the_first_minute_that_fits(line: str, after: datetime) -> None:
    minutes, hours, weekdays = (
        _fitting(part, top) for part, top in zip(line.split()[:2] + line.split()[4:], (60, 24, 7), strict=True)
    )
    expected = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while not (expected.minute in minutes and expected.hour in hours and (expected.weekday() + 1) % 7 in weekdays):
        expected += timedelta(minutes=1)
    assert next_run(line, after) == expected


def _fitting(part: str, top: int) -> set[int]:
    """Cron's subset that these lines use, told again in the plainest way."""
    if part.startswith("*"):
        return set(range(0, top, int(part[2:] or 1)))
    if "-" in part:
        first, last = part.split("-")
        return set(range(int(first), int(last) + 1))
    return {0 if one == "sun" else int(one) for one in part.split(",")}


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
        policy=Policy(quiet_hours="none"),
    )


def claimed(engine: Engine, configured: Settings, now: datetime) -> list[str]:
    """The connections that start at this moment."""
    with writing(engine) as db:
        slots = claim_due(db, configured, now)
        assert all(start_slot(db, configured, slot, now) for slot in slots)
        return [slot.connection for slot in slots]


def offered(engine: Engine, now: datetime) -> list[Slot]:
    with writing(engine) as db:
        return claim_due(db, settings(), now)


def started(engine: Engine, slot: Slot, now: datetime) -> bool:
    with writing(engine) as db:
        return start_slot(db, settings(), slot, now)


def test_a_new_connection_runs_at_once_and_then_by_its_schedule(engine: Engine) -> None:
    assert claimed(engine, settings(), NOON) == ["crm"]
    assert claimed(engine, settings(), NOON + timedelta(minutes=14)) == []
    assert claimed(engine, settings(), NOON + timedelta(minutes=15)) == ["crm"]


def test_a_slot_whose_hint_is_lost_is_given_out_again_and_runs_once(engine: Engine) -> None:
    (lost,) = offered(engine, NOON)
    assert offered(engine, NOON + timedelta(seconds=29)) == []
    (second,) = offered(engine, NOON + timedelta(seconds=30))
    assert started(engine, second, NOON + timedelta(seconds=31))
    assert not started(engine, lost, NOON + timedelta(seconds=32)), "a hint that was only late runs nothing"
    assert not started(engine, second, NOON + timedelta(seconds=33)), "a hint that comes twice runs once"
    assert offered(engine, NOON + timedelta(minutes=15)) == []
    assert len(offered(engine, NOON + timedelta(minutes=15, seconds=31))) == 1


def test_a_slot_without_room_is_due_at_the_next_tick(engine: Engine) -> None:
    (slot,) = offered(engine, NOON)
    with writing(engine) as db:
        put_back_slot(db, slot, NOON + timedelta(seconds=1))
    assert len(offered(engine, NOON + timedelta(seconds=10))) == 1


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
    lease.claim_connection(engine, "crm", 60)
    with reading(engine) as db:
        assert abandoned(db, settings(), utcnow()) == []
        assert abandoned(db, settings(), utcnow() + timedelta(seconds=61)) == ["crm"]


def pruned_lately(engine: Engine) -> None:
    with writing(engine) as db:
        db.execute(maintenance_lock.insert().values(name="prune", next_run_at=utcnow() + timedelta(hours=1)))


def test_the_tick_finds_everything_that_is_due_and_nothing_else(engine: Engine) -> None:
    pruned_lately(engine)
    runtime = FakeRuntime(engine, FakeVirtualText(), settings())
    (hint,) = tick(runtime)
    assert (hint.task, hint.arguments[0]) == ("vtsync.run_sync", "crm")
    assert tick(runtime) == []
    enqueue_send(runtime, SendRequest(account="main", to="+14155550101", message="hello"), source="cli", actor="test")
    assert tick(runtime) == [TaskCall("vtsync.deliver_messages", ("main",))]
    with writing(engine) as db:
        db.execute(update(message).values(due_at=utcnow() + timedelta(hours=1)))
        db.execute(update(connection_state).values(next_run_at=utcnow() - timedelta(hours=1)))
    assert [hint.arguments[0] for hint in tick(runtime)] == ["crm"]


def test_a_part_of_the_tick_that_fails_costs_the_others_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned_lately(engine)
    runtime = FakeRuntime(engine, FakeVirtualText(), settings())
    for part in ("fire_due_dates", "reconsider", "expire_messages"):
        monkeypatch.setattr(f"worker.fleet.tick.{part}", Mock(side_effect=ZeroDivisionError))
    assert [hint.task for hint in tick(runtime)] == ["vtsync.run_sync"]


def test_a_tick_without_its_store_is_an_error(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    away = OperationalError("SELECT 1", {}, Exception())
    monkeypatch.setattr("worker.fleet.tick.fire_due_dates", Mock(side_effect=away))
    with pytest.raises(OperationalError):
        tick(FakeRuntime(engine, FakeVirtualText(), settings()))


def test_a_run_whose_worker_vanished_is_hinted_once(engine: Engine) -> None:
    pruned_lately(engine)
    runtime = FakeRuntime(engine, FakeVirtualText(), settings())
    lease.claim_connection(engine, "crm", -1)
    with writing(engine) as db:
        db.execute(update(connection_state).values(next_run_at=utcnow() + timedelta(hours=1), schedule="15m"))
    assert tick(runtime) == [TaskCall("vtsync.run_sync", ("crm",))]
    with writing(engine) as db:
        db.execute(update(connection_state).values(next_run_at=utcnow()))
    assert [hint.arguments[0] for hint in tick(runtime)] == ["crm"]


@pytest.mark.parametrize("schedule", ["15m", "30 4 * * *"])
def test_a_connection_is_not_forgotten_when_the_store_s_clock_is_set_back(engine: Engine, schedule: str) -> None:
    before, now = NOON + timedelta(days=3), NOON
    assert claimed(engine, settings(schedule), before) == ["crm"]
    with writing(engine) as db:
        db.execute(update(connection_state).values(next_run_at=next_run(schedule, before)))
    assert claimed(engine, settings(schedule), now) == []
    assert claimed(engine, settings(schedule), next_run(schedule, now)) == ["crm"]


def test_of_a_backlog_of_ticks_one_runs(engine: Engine) -> None:
    every = timedelta(seconds=10)

    def begun(*seconds: float) -> list[float]:
        found = []
        for second in seconds:
            with writing(engine) as db:
                if begin_tick(db, every, NOON + timedelta(seconds=second)):
                    found.append(second)
        return found

    assert begun(0, 0, 0.1, 4.9) == [0]
    assert begun(10, 10.1, 20, 29) == [10, 20, 29]
    assert begun(-3600, -3599, -3590) == [-3600, -3590]  # somebody has set the store's clock back
