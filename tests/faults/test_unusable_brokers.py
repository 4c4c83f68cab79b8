"""A broker that is there and cannot be used, or is not there yet: every process waits, and continues by itself."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.faults.servers import OwnRedis, free_port
from tests.faults.service import Service
from tests.harness import Fleet, fleet, until

pytestmark = [pytest.mark.timeout(300), pytest.mark.redis]

UNUSABLE = b"the broker cannot be used"
NUMBERS = [f"+1415555{number:04d}" for number in range(101, 107)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnRedis]:
    made = OwnRedis(tmp_path)
    yield made
    made.kill()


def become_replica(client: redis.Redis, _: Path) -> None:
    client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))


def become_master(client: redis.Redis, _: Path) -> None:
    client.execute_command("REPLICAOF", "NO", "ONE")


def fill_memory(client: redis.Redis, _: Path) -> None:
    client.config_set("maxmemory", "1")


def free_memory(client: redis.Redis, _: Path) -> None:
    client.config_set("maxmemory", "0")


def spoil_disk(client: redis.Redis, folder: Path) -> None:
    (folder / "dump.rdb").mkdir()
    client.config_set("save", "3600 1")
    client.bgsave()
    until("the failure", lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


def mend_disk(client: redis.Redis, folder: Path) -> None:
    (folder / "dump.rdb").rmdir()
    client.bgsave()
    until("the success", lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")


def want_replicas(client: redis.Redis, _: Path) -> None:
    client.config_set("min-replicas-to-write", "1")


def want_none(client: redis.Redis, _: Path) -> None:
    client.config_set("min-replicas-to-write", "0")


def take_permissions(client: redis.Redis, _: Path) -> None:
    client.execute_command("ACL", "SETUSER", "default", "-@list")


def give_permissions(client: redis.Redis, _: Path) -> None:
    client.execute_command("ACL", "SETUSER", "default", "+@all")


Change = Callable[[redis.Redis, Path], None]


def started(made: Fleet) -> dict[str, subprocess.Popen[bytes]]:
    return {role: made.start(role) for role in ("worker", "beat")}


def assert_quiet(made: Fleet, processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Nothing ended, nothing printed a traceback, and nothing repeated itself at every try."""
    for role, process in processes.items():
        said = made.log(process)
        assert process.poll() is None, role
        assert b"Traceback" not in said, said.decode()
        assert said.count(UNUSABLE) <= 3, said.decode()


@pytest.mark.parametrize(
    ("spoil", "mend", "who"),
    [
        pytest.param(become_replica, become_master, "worker", id="a replica"),
        pytest.param(fill_memory, free_memory, "beat", id="no memory"),
        pytest.param(spoil_disk, mend_disk, "worker", id="no disk"),
        pytest.param(want_replicas, want_none, "worker", id="no replicas"),
        pytest.param(take_permissions, give_permissions, "worker", id="no permissions"),
    ],
)
def test_a_broker_that_accepts_nothing_for_a_while(
    server: OwnRedis, tmp_path: Path, spoil: Change, mend: Change, who: str
) -> None:
    server.start()
    with fleet(tmp_path, broker=server.url) as made, redis.Redis(port=server.port) as client:
        made.configure()
        assert made.run("migrate").exit_code == 0
        processes = started(made)
        service = Service(made, NUMBERS)
        processes["web"] = service.serve()
        until("the worker", lambda: b"worker ready" in made.log(processes["worker"]))
        spoil(client, tmp_path / "redis")
        service.start()
        service.finish()  # a text over HTTP needs only the store
        until("the broker to be missed", lambda: UNUSABLE in made.log(processes[who]))
        mend(client, tmp_path / "redis")
        until("each text", lambda: len(made.sandbox.messages()) == len(NUMBERS), 60)
        assert_quiet(made, processes)
        assert {message.to for message in made.sandbox.messages()} == set(NUMBERS)
        client.close()


def test_a_broker_that_starts_after_us(server: OwnRedis, tmp_path: Path) -> None:
    with fleet(tmp_path, broker=server.url) as made:
        made.configure()
        assert made.run("migrate").exit_code == 0
        processes = started(made)
        service = Service(made, NUMBERS)
        processes["web"] = service.serve()
        service.start()
        service.finish()
        for role, process in processes.items():
            until(f"{role} to miss it", lambda process=process: UNUSABLE in made.log(process))  # type: ignore[misc]
        server.start()
        until("each text", lambda: len(made.sandbox.messages()) == len(NUMBERS), 60)
        assert_quiet(made, processes)


def test_jobs_of_a_worker_that_was_killed_are_done_by_another(server: OwnRedis, tmp_path: Path) -> None:
    server.start()
    with fleet(tmp_path, broker=server.url) as made, redis.Redis(port=server.port) as client:
        made.configure('take_back_after = "3s"')  # continues the table of the broker
        assert made.run("migrate").exit_code == 0
        first = made.start("worker")
        until("the worker", lambda: b"worker ready" in made.log(first))
        with closing(sqlite3.connect(tmp_path / "data" / "vtsync.sqlite3", isolation_level=None)) as store:
            store.execute("BEGIN IMMEDIATE")  # the worker takes the jobs, and waits for the store
            with made.service() as service:
                for number in NUMBERS:
                    service.send_task(
                        "vtsync.send_message",
                        kwargs={"account": "main", "to": number, "message": "hello"},
                        ignore_result=True,
                    )
            until("the jobs to be taken", lambda: client.hlen("unacked") == len(NUMBERS))
            made.kill(first)
        assert client.llen("celery") == 0
        jobs = made.json("status")["jobs"]
        assert (jobs["in_progress"], jobs["waiting"]) == (len(NUMBERS), 0)
        until("their owner to count as gone", lambda: made.json("status")["jobs"]["left_behind"] == len(NUMBERS))
        second = made.start("worker")
        made.start("beat")
        until("each text", lambda: made.states() == {"accepted": len(NUMBERS)}, 60)
        assert b"jobs of workers that are gone were taken back" in made.log(second)
        assert sorted(message.to for message in made.sandbox.messages()) == NUMBERS
        until("their acknowledgement", lambda: client.hlen("unacked") == 0)
        client.close()


def test_jobs_of_a_worker_that_lives_are_left_to_it(server: OwnRedis, tmp_path: Path) -> None:
    server.start()
    with fleet(tmp_path, broker=server.url) as made, redis.Redis(port=server.port) as client:
        made.configure('take_back_after = "1s"')
        assert made.run("migrate").exit_code == 0
        workers = [made.start("worker") for _ in range(2)]
        for worker in workers:
            until("the worker", lambda worker=worker: b"worker ready" in made.log(worker))  # type: ignore[misc]
        with closing(sqlite3.connect(tmp_path / "data" / "vtsync.sqlite3", isolation_level=None)) as store:
            store.execute("BEGIN IMMEDIATE")
            with made.service() as service:
                service.send_task(
                    "vtsync.send_message",
                    kwargs={"account": "main", "to": NUMBERS[0], "message": "hello"},
                    ignore_result=True,
                )
            (tag,) = until("the job to be taken", lambda: client.zrange("unacked_index", 0, -1))
            owner = f"vtsync:owner:{tag.decode().partition('.')[0]}"
            moments = 0

            def looked_at() -> bool:
                nonlocal moments
                moments += client.exists("vtsync:owners-looked-at")
                return moments > 20

            until("the workers to look", looked_at)
            assert client.exists(owner)
            assert client.zrange("unacked_index", 0, -1) == [tag]
        until("the text to be stored", lambda: sum(made.states().values()) == 1)
        assert not any(b"were taken back" in made.log(worker) for worker in workers)
        client.close()
