"""The registry of background work: what is declared once is what Celery, the tick and the metrics use."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import worker.tasks  # noqa: F401 - registers the tasks
from config.models import Settings
from worker.app import app
from worker.broker.settings import BY_NAME, INTERNAL, celery_settings, queues_of
from worker.work.registry import ALERTS, SYNC, TICK, WORK, TaskKind, route

KINDS = (*WORK, SYNC, TICK, ALERTS)


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = SimpleNamespace(settings=Settings(data_dir=tmp_path))
    monkeypatch.setattr("worker.runtime.open_runtime", lambda: runtime)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.task)
def test_each_kind_has_a_task_that_is_routed_to_a_queue_that_workers_take(kind: TaskKind) -> None:

    assert kind.task in app.tasks
    assert route(kind.task, (), {}, {}, task=None) == {"queue": kind.queue}
    assert kind.queue in INTERNAL
    assert kind.queue in queues_of(())


def test_names_and_queues_are_those_that_running_fleets_know() -> None:
    assert {kind.task: kind.queue for kind in KINDS} == {
        "vtsync.push_contacts": "vtsync.push",
        "vtsync.deliver_messages": "vtsync.messages",
        "vtsync.record_messages": "vtsync.records",
        "vtsync.run_sync": "vtsync.sync",
        "vtsync.process_inbox": "vtsync.inbox",
        "vtsync.poll_carriers": "vtsync.inbox",
        "vtsync.forward_events": "vtsync.forward",
        "vtsync.prune": "vtsync.sync",
        "vtsync.tick": "vtsync.tick",
        "vtsync.check_alerts": "vtsync.forward",
    }
    assert set(BY_NAME) == {"intake", "sync", "push", "messages", "records", "inbox", "forward"}


@pytest.mark.parametrize("task", ["vtsync.send_message", "vtsync.record_message", "vtsync.sync_connection"])
def test_public_tasks_go_to_the_queue_that_any_celery_client_uses(task: str) -> None:

    assert task in app.tasks
    assert route(task) is None


def test_celery_finds_the_routes(tmp_path: Path) -> None:
    from celery import Celery

    other = Celery("routes", set_as_current=False)
    other.conf.update(celery_settings(Settings(data_dir=tmp_path)))
    for kind in KINDS:
        assert other.amqp.router.route({}, kind.task)["queue"].name == kind.queue
    assert other.amqp.router.route({}, "vtsync.send_message")["queue"].name == "celery"
