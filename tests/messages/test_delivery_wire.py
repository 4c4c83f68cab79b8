"""Real processes, real requests, real crashes: what arrives at VirtualText, and what does not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.messages.conftest import Outbox, number
from tests.messages.worker_process import settings
from worker.core.states import MessageState
from worker.messages.delivery import DeliveryReport, deliver_due
from worker.messages.recording import record_due
from worker.runtime import Runtime
from worker.sandbox import Sandbox

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def wired(engine: Engine, sandbox: Sandbox) -> Outbox:
    """An outbox whose requests go over the wire."""
    url = engine.url.render_as_string(hide_password=False)
    runtime = Runtime(settings(url, sandbox.api_url, sandbox.create_url), engine=engine)
    return Outbox(runtime, None)  # type: ignore[arg-type]


class Worker:
    """A worker process, started and waiting."""

    def __init__(self, box: Outbox) -> None:
        account = box.runtime.settings.accounts["main"]
        urls = (box.runtime.settings.database_url(), account.api_url, account.create_url)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.messages.worker_process", *urls],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        self.lines, self.commands = self.process.stdout, self.process.stdin

    def __enter__(self) -> Worker:
        assert self.lines.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def go(self) -> None:
        self.commands.write("go\n")
        self.commands.flush()

    def accepted(self) -> int:
        """What it says at its end; lines before are its log."""
        return int(self.lines.read().split()[-1])


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def texts_by_number(sandbox: Sandbox) -> Counter[str]:
    return Counter(message.to for message in sandbox.messages("sent_by_platform"))


def test_a_worker_killed_in_mid_request_costs_nobody_a_second_text(wired: Outbox, sandbox: Sandbox) -> None:
    for i in range(20):
        wired.send(number(i), str(i))
    sandbox.add_fault(endpoint="send", action="delay", delay_ms=60_000, when="after", skip=6)
    with Worker(wired) as worker:
        worker.go()
        on_the_wire = {MessageState.ACCEPTED: 6, MessageState.DISPATCHING: 4, MessageState.QUEUED: 10}
        wait_until(lambda: Counter(wired.states().values()) == on_the_wire)
        wait_until(lambda: texts_by_number(sandbox).total() == 10)
        worker.process.kill()
    sandbox.remove_faults()

    assert deliver_due(wired.runtime) == DeliveryReport()  # the dead worker's claims still hold
    wired.leases_run_out()
    assert deliver_due(wired.runtime) == DeliveryReport(accepted=10)

    assert texts_by_number(sandbox) == {number(i): 1 for i in range(20)}
    unknown = [one for one, state in wired.states().items() if state is MessageState.UNKNOWN]
    assert len(unknown) == 4
    assert all("vanished" in wired.row(one).reason for one in unknown)


def test_two_worker_processes_at_once_send_each_text_once(wired: Outbox, sandbox: Sandbox) -> None:
    for i in range(60):
        wired.send(number(i), str(i))
    sandbox.add_fault(endpoint="send", action="delay", delay_ms=20)
    with Worker(wired) as one, Worker(wired) as other:
        one.go()
        other.go()
        shares = [one.accepted(), other.accepted()]
    assert sum(shares) == 60
    assert min(shares) > 0
    assert texts_by_number(sandbox) == {number(i): 1 for i in range(60)}


def test_a_record_never_goes_out_as_a_text(wired: Outbox, sandbox: Sandbox) -> None:
    """Without ``sendStatus: "sent"`` the customer would be texted for real, so no request may lack it."""
    sandbox.add_fault(endpoint="record", action="drop", when="after", calls=1)
    sandbox.add_fault(endpoint="record", action="answer", status=429, headers={"Retry-After": "0"}, skip=7, calls=1)
    for i in range(8):
        wired.record(f"SM{i}", number(i % 3), media=("https://a.example/b.png",))
    for _ in range(3):
        record_due(wired.runtime)
        wired.all_due()
    assert set(wired.states().values()) == {MessageState.ACCEPTED}
    assert sandbox.messages("sent_by_platform") == []
    assert sandbox.requests("send") == []
    requests = sandbox.requests("record")
    assert len(requests) == 10
    assert all(request.fields is not None and request.fields["sendStatus"] == "sent" for request in requests)


def test_a_send_is_never_marked_as_a_record(wired: Outbox, sandbox: Sandbox) -> None:
    wired.send(number(0))
    wired.record("SM1", number(1))
    deliver_due(wired.runtime)
    (request,) = sandbox.requests("send")
    assert request.fields is not None
    assert "sendStatus" not in request.fields


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ({"action": "answer", "status": 400}, MessageState.REJECTED),
        ({"action": "answer", "status": 401}, MessageState.QUEUED),
        ({"action": "answer", "status": 302}, MessageState.QUEUED),
        ({"action": "answer", "status": 429}, MessageState.QUEUED),
        ({"action": "answer", "status": 451}, MessageState.SUPPRESSED),
        ({"action": "answer", "status": 502}, MessageState.UNKNOWN),
        ({"action": "drop"}, MessageState.UNKNOWN),
        ({"action": "truncate"}, MessageState.UNKNOWN),
        ({"action": "garbage"}, MessageState.UNKNOWN),
    ],
)
def test_what_an_answer_means(wired: Outbox, sandbox: Sandbox, fault: dict[str, object], state: MessageState) -> None:
    sandbox.add_fault(endpoint="send", **fault)
    send = wired.send(number(0))
    deliver_due(wired.runtime)
    assert wired.state(send) is state
    assert "sandbox-token" not in wired.row(send).reason


def test_nobody_listening_is_provably_not_sent(engine: Engine) -> None:
    with Sandbox() as gone:
        pass
    runtime = Runtime(settings("sqlite://", gone.api_url, gone.create_url), engine=engine)
    box = Outbox(runtime, None)  # type: ignore[arg-type]
    send = box.send(number(0))
    assert deliver_due(runtime).requeued == 1
    assert box.row(send).reason.startswith("unreachable: ")
