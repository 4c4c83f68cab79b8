"""What the tasks do when something around them is away: the store, the broker, a thread, time."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Reject
from kombu.exceptions import OperationalError as BrokerAway
from redis.exceptions import RedisError
from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError as StoreAway

from config.models import Account, Connection, Policy, Settings, WorkerSettings
from tests.contacts.conftest import FakeRuntime
from tests.fakes import FakeVirtualText, ListSource, sources
from worker import tasks
from worker.app import app
from worker.contacts.connection_gate import pause_reading, resume_reading
from worker.fleet import schedule, wake
from worker.fleet.schedule import claim_due
from worker.fleet.tick import tick
from worker.inbox import dead_letters as inbox_dead_letters
from worker.inbox.dead_letters import dead_letters
from worker.messages import outbox
from worker.runtime import StopSignal
from worker.store.db import after_commit, reading, writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, message, sync_run
from worker.work import registry

TEXT = {"account": "main", "to": "+14155550101", "message": "hello"}


@pytest.fixture
def runtime(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """What every task finds as its process's runtime."""
    settings = Settings(
        data_dir=tmp_path,
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100", concurrency=4)},
        connections={"crm": Connection(adapter="list", account="main", schedule="1d", default_region="US")},
        worker=WorkerSettings(concurrency=3),
        policy=Policy(quiet_hours="none"),
    )
    found = FakeRuntime(engine, FakeVirtualText(), settings)
    monkeypatch.setattr("worker.runtime.open_runtime", lambda: found)
    monkeypatch.setattr(tasks, "open_runtime", lambda: found)
    crm = ListSource()
    crm.put("1", "+14155550101", "Anna")
    monkeypatch.setattr("worker.contacts.pull.build_adapter", sources(crm=crm))
    return found


@pytest.fixture
def hinted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The hints that were given."""
    given: list[tuple[str, ...]] = []
    monkeypatch.setattr(tasks, "wake", lambda *hint: given.append(hint))
    return given


@pytest.fixture
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise BrokerAway("connection refused")

    monkeypatch.setattr(app, "send_task", refuse)


def texts(runtime: FakeRuntime) -> list[str]:
    with reading(runtime.engine) as db:
        return list(db.scalars(select(message.c.text).order_by(message.c.id)))


def test_a_job_waits_for_a_store_that_is_away_and_is_one_text(
    runtime: FakeRuntime, hinted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = outbox.enqueue_send, iter([True, True])

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        if next(failures, False):
            raise StoreAway("INSERT", {}, sqlite3.OperationalError("server closed the connection"))
        return real(*args, **kwargs)

    monkeypatch.setattr(outbox, "enqueue_send", sometimes)
    answer = tasks.send_message.apply(kwargs=TEXT, task_id="job-1").get()
    assert answer["ok"] is True
    assert tasks.send_message.apply(kwargs=TEXT, task_id="job-1").get()["duplicate"] is True
    assert texts(runtime) == ["hello"]
    assert hinted == [("vtsync.deliver_messages", "main")] * 2


def test_a_job_goes_back_to_its_queue_if_store_and_broker_cannot_be_used() -> None:
    class Job:
        """As Celery's: it drops a job that it cannot send again."""

        name = "vtsync.send_message"
        request = SimpleNamespace(retries=0)

        def retry(self, **_: Any) -> None:
            raise Reject(BrokerAway("connection refused"), requeue=False)

    def work() -> None:
        raise StoreAway("INSERT", {}, sqlite3.OperationalError("server closed the connection"))

    with pytest.raises(Reject) as raised:
        tasks._with_store_retry(Job(), work)
    assert raised.value.requeue is True


@pytest.mark.parametrize(
    "error",
    [
        BrokerAway("connection refused"),
        ConnectionResetError(),
        RedisError("READONLY You can't write against a read only replica."),
        RuntimeError("Retry limit exceeded while trying to reconnect to the Celery result store backend."),
    ],
)
def test_a_hint_never_raises_and_asks_for_no_result(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def refuse(*_: Any, **options: Any) -> None:
        given.append(options)
        raise error

    monkeypatch.setattr(app, "send_task", refuse)
    assert wake.wake("vtsync.push_contacts", "main") is False
    assert given[0]["ignore_result"] is True
    monkeypatch.setattr(app, "send_task", lambda *_, **__: None)
    assert wake.wake("vtsync.push_contacts", "main") is True


@pytest.mark.usefixtures("no_broker")
def test_a_job_that_is_committed_is_a_success_without_the_broker(runtime: FakeRuntime) -> None:
    assert wake.wake("vtsync.push_contacts", "main") is False
    assert tasks.send_message.apply(kwargs=TEXT).get()["ok"] is True
    assert texts(runtime) == ["hello"]


@pytest.mark.usefixtures("no_broker")
def test_a_sync_ends_well_without_the_broker(runtime: FakeRuntime) -> None:
    assert tasks.sync_connection.apply(args=("crm",)).get()["state"] == "done"


def slot(runtime: FakeRuntime) -> tuple[str, str]:
    with writing(runtime.engine) as db:
        (found,) = claim_due(db, runtime.settings, utcnow())
    return found.connection, found.claimed_until.isoformat()


def runs(runtime: FakeRuntime) -> int:
    with reading(runtime.engine) as db:
        return len(db.execute(select(sync_run.c.id)).all())


@pytest.mark.usefixtures("hinted")
def test_a_slot_is_run_once_however_often_its_hint_comes(runtime: FakeRuntime) -> None:
    hint = slot(runtime)
    for _ in range(3):
        tasks.run_sync.apply(args=hint)
    assert runs(runtime) == 1
    with reading(runtime.engine) as db:
        following = db.scalar(select(connection_state.c.next_run_at))
    assert following is not None
    assert following > utcnow() + timedelta(hours=23)


@pytest.mark.usefixtures("hinted")
def test_a_sync_without_room_is_due_again_and_takes_no_thread(runtime: FakeRuntime) -> None:
    hint = slot(runtime)
    with tasks.slot("vtsync.run_sync", 1):
        tasks.run_sync.apply(args=hint)
    assert runs(runtime) == 0
    tasks.run_sync.apply(args=slot(runtime))
    assert runs(runtime) == 1


@pytest.mark.usefixtures("hinted")
def test_a_slot_whose_connection_is_paused_as_it_begins_stays_due(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint, started = slot(runtime), schedule.start_slot

    def start(db: Any, *args: Any) -> bool:
        begun = started(db, *args)
        after_commit(db, pause)
        return begun

    def pause() -> None:
        with writing(runtime.engine) as db:
            pause_reading(db, "crm", reason="", actor="ana", now=utcnow())

    monkeypatch.setattr(schedule, "start_slot", start)
    tasks.run_sync.apply(args=hint, throw=True)
    assert runs(runtime) == 0
    with writing(runtime.engine) as db:
        assert claim_due(db, runtime.settings, utcnow() + timedelta(hours=1)) == []
        resume_reading(db, "crm", utcnow())
        assert [one.connection for one in claim_due(db, runtime.settings, utcnow() + timedelta(hours=1))] == ["crm"]


@pytest.mark.usefixtures("hinted")
def test_hints_of_what_is_configured_no_more_do_nothing(runtime: FakeRuntime) -> None:
    tasks.run_sync.apply(args=("gone",), throw=True)
    for task in ("push_contacts", "deliver_messages", "record_messages"):
        app.tasks[f"vtsync.{task}"].apply(args=("gone",), throw=True)
    assert runs(runtime) == 0


def test_a_portion_of_texts_is_followed_by_the_next(
    runtime: FakeRuntime, hinted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "MESSAGES_PER_TASK", 2)
    for index in range(1, 4):
        tasks.send_message.apply(kwargs=TEXT | {"to": f"+1415555010{index}"})
    hinted.clear()
    app.tasks["vtsync.deliver_messages"].apply(args=("main",), throw=True)
    assert (len(runtime.fake.sent), hinted) == (2, [("vtsync.deliver_messages", "main")])
    app.tasks["vtsync.deliver_messages"].apply(args=("main",), throw=True)
    assert len(runtime.fake.sent) == 3


def test_work_whose_time_is_up_stops_and_hints_itself(
    runtime: FakeRuntime, hinted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.send_message.apply(kwargs=TEXT)
    hinted.clear()
    monkeypatch.setattr(StopSignal, "child", lambda self, _seconds: StopSignal(0, parent=self))
    app.tasks["vtsync.deliver_messages"].apply(args=("main",), throw=True)
    assert (runtime.fake.sent, hinted) == ([], [("vtsync.deliver_messages", "main")])


def test_work_that_was_asked_to_stop_hints_nothing(runtime: FakeRuntime, hinted: list[Any]) -> None:
    tasks.send_message.apply(kwargs=TEXT)
    hinted.clear()
    runtime.stop.set()
    app.tasks["vtsync.deliver_messages"].apply(args=("main",), throw=True)
    assert (runtime.fake.sent, hinted) == ([], [])


@pytest.mark.parametrize("arguments", [{}, {"account": "main", "zzz": 1}, {"account": 5, "to": [], "message": {}}])
@pytest.mark.usefixtures("runtime", "hinted")
def test_wrong_arguments_are_a_result(arguments: dict[str, Any]) -> None:
    for task in (tasks.send_message, tasks.record_message, tasks.sync_connection):
        answer = task.apply(kwargs=arguments, throw=True).get()
        assert answer["ok"] is False
        assert answer["error"]["code"] == "invalid_arguments"
        assert answer["error"]["problems"]


def test_the_tick_has_the_store_pruned_when_it_is_due_and_two_hints_prune_once(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.send_message.apply(kwargs=TEXT)
    monkeypatch.setattr("worker.work.registry.utcnow", lambda: utcnow() + timedelta(days=3000))
    with writing(runtime.engine) as connection:
        connection.execute(message.update().values(state="cancelled"))
    assert ("vtsync.prune", ()) in tick(runtime)
    app.tasks["vtsync.prune"]()
    assert texts(runtime) == []
    app.tasks["vtsync.prune"]()
    assert ("vtsync.prune", ()) not in tick(runtime)


def test_tasks_share_one_count_of_requests(
    runtime: FakeRuntime, hinted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.limits.limiter.PATIENCE_SECONDS", 0.1)
    runtime.settings.accounts["main"] = runtime.settings.accounts["main"].model_copy(update={"texts_per_second": 0.01})
    for number in (1, 2):
        tasks.send_message.apply(kwargs=TEXT | {"to": f"+1415555010{number}"})
    for _ in range(2):
        app.tasks["vtsync.deliver_messages"].apply(args=("main",), throw=True)
    assert len(runtime.fake.sent) == 1


@pytest.mark.usefixtures("hinted")
def test_a_refused_message_is_told_once_and_survives_a_store_that_is_away(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = inbox_dead_letters.set_message_aside, iter([True, True])

    def sometimes(*args: Any) -> None:
        if next(failures, False):
            raise StoreAway("INSERT", {}, sqlite3.OperationalError("server closed the connection"))
        real(*args)

    monkeypatch.setattr(inbox_dead_letters, "set_message_aside", sometimes)
    told = ("a" * 32, "celery", "a task", "an id", "it is not JSON", "17")
    for _ in range(2):  # a worker that is killed after the commit leaves the message to another one
        tasks.set_aside.apply(args=told).get()
    (letter,) = dead_letters(runtime, 10)
    assert (letter.id, letter.reason, letter.size, letter.times) == (told[0], "it is not JSON", 17, 2)


@pytest.mark.parametrize(
    ("task", "arguments", "reason"),
    [
        ("send_message", TEXT | {"to": "4155550101"}, "invalid_request: to"),
        ("send_message", TEXT | {"+14155550101": 1}, "invalid_arguments: an unknown argument"),
        ("record_message", TEXT | {"carrier": "twilio"}, "invalid_request: carrier"),
        ("sync_connection", {"connection": "nothing"}, "unknown_connection"),
        ("run_sync", {"connection": "crm", "claimed_until": "+14155550101"}, "invalid_arguments: the slot is no time"),
    ],
)
def test_a_job_that_cannot_be_done_is_shown_without_its_content(
    runtime: FakeRuntime, task: str, arguments: dict[str, Any], reason: str
) -> None:
    app.tasks[f"vtsync.{task}"].apply(kwargs=arguments, task_id="+14155550102", throw=True)
    (letter,) = dead_letters(runtime, 10)
    assert (letter.task, letter.reason, letter.message_id) == (f"vtsync.{task}", reason, "+1415•••0102")
    assert runs(runtime) == 0


def test_a_text_to_another_country_is_answered_with_the_reason(runtime: FakeRuntime, hinted: list[Any]) -> None:
    answer = tasks.send_message.apply(kwargs=TEXT | {"to": "+525512345678", "urgent": True}).get()
    assert answer["state"] == "suppressed"
    assert "the number is in MX (+52), and texts may go only to +1" in answer["reason"]
    assert texts(runtime) == ["hello"], "stored, and not sent"
    assert runtime.fake.sent == []
