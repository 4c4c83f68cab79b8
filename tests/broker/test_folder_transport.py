"""The embedded broker: nothing is lost with a killed worker, nothing is taken twice, half a message is not taken."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue

from worker.broker.folder_transport import UNREADABLE_AFTER_SECONDS, TakenMessages
from worker.broker.raw_messages import MALFORMED
from worker.broker.settings import embedded_settings

MESSAGE = '{"body": "x", "properties": {"delivery_tag": "%s"}}'


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    queue = tmp_path / "queue"
    queue.mkdir()
    (queue / "1_a.celery.msg").write_text(MESSAGE % "t1")
    return queue, tmp_path / "taken"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_message_is_held_until_it_is_done(folders: tuple[Path, Path]) -> None:
    queue, taken = folders
    hand = TakenMessages(queue, taken)
    payload = hand.take("1_a.celery.msg")
    assert payload is not None
    assert payload["body"] == "x"
    tag = payload["properties"]["delivery_tag"]
    assert tag != "t1", "the sender's tag may not be unique"
    assert names(queue) == []
    assert len([*taken.glob("*/*.msg")]) == 1
    hand.done(tag)
    hand.done(tag)
    assert [*taken.glob("*/*.msg")] == []
    hand.close()
    assert names(taken) == []


def test_what_a_killed_process_held_is_put_back_in_its_place(folders: tuple[Path, Path]) -> None:
    queue, taken = folders
    dead, living = TakenMessages(queue, taken), TakenMessages(queue, taken)
    dead.take("1_a.celery.msg")
    living.recover()
    assert names(queue) == [], "its process lives"
    dead._lock.close()  # as the system does when a process ends, however it ends
    living.recover()
    assert names(queue) == ["1_a.celery.msg"]
    assert len(names(taken)) == 2, "only the living one's lock and folder are left"


def test_one_message_goes_to_one_of_many(folders: tuple[Path, Path]) -> None:
    queue, taken = folders
    hands = [TakenMessages(queue, taken) for _ in range(8)]
    got: list[Any] = []
    threads = [threading.Thread(target=lambda hand=hand: got.append(hand.take("1_a.celery.msg"))) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(payload is not None for payload in got) == 1


@pytest.mark.parametrize("content", ["", MESSAGE[:20], "[]", '{"properties": [1]}', "null"])
def test_half_a_message_is_left_and_later_delivered_as_malformed(folders: tuple[Path, Path], content: str) -> None:
    queue, taken = folders
    path = queue / "1_a.celery.msg"
    path.write_text(content)
    hand = TakenMessages(queue, taken)
    assert hand.take(path.name) is None
    assert path.exists()
    old = path.stat().st_mtime - UNREADABLE_AFTER_SECONDS - 1
    os.utime(path, (old, old))
    with path.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert hand.take(path.name) is None, "its writer holds the lock"
    payload = hand.take(path.name)
    assert payload is not None
    assert payload["headers"][MALFORMED]
    assert names(queue) == []


def test_what_is_no_file_is_put_aside(folders: tuple[Path, Path]) -> None:
    queue, taken = folders
    (queue / "2_b.celery.msg").mkdir()
    hand = TakenMessages(queue, taken)
    assert hand.take("2_b.celery.msg") is None
    assert names(queue) == ["1_a.celery.msg", "2_b.celery.unreadable"]


@contextmanager
def consuming(data_dir: Path, prefetch: int, *queues: str) -> Iterator[tuple[Connection, list[Any]]]:
    options = embedded_settings(data_dir)["broker_transport_options"]
    with Connection(
        "filesystem://", transport="worker.broker.folder_transport:Transport", transport_options=options
    ) as connection:
        got: list[Any] = []
        consumer = Consumer(
            connection.default_channel, [Queue(name) for name in queues], on_message=got.append, accept=["json"]
        )
        consumer.qos(prefetch_count=prefetch)
        with consumer:
            yield connection, got


def send(data_dir: Path, queue: str, *bodies: str) -> None:
    """As any other process does it, with Kombu's own transport."""
    options = embedded_settings(data_dir)["broker_transport_options"]
    with Connection("filesystem://", transport_options=options) as connection:
        for body in bodies:
            connection.Producer().publish(body, routing_key=queue, declare=[Queue(queue)], serializer="json")


def drain(connection: Connection) -> None:
    """Until nothing comes."""
    while True:
        try:
            connection.drain_events(timeout=1)
        except TimeoutError:
            return


def test_what_is_not_acknowledged_is_there_for_the_next_worker(tmp_path: Path) -> None:
    send(tmp_path, "q", "one", "two")
    with consuming(tmp_path, 0, "q") as (connection, got):
        drain(connection)
        assert {message.decode() for message in got} == {"one", "two"}
        got[0].ack()
        left = got[1].decode()
    with consuming(tmp_path, 0, "q") as (connection, got):
        drain(connection)
        assert [message.decode() for message in got] == [left]
        got[0].requeue()
        drain(connection)
        assert [message.decode() for message in got] == [left, left]
        got[1].reject()
    with consuming(tmp_path, 0, "q") as (connection, got):
        drain(connection)
        assert got == []


def test_no_more_is_taken_than_there_is_room_for_and_no_queue_waits_for_another(tmp_path: Path) -> None:
    send(tmp_path, "full", *map(str, range(50)))
    send(tmp_path, "other", "urgent")
    with consuming(tmp_path, 2, "full", "other") as (connection, got):
        drain(connection)
        assert len(got) == 2
        assert "urgent" in [message.decode() for message in got]
        assert len(names(tmp_path / "broker" / "queue")) == 49
