"""A store that has gone back in time sends nothing before a person has said that it may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from config.models import Account, Broker, Policy, Settings
from tests.contacts.conftest import FakeRuntime
from tests.fakes import FakeVirtualText
from tests.services import REDISES, redis_of
from worker import tasks
from worker.doctor.fleet import check_history
from worker.messages.decisions import approve
from worker.messages.delivery import deliver_due
from worker.messages.outbox import enqueue_send
from worker.messages.requests import SendRequest
from worker.monitoring.heartbeats import write_heartbeat
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import heartbeat, maintenance_lock, message
from worker.upkeep import rollback_guard
from worker.upkeep.restore import after_restore


@pytest.fixture(params=["file", *REDISES])
def runtime(
    request: pytest.FixtureRequest, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeRuntime]:
    broker = Broker() if request.param == "file" else Broker(url=redis_of(request.param, monkeypatch))
    settings = Settings(
        data_dir=tmp_path,
        broker=broker,
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},
        policy=Policy(quiet_hours="none"),
    )
    found = FakeRuntime(engine, FakeVirtualText(), settings)
    monkeypatch.setattr("worker.runtime.open_runtime", lambda: found)
    monkeypatch.setattr(tasks, "open_runtime", lambda: found)
    monkeypatch.setattr(tasks, "wake", lambda *_: True)
    yield found
    rollback_guard.forget_tick(found)


def restore_to(runtime: FakeRuntime, ago: timedelta) -> None:
    """As if the store were a backup of then."""
    with writing(runtime.engine) as connection:
        connection.execute(update(heartbeat).values(seen_at=utcnow() - ago))


def next_tick(runtime: FakeRuntime) -> None:
    """Run a tick, as if the interval since the one before had passed."""
    with writing(runtime.engine) as connection:
        connection.execute(update(maintenance_lock).where(maintenance_lock.c.name == "tick").values(next_run_at=None))
    tasks.tick()


def last_tick(runtime: FakeRuntime) -> Any:
    with reading(runtime.engine) as connection:
        return connection.scalar(select(heartbeat.c.seen_at).where(heartbeat.c.id == "tick"))


def test_what_is_back_in_time() -> None:
    now = utcnow()
    assert rollback_guard.went_back(now, now - timedelta(minutes=2))
    assert not rollback_guard.went_back(now, now - timedelta(seconds=30))
    assert not rollback_guard.went_back(now, now + timedelta(days=1))  # another process's tick
    assert not rollback_guard.went_back(None, now)  # the mark was lost
    assert not rollback_guard.went_back(now, None)  # a new store


def test_ticks_go_on_as_long_as_the_store_knows_of_them(runtime: FakeRuntime) -> None:
    for _ in range(3):
        next_tick(runtime)
    with reading(runtime.engine) as connection:
        name = connection.scalar(select(maintenance_lock.c.lease_owner).where(maintenance_lock.c.name == "lineage"))
    assert name is not None
    assert rollback_guard.tick_mark(runtime, name).read() <= last_tick(runtime)  # type: ignore[operator]
    assert rollback_guard.tick_mark(runtime, "another store").read() is None
    assert rollback_guard.guard(runtime)
    assert list(check_history(runtime)) == []


def test_a_restored_store_sends_nothing_before_a_person_has_looked(runtime: FakeRuntime) -> None:
    next_tick(runtime)
    enqueue_send(runtime, SendRequest(account="main", to="+14155550101", message="hello"), source="task", actor="test")
    restore_to(runtime, timedelta(hours=9))
    before = last_tick(runtime)
    (finding,) = check_history(runtime)
    assert (finding.level, "vtsync restored" in finding.do) == ("problem", True)
    next_tick(runtime)
    assert last_tick(runtime) == before  # nothing was started
    with writing(runtime.engine) as connection:
        connection.execute(update(message).values(due_at=utcnow()))
    deliver_due(runtime, account="main")
    assert runtime.fake.sent == []

    assert after_restore(runtime, "me", utcnow()).texts_held == 1
    next_tick(runtime)
    assert last_tick(runtime) > before
    deliver_due(runtime, account="main")
    assert runtime.fake.sent == []
    with reading(runtime.engine) as connection:
        (held,) = connection.scalars(select(message.c.id))
    approve(runtime, message_ids=[held], actor="me")
    deliver_due(runtime, account="main")
    assert len(runtime.fake.sent) == 1


def test_a_mark_that_cannot_be_kept_stops_nothing(runtime: FakeRuntime, tmp_path: Path) -> None:
    lost = runtime.settings.model_copy(
        update={"broker": Broker(url="redis://127.0.0.1:1/0"), "data_dir": tmp_path / "nowhere"}
    )
    runtime.settings = lost
    next_tick(runtime)
    assert rollback_guard.guard(runtime)
    runtime.settings = lost.model_copy(update={"broker": Broker()})
    next_tick(runtime)
    assert rollback_guard.guard(runtime)


def test_a_store_whose_clock_was_set_back_is_no_restored_store(
    runtime: FakeRuntime, move_clock: Callable[[float], None]
) -> None:
    next_tick(runtime)
    move_clock(-3600)
    assert rollback_guard.guard(runtime)
    with writing(runtime.engine) as connection:  # another worker's tick, at the new time
        write_heartbeat(connection, "tick", "tick")
    assert rollback_guard.guard(runtime)
    next_tick(runtime)
    assert rollback_guard.guard(runtime)
