"""What a worker reports of itself, heartbeats of the fleet, and what monitors are shown of tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state
from kombu.utils.json import dumps
from sqlalchemy import Engine, select, update
from structlog.testing import capture_logs

from tests.web.conftest import runtime_over
from worker import tasks
from worker.app import app
from worker.broker.private_request import HIDDEN, PrivateRequest
from worker.monitoring import celery_liveness
from worker.monitoring.heartbeats import TICK_ROLE, ClockLog, write_heartbeat
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import heartbeat


@pytest.fixture
def feel(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """How a worker with two threads is felt, by hand, without a clock."""
    felt: dict[str, Any] = {}
    heartbeat = SimpleNamespace(file=None)

    def start(_runtime: Any, _role: str, observe: Any) -> Any:
        felt["feel"] = observe
        return heartbeat

    monkeypatch.setattr(celery_liveness, "start_heartbeat", start)
    monkeypatch.setattr(state, "active_requests", set())
    monkeypatch.setattr(state, "all_total_count", [0])
    calls: list[Any] = []
    consumer = SimpleNamespace(waits=False, call_soon=calls.append)
    worker = SimpleNamespace(consumer=consumer, concurrency=2)
    done = [0]
    celery_liveness.watch_worker(runtime_over(engine), worker, lambda: done[0])
    return SimpleNamespace(feel=felt["feel"], worker=worker, calls=calls, done=done)


class Noted(SimpleNamespace):
    """A liveness file that remembers what was reported."""

    def __init__(self) -> None:
        super().__init__(heard=[], waits=None)

    def report_loop(self) -> None:
        self.heard.append("loop")

    def report_progress(self) -> None:
        self.heard.append("work")

    def report(self, waits: str) -> None:
        self.waits = waits

    def take(self) -> list[str]:
        heard, self.heard = self.heard, []
        return list(heard)


def test_the_main_loop_itself_says_that_it_comes_round(feel: Any) -> None:
    file = Noted()
    feel.feel(file)
    assert file.take() == ["work"]  # a thread is free; of the loop nothing is known yet
    feel.calls.pop()()  # the loop comes round
    assert file.take() == ["loop"]
    feel.worker.consumer.waits = True
    feel.feel(file)
    assert (file.take(), file.waits) == (["loop", "work"], "the broker")


def test_threads_that_are_all_busy_must_get_something_done(feel: Any) -> None:
    file = Noted()
    state.active_requests.update({"a", "b"})
    feel.feel(file)
    assert file.take() == ["work"]  # the first look
    feel.feel(file)
    assert file.take() == []
    feel.done[0] += 1  # VirtualText answered one of their requests
    feel.feel(file)
    assert file.take() == ["work"]
    state.all_total_count[0] += 1  # one ended, and the next began
    feel.feel(file)
    assert file.take() == ["work"]
    state.active_requests.remove("a")
    feel.feel(file)
    feel.feel(file)
    assert file.take() == ["work", "work"]


def test_heartbeats_of_processes_that_are_gone_are_removed_and_the_tick_s_is_not(engine: Engine) -> None:
    def names() -> set[str]:
        with reading(engine) as db:
            return set(db.scalars(select(heartbeat.c.id)))

    with writing(engine) as db:
        write_heartbeat(db, TICK_ROLE, TICK_ROLE)
        write_heartbeat(db, "worker:a:1", "worker")
        write_heartbeat(db, "worker:a:2", "worker")
        long_ago = update(heartbeat).where(heartbeat.c.id.in_((TICK_ROLE, "worker:a:1")))
        db.execute(long_ago.values(seen_at=utcnow() - timedelta(minutes=11)))
    with writing(engine) as db:
        write_heartbeat(db, "worker:a:2", "worker")
    assert names() == {TICK_ROLE, "worker:a:2"}


def test_a_heartbeat_says_how_wrong_the_clock_of_its_machine_is(engine: Engine) -> None:
    with writing(engine) as db:
        write_heartbeat(db, "worker:a:1", "worker", clock=12.5)
        write_heartbeat(db, "worker:a:1", "worker", clock=-3.0)
        write_heartbeat(db, TICK_ROLE, TICK_ROLE)
    with reading(engine) as db:
        rows = db.execute(select(heartbeat.c.id, heartbeat.c.clock_ahead).order_by(heartbeat.c.id))
        assert [tuple(row) for row in rows] == [(TICK_ROLE, None), ("worker:a:1", -3.0)]


def test_a_wrong_clock_is_logged_once_and_once_more_when_it_is_right() -> None:
    with capture_logs() as lines:
        clock = ClockLog()
        for ahead in (0.0, 4.0, 300.0, 301.0, 299.0, 0.1, 0.2, -30.0):
            clock.note(ahead)
    assert [(line["log_level"], line["event"].partition(";")[0]) for line in lines] == [
        ("warning", "the clock of this machine is 300 s ahead of the store's"),
        ("info", "the clock of this machine is right again"),
        ("warning", "the clock of this machine is 30 s behind the store's"),
    ]


@pytest.mark.usefixtures("engine")
def test_monitors_are_not_shown_what_a_job_was_given(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.runtime.open_runtime", lambda: runtime_over(engine))
    kwargs = {"to": "+14155550101", "message": "words of a person"}
    headers = {"id": "1", "task": tasks.send_message.name, "argsrepr": "()", "kwargsrepr": repr(kwargs)}
    assert app.Task.Request == "worker.broker.private_request:PrivateRequest"
    taken = request(headers, kwargs)
    assert (taken.argsrepr, taken.kwargsrepr) == (HIDDEN, HIDDEN)
    assert "words of a person" not in str(taken.info(safe=True))


def request(headers: dict[str, Any], kwargs: dict[str, Any]) -> PrivateRequest:
    """A job as a worker takes it."""
    message = SimpleNamespace(
        headers=headers,
        body=dumps([[], kwargs, {}]),
        payload=[[], kwargs, {}],
        content_type="application/json",
        content_encoding="utf-8",
        properties={},
        delivery_info={},
        ack_log_error=None,
        reject_log_error=None,
    )
    return PrivateRequest(message, app=app, task=tasks.send_message)


@pytest.mark.parametrize("ahead", [300.0, -300.0, 0.0])
@pytest.mark.parametrize(("left", "expired"), [(30.0, False), (-30.0, True)])
@pytest.mark.usefixtures("configured")
def test_a_job_expires_and_is_due_by_the_fleet_s_time(
    ahead: float, left: float, expired: bool, move_clock: Callable[[float], None]
) -> None:
    move_clock(-ahead)  # so the clock of this machine is ahead
    moment = (app.now() + timedelta(seconds=left)).isoformat()
    taken = request({"id": f"{ahead} {left}", "task": tasks.send_message.name, "eta": moment, "expires": moment}, {})
    assert bool(taken.maybe_expire()) is expired
    assert taken.eta.timestamp() - time.time() == pytest.approx(left, abs=2)
    assert taken.request_dict["eta"] == taken.request_dict["expires"] == moment  # as a retry sends them


@pytest.fixture
def configured(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.runtime.open_runtime", lambda: runtime_over(engine))


@pytest.mark.usefixtures("configured")
def test_the_scheduler_ticks_although_its_time_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move_clock: Callable[[float], None]
) -> None:
    sent: list[str] = []
    scheduler = celery_liveness.WatchedScheduler(app, schedule_filename=str(tmp_path / "schedule"))
    monkeypatch.setattr(scheduler, "apply_entry", lambda entry, **_: sent.append(entry.name))
    monkeypatch.setattr(type(scheduler), "producer", None)

    def pass_by(seconds: float) -> list[str]:
        move_clock(seconds)
        sent.clear()
        for _ in range(4):
            scheduler.tick()
        return [name for name in sent if name == "tick"]

    every = app.conf.beat_schedule["tick"]["schedule"].total_seconds()
    assert pass_by(every) == ["tick"]
    assert pass_by(0) == []
    assert pass_by(3600) == ["tick"]
    assert pass_by(-3600) == []
    assert pass_by(every) == ["tick"]
    scheduler.close()
    move_clock(-3600)
    scheduler = celery_liveness.WatchedScheduler(app, schedule_filename=str(tmp_path / "schedule"))
    monkeypatch.setattr(scheduler, "apply_entry", lambda entry, **_: sent.append(entry.name))
    pass_by(0)
    assert pass_by(every) == ["tick"], "a schedule that a wrong clock has stored"
    scheduler.close()
