"""Whatever a broker delivers: good jobs between it are done once, it is reported once, and the workers stay up."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import amqp
import pytest
import redis

from tests.broker.poison import RAW, SECRET, Poison, job, poison
from tests.faults.servers import alone_on_rabbitmq
from tests.harness import Fleet, fleet, until
from tests.services import rabbitmq_url, redis_url
from worker.broker.settings import INTAKE

pytestmark = pytest.mark.timeout(300)

GOOD_BETWEEN = 4
WORKERS = 4
POISON = poison(first=5000)


def good(number: int) -> Poison:
    """A good job in the plain form."""
    return Poison(
        number, True, {"task": "vtsync.send_message", "id": f"good-{number}"}, json.dumps(job(number)).encode()
    )


def mixed() -> Iterator[Poison]:
    """The table, with good jobs between its rows and at the end."""
    numbers = itertools.count(100)
    for row in POISON:
        yield from (good(next(numbers)) for _ in range(GOOD_BETWEEN))
        yield row
    yield good(next(numbers))


def check(made: Fleet, put: Callable[[], int]) -> None:
    """Start workers, let ``put`` publish everything, and wait. ``put`` returns how many raw items it added."""
    made.configure(account="texts_per_second = 2000.0\nconcurrency = 16")
    workers = [made.start("worker") for _ in range(WORKERS)]
    until("the workers", lambda: all(b"worker ready" in made.log(worker) for worker in workers))
    raw = put()
    everything = [*mixed()]
    wanted = sorted(f"{SECRET} {row.number}" for row in everything if row.done)
    refused = [row for row in everything if not row.done]
    assert len(refused) >= 200
    assert len(wanted) >= 1000

    def ended() -> bool:
        return any(worker.poll() is not None for worker in workers)

    def dead() -> list[Any]:
        return made.query("SELECT message_id, times, reason FROM dead_letter")

    def sent() -> list[str]:
        return sorted(message.text for message in made.sandbox.messages())

    everybody = len(wanted) + len(refused) + raw
    until("everything", lambda: ended() or len(sent()) + len(dead()) >= everybody, 120)
    assert not ended(), "a worker ended"
    assert sent() == wanted
    letters = dead()
    assert len(letters) == len(refused) + raw
    assert {letter.times for letter in letters} == {1}
    named = {f"poison-{row.number}" for row in refused if row.headers.get("id") == f"poison-{row.number}"}
    assert {letter.message_id for letter in letters if letter.message_id.startswith("poison-")} == named
    log = "".join(made.log(worker).decode(errors="replace") for worker in workers)
    assert log.count("a message was refused") == len(letters)
    for where in (log, " ".join(letter.reason for letter in letters)):
        assert SECRET not in where
        assert "Traceback" not in where
    told = made.run("status").output
    assert f"{len(letters):,} messages of the broker refused" in " ".join(told.split())


def test_files(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:

        def put() -> int:
            queue = tmp_path / "data" / "broker" / "queue"
            for index, item in enumerate([*RAW, *(row.envelope() for row in mixed())]):
                path = queue / f"{index:06d}_x.{INTAKE}.new"
                path.write_bytes(item)
                os.utime(path, (0, 0))  # nobody is still writing it
                path.rename(path.with_suffix(".msg"))
            return len(RAW)

        check(made, put)


@pytest.mark.redis
def test_redis(tmp_path: Path) -> None:
    url = redis_url()
    client = redis.Redis.from_url(url)
    client.flushdb()
    with fleet(tmp_path, broker=url) as made, ExitStack() as stack:
        stack.callback(client.flushdb)

        def put() -> int:
            for item in [*RAW, *(row.envelope() for row in mixed())]:
                client.lpush(INTAKE, item)
            return len(RAW)

        check(made, put)
        until("every acknowledgement", lambda: not client.exists(INTAKE, "unacked"))
        answer = json.loads(client.get("celery-task-meta-good-100") or b"{}")
        assert answer["result"]["ok"] is True


@pytest.mark.rabbitmq
def test_rabbitmq(tmp_path: Path) -> None:
    url = rabbitmq_url()
    with alone_on_rabbitmq(url), fleet(tmp_path, broker=url) as made:

        def put() -> int:
            address = made.service().connection_for_write()
            with amqp.Connection(
                f"{address.hostname}:{address.port}",
                address.userid,
                address.password,
                virtual_host=address.virtual_host,
            ) as connection:
                channel = connection.channel()
                for row in mixed():
                    kinds = {"content_type": row.content_type, "content_encoding": row.content_encoding}
                    properties = {name: value for name, value in kinds.items() if value is not None}
                    message = amqp.Message(row.body, application_headers=row.headers, **properties)
                    channel.basic_publish(message, routing_key=INTAKE)
                broken = amqp.Message(b"{}", content_type=b"\xff\xfe", application_headers={"task": "a", "id": "b"})
                channel.basic_publish(broken, routing_key=INTAKE)
            return 1

        check(made, put)
