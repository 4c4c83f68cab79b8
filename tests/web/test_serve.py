"""`vtsync web` as a process: where it listens, what it does with slow callers, how it ends."""

from __future__ import annotations

import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from tests.harness import Fleet, fleet, until
from tests.web.conftest import runtime_over
from worker.doctor.exposure import Unprotected, check_exposure
from worker.store.db import writing
from worker.store.models import utcnow
from worker.web.keys import SCOPES, create_key, revoke_key
from worker.web.serve import _where_to_sign_in
from worker.web.users import create_user


def secret_in(folder: Path, secret: str = "a-secret-of-at-least-24-characters") -> str:
    (folder / "secret").write_text(secret)
    return f'relay_secret = {{ file = "{folder / "secret"}" }}'


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1)
    except (urllib.error.URLError, OSError):
        return False
    return True


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("web")) as running:
        running.configure(account=secret_in(running.folder), more="[web]\nbody_timeout = 1.0")
        assert running.run("migrate").exit_code == 0
        yield running


@pytest.fixture(scope="module")
def port(made: Fleet) -> Iterator[int]:
    chosen = free_port()
    process = made.start("web", "--port", str(chosen))
    until("the HTTP side", lambda: answers(f"http://127.0.0.1:{chosen}/health/ready"))
    yield chosen
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, made.log(process).decode()
    assert b"a-secret-of" not in made.log(process), "the Relay's address is in the log"


def speak(port: int, *pieces: bytes, pause: float = 0) -> bytes:
    """Send raw bytes, with pauses between; all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        connection.shutdown(socket.SHUT_WR) if not pause else None
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
                if b"\r\n\r\n" in received and b"connection: close" in received.lower():
                    break
        except TimeoutError:
            pass
    return received


HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


def test_a_caller_that_sends_too_slowly_is_not_waited_for(port: int) -> None:
    answer = speak(port, HEAD, b"{", pause=1.3)
    assert b" 408 " in answer
    assert b"request_timeout" in answer


def test_a_caller_that_goes_away_does_no_harm(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD + b"{")
    assert answers(f"http://127.0.0.1:{port}/health/live")


def test_a_relay_event_over_real_http_is_worked_off(made: Fleet, port: int) -> None:
    body = (
        b'{"MessageID": "in1", "ToNumber": "+12025550100", "FromNumber": "+14155552671", "MessageBody": "STOP",'
        b' "MessageDirection": "in"}'
    )
    url = f"http://127.0.0.1:{port}/relay/a-secret-of-at-least-24-characters"
    assert urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=5).status == 200
    worker = made.start("worker")
    until("the opt-out", lambda: made.query("SELECT phone FROM opt_out"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert [one["phone"] for one in made.json("opt-outs")] == ["+14155552671"]


def may_listen(engine: Engine, host: str, secret: str | None = None, public_url: str | None = None) -> bool:
    runtime = runtime_over(engine, public_url=public_url)
    accounts = {
        name: one.model_copy(update={"relay_secret": SecretStr(secret) if secret else None})
        for name, one in runtime.settings.accounts.items()
    }
    runtime.settings = runtime.settings.model_copy(update={"accounts": accounts})
    try:
        check_exposure(runtime, host)
    except Unprotected:
        return False
    return True


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "texts.example.com", ""])
def test_beyond_this_machine_it_needs_a_credential_that_works(engine: Engine, host: str) -> None:
    assert not may_listen(engine, host)
    assert not may_listen(engine, host, secret="short")
    assert may_listen(engine, host, secret="s" * 24)
    with writing(engine) as connection:
        key = create_key(connection, "shop", SCOPES, [], created_by="test", now=utcnow())
    assert may_listen(engine, host)
    with writing(engine) as connection:
        revoke_key(connection, key.split("_")[1], utcnow())
    assert not may_listen(engine, host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_this_machine_it_needs_none_but_a_strong_secret_behind_a_proxy(engine: Engine, host: str) -> None:
    assert may_listen(engine, host)
    assert may_listen(engine, host, secret="short", public_url="http://127.0.0.1:8080")
    assert not may_listen(engine, host, secret="short", public_url="https://texts.example.com")
    assert may_listen(engine, host, secret="s" * 24, public_url="https://texts.example.com")
    assert may_listen(engine, host, public_url="https://texts.example.com")


def test_it_refuses_to_listen_for_everybody_without_any_credential(tmp_path: Path) -> None:
    with fleet(tmp_path) as running:
        running.configure()
        assert running.run("migrate").exit_code == 0
        for_all = ("web", "--port", "0", "--host", "0.0.0.0")
        done = running.run(*for_all)
        assert done.exit_code == 2
        assert "vtsync keys create" in done.stderr
        running.configure(account=secret_in(tmp_path, "too-short"))
        assert running.run(*for_all).exit_code == 2


@pytest.mark.parametrize(
    ("host", "public_url", "has_user", "says"),
    [
        ("127.0.0.1", None, True, "the pages are at http://127.0.0.1:8080/ui; sign in there"),
        ("::1", None, True, "the pages are at http://[::1]:8080/ui; sign in there"),
        (
            "127.0.0.1",
            "https://texts.example.com",
            True,
            "the pages are at https://texts.example.com/ui; sign in there",
        ),
        ("127.0.0.1", None, False, "nobody can sign in yet: `vtsync users create NAME --role admin`"),
    ],
)
def test_it_says_where_to_sign_in(engine: Engine, host: str, public_url: str | None, has_user: bool, says: str) -> None:
    if has_user:
        with writing(engine) as connection:
            create_user(connection, "ana", "admin", "correct horse battery", by="test", now=utcnow())
    assert says in _where_to_sign_in(runtime_over(engine, public_url=public_url), host, 8080)


def test_a_port_that_is_taken_is_named(made: Fleet, port: int) -> None:
    done = made.process("web", "--port", str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
