"""A store that is there and cannot be written: jobs go back, requests are refused for now, nothing happens twice."""

from __future__ import annotations

import contextlib
import resource
import signal
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.servers import OwnPostgres
from tests.faults.service import Service
from tests.harness import Fleet, fleet, until

pytestmark = [pytest.mark.timeout(240)]

BY_CELERY = [f"+1415555{number:04d}" for number in range(101, 107)]
BY_HTTP = [f"+1415555{number:04d}" for number in range(107, 113)]
LIMIT_BYTES = 16_384
MISSED = b"the store cannot be used; the job waits"


@contextmanager
def own_postgres(**options: Any) -> Iterator[OwnPostgres]:
    """A server of the test's own."""
    # Not pytest's folder, which another user, as PostgreSQL has to be, may be locked out of at any time.
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-stores-"))
        server = OwnPostgres(Path(folder), **options)
        stack.callback(server.kill)
        server.start()
        yield server


def connect(server: OwnPostgres) -> psycopg.Connection[Any]:
    return psycopg.connect(f"host=127.0.0.1 port={server.port} user=vtsync dbname=postgres", autocommit=True)


@contextmanager
def read_only(server: OwnPostgres) -> Iterator[None]:
    """As a primary that became a standby: it answers, and refuses every write on old and new connections."""
    with connect(server) as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        yield
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")


@contextmanager
def full_of_connections(server: OwnPostgres) -> Iterator[None]:
    """Other programs have every connection of the server."""
    with ExitStack() as stack:
        theirs = [stack.enter_context(connect(server))]
        mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'other' AND"
        for _ in range(3):
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    theirs.append(stack.enter_context(connect(server)))
                    theirs[-1].execute("SET application_name = 'other'")
            theirs[0].execute(f"{mine} backend_type = 'client backend' AND pid <> pg_backend_pid()")
        yield


@contextmanager
def locked(server: OwnPostgres) -> Iterator[None]:
    """Somebody has locked the messages, and went to lunch."""
    with connect(server) as admin, admin.transaction():
        admin.execute("LOCK TABLE message IN ACCESS EXCLUSIVE MODE")
        yield


def send_by_celery(made: Fleet) -> list[Any]:
    with made.service() as service:
        return [
            service.send_task("vtsync.send_message", kwargs={"account": "main", "to": number, "message": "hello"})
            for number in BY_CELERY
        ]


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=40):
            return True
    except urllib.error.HTTPError as error:
        return error.code != 503


def assert_each_text_once(made: Fleet, results: list[Any]) -> None:
    everybody = {*BY_CELERY, *BY_HTTP}
    until("each text", lambda: made.states() == {"accepted": len(everybody)}, 90)
    assert all(result.get(timeout=60)["ok"] for result in results)
    assert sorted(message.to for message in made.sandbox.messages()) == sorted(everybody)


def take_away(made: Fleet, unusable: Callable[[], AbstractContextManager[None]], *, notices: bool = True) -> None:
    """Take the store away while jobs come, by Celery and over HTTP, and give it back."""
    assert made.run("migrate").exit_code == 0
    worker, _ = made.start("worker"), made.start("beat")
    service = Service(made, BY_HTTP)
    service.serve()
    (port,) = service._ports
    until("the worker", lambda: b"worker ready" in made.log(worker))
    assert is_ready(port)
    with unusable():
        results = send_by_celery(made)
        service.start()
        until("the jobs to be refused", lambda: made.log(worker).count(MISSED) >= len(BY_CELERY), 90)
        assert is_ready(port) is not notices
        until("requests to be refused", lambda: service.answers["503"] > 0)
        assert service.taken == 0
    service.finish()
    assert is_ready(port)
    assert_each_text_once(made, results)
    assert worker.poll() is None
    assert b"Traceback" not in made.log(worker), made.log(worker).decode()


@pytest.mark.postgres
@pytest.mark.parametrize("unusable", [read_only, full_of_connections])
def test_a_server_that_cannot_be_written_for_a_while(
    tmp_path: Path, unusable: Callable[[OwnPostgres], AbstractContextManager[None]]
) -> None:
    with own_postgres(max_connections=60) as server, fleet(tmp_path, store=server.url) as made:
        made.configure()
        take_away(made, lambda: unusable(server))


def test_a_file_that_cannot_be_written_for_a_while(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        made.configure()

        @contextmanager
        def full_disk() -> Iterator[None]:
            """No process may write beyond the first bytes of a file, as where a disk or a quota is full."""
            before = {one.pid: resource.prlimit(one.pid, resource.RLIMIT_FSIZE) for one in made.processes}
            for pid, (_, hard) in before.items():
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))
            yield
            for pid, limit in before.items():
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)

        take_away(made, full_disk, notices=False)  # readiness writes nothing, `vtsync doctor` does


@pytest.mark.postgres
def test_a_switch_over_to_the_standby(tmp_path: Path) -> None:
    """The URL names both servers, as the documentation says; the former primary is there all the time, read-only."""
    with ExitStack() as stack:
        primary = stack.enter_context(own_postgres())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-standby-")))
        folder.chmod(0o755)
        standby = primary.standby(folder)
        stack.callback(standby.kill)
        standby.start()
        hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in (standby, primary))
        store = f"postgresql+psycopg://vtsync@/postgres?{hosts}"
        made = stack.enter_context(fleet(tmp_path, store=store))
        made.configure()
        assert made.run("migrate").exit_code == 0
        worker, _ = made.start("worker"), made.start("beat")
        until("the worker", lambda: b"worker ready" in made.log(worker))
        with connect(primary) as admin, connect(standby) as other:
            admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            admin.execute("SELECT pg_reload_conf()")
            results = send_by_celery(made)
            until("the jobs to be refused", lambda: made.log(worker).count(MISSED) >= len(BY_CELERY), 90)
            caught_up = "SELECT pg_wal_lsn_diff(%s::pg_lsn, pg_last_wal_replay_lsn()) <= 0"
            (position,) = admin.execute("SELECT pg_current_wal_lsn()").fetchone() or ("0/0",)
            until("the standby", lambda: (other.execute(caught_up, [position]).fetchone() or [False])[0])
        standby.promote()
        assert all(result.get(timeout=90)["ok"] for result in results)
        until("each text", lambda: made.states() == {"accepted": len(BY_CELERY)}, 60)
        assert sorted(message.to for message in made.sandbox.messages()) == BY_CELERY
        made.end()


@pytest.mark.postgres
def test_a_lock_that_is_held_for_minutes_delays_no_stop_and_loses_no_job(tmp_path: Path) -> None:
    with own_postgres() as server:
        store = f"{server.url}?options=-clock_timeout%3D3s"  # the default is 20 s
        with fleet(tmp_path, store=store) as made:
            made.configure()
            assert made.run("migrate").exit_code == 0
            worker = made.start("worker")
            until("the worker", lambda: b"worker ready" in made.log(worker))
            with locked(server):
                results = send_by_celery(made)
                until("the jobs to be taken", lambda: _waiting_for_locks(server) > 0)
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(70) == 0, made.log(worker).decode()
            made.start("worker")
            made.start("beat")
            assert all(result.get(timeout=90)["ok"] for result in results)
            until("each text", lambda: made.states() == {"accepted": len(BY_CELERY)}, 60)
            assert sorted(message.to for message in made.sandbox.messages()) == BY_CELERY


def _waiting_for_locks(server: OwnPostgres) -> int:
    with connect(server) as admin:
        found = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
        return int(found[0]) if found else 0
