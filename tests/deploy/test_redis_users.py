"""The users of Redis that docker-compose.yml comes with: what a fleet needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.deploy.files import ComposeSecrets, make_secrets
from tests.faults.servers import OwnRedis
from tests.harness import Fleet, fleet, until

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> ComposeSecrets:
    return make_secrets(tmp_path_factory.mktemp("compose"))


@pytest.fixture(scope="module")
def server(secrets: ComposeSecrets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    running = OwnRedis(tmp_path_factory.mktemp("server"), "--aclfile", str(secrets.folder / "redis_users"))
    try:
        running.start()
        yield running
    finally:
        running.kill()


def url_of(secrets: ComposeSecrets, name: str, server: OwnRedis) -> str:
    return secrets.read(name).replace("@redis:6379", f"@127.0.0.1:{server.port}")


@pytest.fixture
def made(tmp_path: Path, secrets: ComposeSecrets, server: OwnRedis) -> Iterator[Fleet]:
    with fleet(tmp_path, broker=url_of(secrets, "broker_url", server)) as running:
        yield running


def test_a_fleet_works_with_the_rights_of_its_user(made: Fleet) -> None:
    made.configure(account="requests_per_second = 50.0\nmax_in_flight = 4")
    worker = made.start("worker")
    beat = made.start("beat")
    until("the worker", lambda: b"worker ready" in made.log(worker))
    with made.service() as service:
        arguments = {"account": "main", "to": "+14155550123", "message": "hello"}
        answer = service.send_task("vtsync.send_message", kwargs=arguments).get(timeout=30)
    assert answer["ok"] is True
    until("the text", lambda: made.states()["accepted"] == 1)
    broker = [one for one in made.json("doctor") if "broker" in one["what"]]
    assert broker
    assert [one for one in broker if one["level"] == "problem"] == []
    for process in (worker, beat):
        assert b"NOPERM" not in made.log(process)
        assert b"no permissions" not in made.log(process)


MAY: dict[str, tuple[str, ...]] = {
    "vtsync": ("LPUSH queue x", "INFO", "TIME", "SCAN 0"),
    "flower": ("LLEN queue", "INFO", "SADD _kombu.binding.celeryev x", "LPUSH 0-0.reply.celery.pidbox x"),
    "default": ("PING",),
}
MAY_NOT: dict[str, tuple[str, ...]] = {
    "vtsync": ("FLUSHDB", "FLUSHALL", "CONFIG SET dir /tmp", "KEYS *", "ACL LIST", "SHUTDOWN", "SAVE"),
    "flower": ("LPUSH celery x", "DEL celery", "SET vtsync:limits:x 1", "FLUSHDB", "CONFIG GET *", "ACL LIST"),
    "default": ("GET x", "INFO", "SUBSCRIBE x", "LPUSH celery x", "ACL WHOAMI"),
}


def connect(secrets: ComposeSecrets, server: OwnRedis, user: str) -> redis.Redis:
    urls = {"vtsync": "broker_url", "flower": "flower_broker_url"}
    return redis.Redis.from_url(url_of(secrets, urls[user], server) if user in urls else server.url)


@pytest.mark.parametrize(("user", "command"), [(user, command) for user, all_ in MAY.items() for command in all_])
def test_a_user_may(secrets: ComposeSecrets, server: OwnRedis, user: str, command: str) -> None:
    with connect(secrets, server, user) as client:
        client.execute_command(*command.split())


@pytest.mark.parametrize(("user", "command"), [(user, command) for user, all_ in MAY_NOT.items() for command in all_])
def test_a_user_may_not(secrets: ComposeSecrets, server: OwnRedis, user: str, command: str) -> None:
    with connect(secrets, server, user) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())
