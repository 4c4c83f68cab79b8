"""A real worker process is killed in the middle of its deliveries: nothing stays untold, a CRM has each text once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.deliveries.conftest import Outward, Receiver, on_sqlite
from tests.deliveries.worker_process import settings
from tests.inbox.conftest import inbound
from worker.deliveries.fan_out import fan_out
from worker.deliveries.run import run_deliveries
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import delivery

EVENTS = 40


@contextmanager
def worker(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.deliveries.worker_process", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


@on_sqlite
def test_a_killed_worker_loses_nothing(outward: Outward, receiver: Receiver) -> None:
    urls = (str(outward.engine.url), str(outward.crm.url), receiver.url)
    for number in range(EVENTS):
        outward.comes(inbound(f"text {number}", f"in{number}"))
    outward.runtime.settings = settings(*urls)
    while fan_out(outward.runtime):
        pass
    middle, go_on = threading.Event(), threading.Event()

    def answer(_event: dict[str, Any]) -> tuple[int, dict[str, str]]:
        if len(receiver.heard) >= EVENTS // 4:
            middle.set()
            go_on.wait(30)  # heard, and not answered: the worker cannot know
        return 200, {}

    receiver.answer = answer
    with worker(*urls) as process:
        assert middle.wait(30)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    go_on.set()
    left = [row.state for row in outward.forwards()]
    assert "sending" in left, "it was killed with deliveries in its hands"
    with writing(outward.engine) as connection:  # as if their lease had run out
        past = utcnow() - timedelta(seconds=1)
        connection.execute(update(delivery).where(delivery.c.state == "sending").values(lease_until=past))
    run_deliveries(Runtime(settings(*urls)), 10_000)
    assert {row.state for row in outward.forwards()} == {"done"}
    assert len(set(receiver.ids)) == EVENTS, "a service hears each at least once, and knows it by its id"
    assert [row.text for row in outward.logged()] == [f"text {number}" for number in range(EVENTS)], "a CRM once"


@pytest.mark.parametrize("engine", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_two_processes_share_the_work(outward: Outward, receiver: Receiver) -> None:
    urls = (outward.engine.url.render_as_string(hide_password=False), str(outward.crm.url), receiver.url)
    for number in range(EVENTS):
        outward.comes(inbound(f"text {number}", f"in{number}"))
    outward.runtime.settings = settings(*urls)
    while fan_out(outward.runtime):
        pass
    with worker(*urls) as other:
        run_deliveries(Runtime(settings(*urls)), 10_000)
        assert other.wait(60) == 0
    assert {row.state for row in outward.forwards()} == {"done"}
    assert sorted(event["data"]["text"] for event in receiver.heard) == sorted(f"text {n}" for n in range(EVENTS))
    assert [row.text for row in outward.logged()] == [f"text {number}" for number in range(EVENTS)]
