"""A whole fleet on one machine that was started with the umask 000: nothing that it stores is open to others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.harness import Fleet, fleet, until
from worker.broker.settings import embedded_settings
from worker.core.private_files import open_to_others
from worker.monitoring.celery_liveness import WatchedScheduler


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        yield made


def test_the_scheduler_stores_nothing_and_still_cleans_up_results(tmp_path: Path) -> None:
    service = Celery("test")
    every = {"tick": {"task": "vtsync.tick", "schedule": 10.0}}
    service.conf.update(embedded_settings(tmp_path), beat_schedule=every)
    scheduler = WatchedScheduler(app=service)
    assert set(scheduler.schedule) == {"tick", "celery.backend_cleanup"}
    assert not list(tmp_path.glob("beat*"))


def test_every_file_and_folder_is_private_after_a_run(running: Fleet) -> None:
    data = running.folder / "data"
    data.mkdir(0o777)
    old = data / "beat-schedule"
    old.write_bytes(b"a pickle of an earlier version")
    running.configure("[web]\nport = 0\n")
    for command in ("up", "web"):
        running.start(command)
    until("the processes", lambda: len(list(data.glob("alive/*.json"))) >= 3)
    answer = running.service().send_task(
        "vtsync.send_message", kwargs={"account": "main", "to": "+14155550101", "message": "Hello"}
    )
    assert answer.get(timeout=30)["ok"]
    until("the text", lambda: running.states()["accepted"] == 1)
    assert running.run("status").exit_code == 0
    assert open_to_others(data) == []
    running.end()
    assert open_to_others(data) == []
    names = {path.name for path in data.iterdir()}
    assert {"vtsync.sqlite3", "broker", "alive", "up.lock"} <= names
    assert not any(name.startswith("beat-schedule") for name in names)
