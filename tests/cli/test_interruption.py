"""Signals to commands, as real processes get them. tests/faults interrupts a whole sync."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.cli.conftest import Shell
from tests.harness import heed_signals, until
from worker.core.isolated import isolated


@contextmanager
def command(shell: Shell, *arguments: str, begin: Callable[[], None] = heed_signals) -> Iterator[subprocess.Popen[str]]:
    """A running ``vtsync``, killed at the end if it still runs."""
    process = subprocess.Popen(
        isolated("vtsync", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=shell.folder,
        preexec_fn=begin,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def silent_api() -> Iterator[tuple[str, Callable[[], object]]]:
    """The address of an API that never answers, and a function that waits until somebody has asked it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/contacts", listener.accept


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_ends_with_a_sentence_and_the_code_of_the_signal(shell: Shell, number: signal.Signals) -> None:
    with silent_api() as (url, asked), command(shell, "adapters", "rest", "--try", url) as process:
        _ = asked()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said == "interrupted; nothing is lost, run the same command again to continue\n"


def test_what_nohup_protects_goes_on(shell: Shell) -> None:
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with silent_api() as (url, asked), command(shell, "adapters", "rest", "--try", url, begin=ignore) as process:  # type: ignore[arg-type]
        _ = asked()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_one_signal_stops_a_send_safely_and_a_second_one_ends_it_at_once(shell: Shell) -> None:
    (shell.folder / "vtsync.toml").write_text(
        (shell.folder / "vtsync.toml").read_text().replace("read_timeout = 1.0", "read_timeout = 30.0")
    )
    shell.sandbox.add_fault(endpoint="send", action="delay", delay_ms=20_000)
    send = ("send", "--to", "+14155550101", "--message", "hello")
    with command(shell, *send) as process:
        dispatching = lambda: [m["id"] for m in shell.json("messages", "--state", "dispatching")]  # noqa: E731
        until("the text to be on the wire", dispatching, 60)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("stopping at the next safe point; another signal ends the command")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    assert dispatching(), "the text stays what it is: it may have been sent"
    shell.sandbox.remove_faults()


def test_a_stopped_send_stays_queued(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal arrives before the request: the text is not sent, and the command says so."""
    from worker.messages import delivery

    real = delivery.deliver_due
    monkeypatch.setattr(
        delivery, "deliver_due", lambda *a, **k: (os.kill(os.getpid(), signal.SIGTERM), real(*a, **k))[1]
    )
    before = signal.getsignal(signal.SIGTERM)
    done = shell("send", "--to", "+14155550101", "--message", "hello", code=128 + signal.SIGTERM)
    assert "queued" in done.output
    assert signal.getsignal(signal.SIGTERM) is before
    assert shell.sandbox.messages("sent_by_platform") == []
