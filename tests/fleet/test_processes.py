"""Real workers and schedulers on each broker: jobs by task name, stops, kills."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import a_night
from tests.faults.servers import Gate, OwnRedis, alone_on_rabbitmq, database_of_our_own
from tests.harness import Fleet, fleet, until
from tests.services import rabbitmq_url, redis_url
from worker.monitoring.liveness import live_processes, liveness_folder

ANNA, BORIS = "+14155550101", "+14155550102"
TEXT = {"account": "main", "to": ANNA, "message": "hello"}


SERVERS = [pytest.param("redis", marks=pytest.mark.redis), pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]


@pytest.fixture(params=["files", *SERVERS])
def broker(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Each broker, with nothing of another test in it."""
    if request.param == "files":
        yield None
        return
    if request.param == "redis":
        with database_of_our_own(redis_url()) as url:
            yield url
        return
    url = rabbitmq_url()
    with alone_on_rabbitmq(url):
        yield url


@pytest.fixture
def made(tmp_path: Path, broker: str | None) -> Iterator[Fleet]:
    with fleet(tmp_path, broker=broker) as running:
        running.configure()
        yield running


def test_a_worker_takes_only_the_work_that_it_is_told_to(made: Fleet) -> None:
    made.start("worker", "--queues", "intake,records")
    job = made.service().send_task("vtsync.send_message", kwargs=TEXT)
    assert job.get(timeout=30, interval=0.05)["ok"] is True
    record = {"account": "main", "to": BORIS, "message": "sent elsewhere", "carrier": "twilio"}
    made.service().send_task("vtsync.record_message", kwargs=record | {"carrier_message_id": "SM1"})
    until("the record", lambda: [one.kind for one in made.sandbox.messages()] == ["recorded"])
    assert made.states()["queued"] == 1  # the text's own worker is still to come
    made.start("worker", "--queues", "messages")
    until("the text", lambda: len(made.sandbox.messages()) == 2)


def test_jobs_by_name_from_a_service_that_does_not_know_us(made: Fleet) -> None:
    worker = made.start("worker")
    service = made.service()

    def call(task: str, **arguments: object) -> dict[str, object]:
        return service.send_task(task, kwargs=arguments).get(timeout=30, interval=0.05)  # type: ignore[no-any-return]

    first = call("vtsync.send_message", **TEXT, idempotency_key="order-1")
    again = call("vtsync.send_message", **TEXT, idempotency_key="order-1")
    assert first["ok"] is True
    assert (again["message_id"], again["duplicate"]) == (first["message_id"], True)
    night = a_night()
    later = call("vtsync.send_message", **TEXT | {"to": BORIS}, send_at=night.isoformat())
    assert later["expected_at"] == night.isoformat(), "this fleet has no quiet hours"
    conflict = call("vtsync.send_message", **TEXT | {"message": "other"}, idempotency_key="order-1")
    assert conflict["error"]["code"] == "idempotency_conflict"  # type: ignore[index]
    wrong = call("vtsync.send_message", account="nobody", to="12", mesage="x")
    assert wrong["error"]["code"] == "invalid_arguments"  # type: ignore[index]
    unknown = call("vtsync.sync_connection", connection="nothing")
    assert unknown["error"]["code"] == "unknown_connection"  # type: ignore[index]
    record = {
        "account": "main",
        "to": BORIS,
        "message": "sent elsewhere",
        "carrier": "twilio",
        "carrier_message_id": "SM1",
    }
    for _ in range(2):
        assert call("vtsync.record_message", **record)["ok"] is True
    until("the text and the record", lambda: len(made.sandbox.messages()) == 2)
    assert {message.kind for message in made.sandbox.messages()} == {"sent_by_platform", "recorded"}
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0


def test_an_idle_worker_stops_at_once(made: Fleet) -> None:
    worker = made.start("worker")
    made.service().send_task("vtsync.send_message", kwargs={}).get(timeout=30, interval=0.05)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=6) == 0


def test_a_back_fill_keeps_no_text_waiting(made: Fleet) -> None:
    people = "".join(f"{n},P{n},p{n}@example.org,+1212555{n:04d}\n" for n in range(1, 2001))
    for name in ("crm", "shop"):
        (made.folder / f"{name}.csv").write_text(f"id,name,email,mobile\n{people}", encoding="utf-8")
    connection = """
[connections.{0}]
adapter = "csv"
account = "main"
schedule = "1s"
default_region = "US"
options = {{ path = "{0}.csv", settle_seconds = 0 }}
"""
    made.configure(connection.format("crm") + connection.format("shop"), account="concurrency = 4")
    made.sandbox.add_fault(endpoint="create", action="delay", delay_ms=50)
    made.start("worker")
    made.start("beat")
    until("the back-fill to run", lambda: len(made.sandbox.contacts()) >= 50)
    for number in range(5):
        made.service().send_task(
            "vtsync.send_message", kwargs=TEXT | {"to": f"+1415555020{number}"}, ignore_result=True
        )
    until("the texts", lambda: len(made.sandbox.messages("sent_by_platform")) == 5)
    assert len(made.sandbox.contacts()) < 1500, "the back-fill ended before them"


@pytest.mark.parametrize("broker", SERVERS, indirect=True)  # on files: the fault scenarios, which kill several times
def test_a_killed_worker_loses_nothing_and_sends_nothing_twice(made: Fleet) -> None:
    made.sandbox.add_fault(endpoint="send", action="delay", delay_ms=300)
    first = made.start("worker")
    made.start("beat")
    service = made.service()
    numbers = [f"+1415555{200 + index:04d}" for index in range(24)]
    for number in numbers:
        service.send_task("vtsync.send_message", kwargs=TEXT | {"to": number}, ignore_result=True)
    until("some jobs to be taken", lambda: sum(made.states().values()) >= 12)
    until("the first texts", lambda: len(made.sandbox.messages()) >= 2)
    os.killpg(first.pid, signal.SIGKILL)
    taken = sum(made.states().values())
    made.sandbox.remove_faults()
    made.start("worker")
    until("every text that was taken to end", lambda: _ended(made.states()) >= taken and not made.states()["queued"])
    texted = [message.to for message in made.sandbox.messages()]
    assert len(texted) == len(set(texted))
    assert len(texted) >= taken - made.states()["unknown"]


def test_jobs_in_the_hands_of_a_killed_worker_come_again(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        made.configure()
        assert made.run("migrate").exit_code == 0
        service = made.service()
        jobs = [
            service.send_task("vtsync.send_message", kwargs=TEXT | {"to": f"+1415555{index:04d}"})
            for index in range(1, 21)
        ]
        waiting = tmp_path / "data" / "broker" / "queue"
        store = sqlite3.connect(tmp_path / "data" / "vtsync.sqlite3", isolation_level=None)
        store.execute("BEGIN IMMEDIATE")  # no worker can commit a job now
        worker = made.start("worker")
        until("the worker to have its hands full", lambda: len([*waiting.iterdir()]) < len(jobs))
        made.kill(worker)
        store.close()
        assert sum(made.states().values()) == 0
        made.start("worker")
        answers = [job.get(timeout=30, interval=0.05) for job in jobs]
        assert all(answer["ok"] and not answer["duplicate"] for answer in answers)
        until("every text", lambda: len(made.sandbox.messages()) == len(jobs))


def _ended(states: Counter[str]) -> int:
    return states["accepted"] + states["unknown"]


@pytest.fixture(params=SERVERS)
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnRedis | Gate]:
    """A broker that can be killed: a Redis that remembers nothing, or the way to the RabbitMQ."""
    with contextlib.ExitStack() as stack:
        if request.param == "redis":
            server: OwnRedis | Gate = OwnRedis(tmp_path, "--appendonly", "no", "--save", "")
        else:
            stack.enter_context(alone_on_rabbitmq(url := rabbitmq_url()))
            server = Gate(url)
        stack.callback(server.kill)
        server.start()
        yield server


def test_a_broker_that_is_killed_in_mid_task_ends_no_worker_and_loses_no_text(
    tmp_path: Path, broken: OwnRedis | Gate
) -> None:
    with fleet(tmp_path, broker=broken.url) as made:
        made.configure()
        made.sandbox.add_fault(endpoint="send", action="delay", delay_ms=400)
        worker, beat = made.start("worker"), made.start("beat")
        service = made.service()
        for index in range(1, 41):
            service.send_task("vtsync.send_message", kwargs=TEXT | {"to": f"+1415555{index:04d}"}, ignore_result=True)
        until("every job to be taken", lambda: sum(made.states().values()) == 40)
        until("the first texts", lambda: made.sandbox.messages())
        broken.kill()
        until("the texts that are committed", lambda: made.states()["accepted"] == 40)
        running = partial(live_processes, liveness_folder(tmp_path / "data"))  # a probe must not end a worker for this
        until("its liveness file to say why", lambda: [one for one in running() if one.role == "worker" and one.waits])
        broken.start()
        with made.service() as after:
            after.send_task("vtsync.send_message", kwargs=TEXT | {"to": "+14155550999"}, ignore_result=True)
        until("the text after it", lambda: len(made.sandbox.messages()) == 41)
        assert (worker.poll(), beat.poll()) == (None, None)
        assert len({message.to for message in made.sandbox.messages()}) == 41


def test_two_schedulers_and_a_long_absence_run_each_slot_once(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        (tmp_path / "crm.csv").write_text("id,name,mobile\n1,Anna,+14155550101\n", encoding="utf-8")
        made.configure(
            """
[connections.crm]
adapter = "csv"
account = "main"
schedule = "15m"
options = { path = "crm.csv", settle_seconds = 0 }
"""
        )
        for command in ("worker", "worker", "beat", "beat"):
            made.start(command)

        def runs() -> int:
            return int((made.query("SELECT count(*) FROM sync_run") or [(0,)])[0][0])

        until("the first run", runs)
        time.sleep(2)  # four ticks
        assert runs() == 1
        with contextlib.closing(sqlite3.connect(tmp_path / "data" / "vtsync.sqlite3", timeout=30)) as store, store:
            store.execute("UPDATE connection_state SET next_run_at = '2026-01-01 00:00:00'")  # many slots ago
        until("the run that was missed", lambda: runs() == 2)
        time.sleep(2)
        assert runs() == 2


def test_up_runs_both_refuses_a_second_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with fleet(tmp_path) as running:
        running.configure()
        up = running.start("up")
        result = running.service().send_task("vtsync.send_message", kwargs=TEXT)
        assert result.get(timeout=30, interval=0.05)["ok"] is True
        until("the text", lambda: len(running.sandbox.messages()) == 1)
        second = running.process("up")
        assert second.returncode == 1
        assert "another `vtsync up` runs" in second.stderr
        children = _children(up.pid)
        assert len(children) == 2
        up.send_signal(signal.SIGTERM)
        assert up.wait(timeout=30) == 0
        assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_a_killed_up_takes_its_children_along(tmp_path: Path) -> None:
    with fleet(tmp_path) as running:
        running.configure()
        up = running.start("up")
        children = until("both children", lambda: len(found := _children(up.pid)) == 2 and found)
        up.kill()
        until("the children to end", lambda: not any(_alive(child) for child in children))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
