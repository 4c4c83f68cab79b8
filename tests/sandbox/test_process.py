"""``python -m worker.sandbox`` as a process of its own, and the sandbox's life in this one."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.conftest import ask, send, text, until
from worker.core.isolated import isolated
from worker.sandbox import Sandbox, SandboxAccount
from worker.sandbox.__main__ import account, main


def run(ready: Path, *arguments: str) -> subprocess.Popen[str]:
    command = isolated("worker.sandbox", "--api-port=0", "--create-port=0")
    return subprocess.Popen(
        [*command, f"--ready-file={ready}", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(ready: Path, process: subprocess.Popen[str]) -> dict[str, Any]:
    until(lambda: ready.exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    told: dict[str, Any] = json.loads(ready.read_text())
    return told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_tells_where_it_listens_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process = run(tmp_path / "ready", "--account=me:my-token:+12025550100", "--list-limit=0")
    try:
        told = wait_for(tmp_path / "ready", process)
        credentials = "Bearer me:my-token"
        assert ask(told["api_url"], "POST", "/api/send", text(), credentials=credentials).status == 200
        body = {"phoneNumber": "+14155552671"}
        assert ask(told["create_url"], "POST", "/api/contacts", body, credentials=credentials).status == 200
        assert ask(told["api_url"], "GET", "/api/contacts", credentials=credentials).status == 408
        assert ask(told["page_url"], "GET", "/").status == 200

        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()

    assert (process.returncode, err) == (0, "")
    for line in (f'api_url = "{told["api_url"]}"', f'create_url = "{told["create_url"]}"', "VTSYNC_UID=me"):
        assert line in out
    assert "my-token" not in out
    assert not (tmp_path / "ready").exists()


def test_a_taken_port_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert main([f"--api-port={port}", "--create-port=0"]) == 1

    assert capsys.readouterr().err.startswith(f"Cannot listen on 127.0.0.1 port {port}: Address already in use")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("u:t", SandboxAccount("u", "t")),
        ("u:t:", SandboxAccount("u", "t")),
        ("u:t:+12025550100", SandboxAccount("u", "t", ("+12025550100",))),
        ("u:t:+12025550100,+12025550101", SandboxAccount("u", "t", ("+12025550100", "+12025550101"))),
    ],
)
def test_an_account_on_the_command_line(given: str, expected: SandboxAccount) -> None:
    assert account(given) == expected


@pytest.mark.parametrize("given", ["", "u", "u:", ":t", "::+12025550100"])
def test_half_an_account_is_refused(given: str) -> None:
    with pytest.raises(ValueError):
        account(given)


def test_a_token_is_never_shown() -> None:
    assert "secret" not in repr(SandboxAccount("u", "secret"))


def test_stopping_frees_the_ports_even_with_a_request_in_flight() -> None:
    sandbox = Sandbox().start()
    sandbox.add_fault(action="delay", delay_ms=60_000, when="after")
    with pytest.raises(TimeoutError):
        ask(sandbox.api_url, "POST", "/api/send", text(), timeout=0.05)
    until(sandbox.injections)

    sandbox.stop()
    sandbox.stop()

    port = int(sandbox.api_url.rpartition(":")[2])
    with Sandbox(api_port=port) as next_one:
        assert send(next_one).status == 200


def test_two_sandboxes_know_nothing_of_each_other() -> None:
    with Sandbox() as one, Sandbox() as other:
        send(one)
        assert (len(one.messages()), len(other.messages())) == (1, 0)
