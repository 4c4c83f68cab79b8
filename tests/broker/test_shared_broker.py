"""A broker that another Celery application uses, too: each keeps its jobs, and doctor tells where they do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection, Queue

from tests.faults.servers import OwnRedis, alone_on_rabbitmq
from tests.harness import Fleet, fleet, until
from tests.services import rabbitmq_url

NUMBERS = [f"+1415555{number:04d}" for number in range(101, 105)]


@pytest.fixture(
    params=[
        "files",
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
    ]
)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    with ExitStack() as stack:
        if request.param == "redis":
            server = OwnRedis(tmp_path)
            stack.callback(server.kill)
            server.start()
            yield server.url
        elif request.param == "rabbitmq":
            stack.enter_context(alone_on_rabbitmq(rabbitmq_url()))
            yield rabbitmq_url()
        else:
            yield None


def send(service: Celery, number: str, queue: str | None) -> None:
    arguments = {"account": "main", "to": number, "message": "hello"}
    service.send_task("vtsync.send_message", kwargs=arguments, queue=queue, ignore_result=True)


def length(service: Celery, queue: str) -> int:
    with service.connection_for_read() as connection, connection.channel() as channel:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)


def test_both_queues_are_taken_from(broker: str | None, tmp_path: Path) -> None:
    with fleet(tmp_path, broker=broker) as made:
        made.configure()
        assert made.run("migrate").exit_code == 0
        with made.service() as service:
            for index, number in enumerate(NUMBERS):
                send(service, number, "vtsync.intake" if index % 2 else None)
        made.start("worker")
        until("each text", lambda: len(made.sandbox.messages()) == len(NUMBERS))
        made.end()


def test_celerys_default_queue_can_be_left_to_others(broker: str | None, tmp_path: Path) -> None:
    with fleet(tmp_path, broker=broker) as made:
        made.configure("celery_queue = false" if broker else "[broker]\ncelery_queue = false")
        assert made.run("migrate").exit_code == 0
        with made.service() as service:
            for number in NUMBERS:
                send(service, number, "vtsync.intake")
            service.send_task("shop.charge", args=(17,), ignore_result=True)
            worker = made.start("worker")
            made.start("beat")
            until("each text", lambda: len(made.sandbox.messages()) == len(NUMBERS))
            assert b"a message was refused" not in made.log(worker)
            assert length(service, "celery") == 1
        made.end()


@pytest.mark.redis
def test_doctor_tells_of_another_application_on_redis(tmp_path: Path) -> None:
    server = OwnRedis(tmp_path)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.kill)
        made = stack.enter_context(fleet(tmp_path, broker=server.url))
        made.configure()
        assert made.run("migrate").exit_code == 0
        assert "no other application uses our queues" in shared(made)
        with made.service() as service:
            service.send_task("shop.charge", args=(17,), ignore_result=True)
        assert "shop.charge" in shared(made)
        with Connection(server.url) as connection:
            connection.SimpleQueue("celery").clear()
        stop = threading.Event()
        thread = threading.Thread(target=consume, args=(server.url, stop))
        thread.start()
        try:
            until("the other to be seen", lambda: "1 program takes our jobs" in shared(made))
        finally:
            stop.set()
            thread.join()


@pytest.mark.rabbitmq
def test_doctor_tells_of_another_application_on_rabbitmq(tmp_path: Path) -> None:
    url = rabbitmq_url()
    with alone_on_rabbitmq(url), fleet(tmp_path, broker=url) as made:
        made.configure()
        assert made.run("migrate").exit_code == 0
        worker = made.start("worker")
        until("the worker", lambda: b"worker ready" in made.log(worker))
        until("its heartbeat", lambda: made.query("SELECT id FROM heartbeat WHERE role = 'worker'"))
        assert "no other application uses our queues" in shared(made)
        stop = threading.Event()
        thread = threading.Thread(target=consume, args=(url, stop))
        thread.start()
        try:
            until("the other to be seen", lambda: "1 program takes our jobs" in shared(made))
        finally:
            stop.set()
            thread.join()
        made.end()


def consume(url: str, stop: threading.Event) -> None:
    """Another application's worker."""
    with Connection(url) as connection, connection.Consumer(Queue("celery"), accept=["json"]):
        while not stop.is_set():
            try:
                connection.drain_events(timeout=0.5)
            except TimeoutError:
                continue


def shared(made: Fleet) -> str:
    """What doctor finds about the queues."""
    return made.process("doctor", "--json").stdout
