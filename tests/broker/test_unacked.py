"""Messages that a channel has taken from Redis: who owns them, and who puts them back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection, Queue

from tests.faults.servers import OwnRedis
from tests.harness import until
from worker.broker.redis_transport import RedisTransport
from worker.broker.unacked import ALIVE, TakenJobs, new_tag, owner_of, take_back

pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]
QUEUE = Queue("celery")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnRedis]:
    made = OwnRedis(tmp_path)
    made.start()
    yield made
    made.kill()


@contextlib.contextmanager
def connected(server: OwnRedis) -> Iterator[Connection]:
    with Connection(server.url, transport=RedisTransport, transport_options={"take_back_after": 30.0}) as connection:
        yield connection


def consuming(connection: Connection) -> list[Any]:
    """Begin to take messages, and return the list in which they will be. None is acknowledged."""
    found: list[Any] = []
    consumer = connection.Consumer(QUEUE, callbacks=[lambda _, message: found.append(message)], prefetch_count=10)
    consumer.consume()
    return found


def wait(connection: Connection, found: list[Any], number: int) -> None:
    def enough() -> bool:
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=0.2)
        return len(found) >= number

    until("the messages", enough)


def taken(connection: Connection, number: int) -> list[Any]:
    """Take messages and acknowledge none."""
    found = consuming(connection)
    wait(connection, found, number)
    return found


def publish(connection: Connection, number: int) -> None:
    with connection.Producer() as producer:
        for index in range(number):
            producer.publish({"number": index}, routing_key="celery", declare=[QUEUE])


def test_a_tag_names_its_owner() -> None:
    assert owner_of(new_tag("abc")) == "abc"
    assert new_tag("abc") != new_tag("abc")
    assert owner_of("7c3f1d9e-5a62-4a8f-9a1b-0f3f6f3f2c11") == ""  # of an earlier version: left to the time-out


def test_only_messages_of_owners_that_are_gone_are_put_back(server: OwnRedis) -> None:
    with connected(server) as one, connected(server) as other, redis.Redis(port=server.port) as client:
        publish(one, 2)
        (first, *_) = taken(one, 2)
        publish(other, 1)
        (last,) = taken(other, 1)
        one_owner, other_owner = owner_of(first.delivery_tag), owner_of(last.delivery_tag)
        assert one_owner != other_owner
        client.zadd("unacked_index", {"of-an-earlier-version": 1e12})
        channel = one.default_channel
        assert channel.count_taken() == TakenJobs(in_progress=3, left_behind=0)
        assert take_back(channel) == 0
        client.delete(f"{ALIVE}{one_owner}", "vtsync:owners-looked-at")
        assert channel.count_taken() == TakenJobs(in_progress=3, left_behind=2)
        assert take_back(channel) == 2
        assert take_back(channel) == 0  # somebody has just looked
        assert (client.llen("celery"), client.hlen("unacked")) == (2, 1)
        assert {tag.decode() for tag in client.zrange("unacked_index", 0, -1)} == {
            last.delivery_tag,
            "of-an-earlier-version",
        }


def fill_memory(client: redis.Redis) -> None:
    client.config_set("maxmemory", "1")


def cut_connections(client: redis.Redis) -> None:
    client.config_set("min-replicas-to-write", "1")


def test_a_message_that_redis_does_not_note_is_done_all_the_same(server: OwnRedis) -> None:
    with connected(server) as connection, redis.Redis(port=server.port) as client:
        found = consuming(connection)
        publish(connection, 1)
        wait(connection, found, 1)
        publish(connection, 1)
        fill_memory(client)
        wait(connection, found, 2)
        assert client.hlen("unacked") == 1
        for message in found:
            message.ack()
        assert (client.hlen("unacked"), client.zcard("unacked_index")) == (0, 0)


@pytest.mark.parametrize("spoil", [fill_memory, cut_connections])
def test_no_message_is_taken_from_a_server_that_accepts_no_writes(
    server: OwnRedis, spoil: Callable[[redis.Redis], None]
) -> None:
    with connected(server) as connection, redis.Redis(port=server.port) as client:
        publish(connection, 1)
        spoil(client)
        with pytest.raises(connection.channel_errors):
            connection.Consumer(QUEUE, auto_declare=False).consume()
        assert client.llen("celery") == 1
