"""A user of Redis with exactly the documented permissions, and with less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.faults.servers import OwnRedis
from tests.harness import fleet, until
from worker.doctor.redis_permissions import ACL, judge_permissions, refused_commands

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnRedis]:
    made = OwnRedis(tmp_path)
    made.start()
    yield made
    made.kill()


def user(server: OwnRedis, *permissions: str) -> redis.Redis:
    with redis.Redis(port=server.port) as admin:
        admin.execute_command("ACL", "SETUSER", "vtsync", "reset", "on", ">secret", *permissions)
    return redis.Redis(port=server.port, username="vtsync", password="secret")


def test_the_documented_permissions_are_those_that_are_checked() -> None:
    assert ACL in " ".join(DOCUMENTATION.read_text(encoding="utf-8").replace("\\\n", " ").split())


@pytest.mark.parametrize(
    ("permissions", "refused"),
    [
        (ACL.split(), set()),
        (["~*", "&*", "+@all"], set()),
        ([*ACL.split(), "-brpop"], {"BRPOP celery vtsync.messages 1"}),
        ([*ACL.split(), "-publish"], {"PUBLISH celery-task-meta-x x"}),
        ([*ACL.split(), "-multi"], {"MULTI"}),
        ([*ACL.split(), "-hset", "-zadd"], {"HSET unacked x x", "ZADD unacked_index 0 x"}),
        ([word for word in ACL.split() if word != "~celery*"], {"LPUSH celery x", "GET celery-task-meta-x"}),
        ([word for word in ACL.split() if not word.startswith("&")], {"PUBLISH celery-task-meta-x x"}),
        (["~celery*", "+@all"], {"RPUSH vtsync.messages x", "HSET unacked x x"}),
    ],
)
def test_what_a_user_may_not_do_is_found_and_nothing_is_done(
    server: OwnRedis, permissions: list[str], refused: set[str]
) -> None:
    with user(server, *permissions) as client:
        found = refused_commands(client)
    assert refused <= set(found)
    assert bool(found) == bool(refused)
    assert judge_permissions(found).level == ("problem" if refused else "ok")
    with redis.Redis(port=server.port) as admin:
        assert admin.keys("*") == []


def test_a_fleet_with_the_documented_permissions(server: OwnRedis, tmp_path: Path) -> None:
    user(server, *ACL.split()).close()
    url = f"redis://vtsync:secret@127.0.0.1:{server.port}/0"
    with fleet(tmp_path, broker=url) as made:
        made.configure(account="texts_per_second = 50.0\nmax_in_flight = 4")
        assert made.run("migrate").exit_code == 0
        worker = made.start("worker")
        made.start("beat")
        with made.service() as service:
            result = service.send_task(
                "vtsync.send_message", kwargs={"account": "main", "to": "+14155550101", "message": "hello"}
            )
            assert result.get(timeout=60)["ok"] is True
            result.forget()
        until("the text", lambda: len(made.sandbox.messages()) == 1)
        said = made.log(worker)
        assert b"NOPERM" not in said, said.decode()
        assert b"no permissions" not in said, said.decode()
        assert "has the permissions that are needed" in made.process("doctor", "--json").stdout
