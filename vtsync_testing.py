"""The pytest plugin: ``vtsync_sandbox``, for the tests of services that send texts. See docs/enqueue.md.

pytest loads this module in each run, whether the run uses the fixture or not, and beside the modules of the service.
One of those may be called ``worker`` or ``config``, too. So this module imports nothing of vtsync: the sandbox and its
fleet run in processes of their own (``worker.testing.agent``), which this module asks.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from celery import Celery

ROOT = Path(__file__).parent
"""Where vtsync is installed."""
LOG_END = 3000


class SandboxFailed(Exception):
    """The sandbox cannot start, or has ended. The message says why."""


@dataclass(frozen=True)
class PhoneText:
    """A text in a conversation, as the phone shows it. ``media`` are URLs."""

    account: str
    from_number: str
    to: str
    text: str
    media: tuple[str, ...]


class VtsyncSandbox:
    """A stand-in for VirtualText whose texts reach no phone, with a worker, a scheduler and the HTTP API.

    ``url`` is the HTTP API. ``key`` may do everything, and what it sends reaches the phones of the sandbox.
    ``test_key`` is a key as ``vtsync keys create --test`` makes it, whose texts end as ``simulated``. ``page_url``
    shows the conversations in a browser.
    """

    def __init__(self, agent: _Agent) -> None:
        self._agent = agent
        facts = agent.facts
        self.url: str = facts["url"]
        self.key: str = facts["key"]
        self.test_key: str = facts["test_key"]
        self.account: str = facts["account"]
        self.from_number: str = facts["from_number"]
        self.callback_secret: str = facts["callback_secret"]
        self.page_url: str = facts["page_url"]
        self.config: Path = Path(facts["config"])
        self.celery_settings: dict[str, Any] = facts["celery_settings"]
        """The broker and the results, for a Celery application of your own: ``app.conf.update(...)``."""
        self.broker_url: str = self.celery_settings["broker_url"]
        """The URL of the broker. It is a folder, so Celery needs the rest of ``celery_settings``, too."""

    @cached_property
    def celery(self) -> Celery:
        """A Celery application that knows the broker and nothing else: ``celery.send_task("vtsync.send_message")``."""
        from celery import Celery

        app = Celery("service-under-test", set_as_current=False)
        app.conf.update(self.celery_settings)
        return app

    def sync(self, connection: str, *, full: bool = False) -> dict[str, Any]:
        """Read a connection of ``vtsync_settings`` now, and return its report once its texts have been sent."""
        report: dict[str, Any] = self._agent.ask("sync", connection=connection, full=full)
        return report

    # what the phones show

    def texts(self) -> list[PhoneText]:
        """Return the texts that were sent, oldest first."""
        return [_text(one) for one in self._agent.ask("texts")]

    def records(self) -> list[PhoneText]:
        """Return the texts that were recorded, and sent to nobody, oldest first."""
        return [_text(one) for one in self._agent.ask("records")]

    def sent_to(self, number: str) -> list[str]:
        """Return what the phone with this number has received, oldest first."""
        return [text.text for text in self.texts() if text.to == number]

    def contacts(self) -> list[dict[str, str]]:
        """Return the contacts of VirtualText: id, fullName, phoneNumber, email."""
        contacts: list[dict[str, str]] = self._agent.ask("contacts")
        return contacts

    def messages(self, number: str | None = None) -> list[dict[str, Any]]:
        """Return what vtsync has stored, newest first: id, state, reason, text, to_number, metadata and more."""
        messages: list[dict[str, Any]] = self._agent.ask("messages", number=number)
        return messages

    def wait_for_text(self, *, to: str, containing: str = "", timeout: float = 10) -> PhoneText:
        """Return the first text to a number. Raises AssertionError that says what happened instead."""
        return _text(self._agent.ask("wait_for_text", to=to, containing=containing, timeout=timeout))

    def settle(self, timeout: float = 10) -> None:
        """Return once nothing is left to do now. What comes later, such as ``send_at``, stays. Raises AssertionError.

        Use it before you assert that something was *not* sent.
        """
        self._agent.ask("settle", timeout=timeout)

    # what others do

    def reply(self, from_: str, text: str, *, to: str = "", media: Sequence[str] = ()) -> PhoneText:
        """Let a customer write. Return once vtsync has processed it, and STOP is in force.

        ``to``: which of your numbers; default: the one that texted the customer last.
        """
        return _text(self._agent.ask("reply", from_=from_, text=text, to=to, media=list(media)))

    def add_fault(self, **fields: Any) -> None:
        """Let VirtualText fail during this test: ``add_fault(endpoint="send", action="answer", status=500)``."""
        self._agent.ask("add_fault", **fields)

    def empty(self) -> None:
        """Make everything as new: no contact, text, job, opt-out or fault. The fixture does it before each test."""
        self._agent.ask("empty")


class _Agent:
    """The process that runs a sandbox and its fleet. One JSON object a line: a call, and its answer."""

    def __init__(self, folder: Path, settings: str) -> None:
        self._lock = threading.Lock()
        self._calls = itertools.count()
        self._log = folder / "agent.log"
        # Settings of the service's own vtsync are not those of its tests.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VTSYNC_")}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "worker.testing.agent"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment | {"PYTHONPATH": path},
                cwd=folder,
                start_new_session=True,  # Ctrl-C is for pytest, which then closes this
            )
        self._input, self._output = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        try:
            self.facts: dict[str, Any] = self.ask("start", settings=settings)
        except BaseException:
            self.close()
            raise

    def ask(self, name: str, **arguments: Any) -> Any:
        """Call a function of the agent. Raises AssertionError or SandboxFailed, in the agent's words."""
        with self._lock:
            answer = self._exchange({"number": next(self._calls), "call": name, "arguments": arguments})
        if "error" in answer:
            raise (AssertionError if answer["asserted"] else SandboxFailed)(answer["error"])
        return answer["result"]

    def _exchange(self, call: dict[str, Any]) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):
            self._input.write(json.dumps(call).encode() + b"\n")
            self._input.flush()
            for line in self._output:
                answer: dict[str, Any] = json.loads(line)
                if answer["number"] == call["number"]:  # else of a call that a time limit or Ctrl-C has interrupted
                    return answer
        log = self._log.read_text("utf-8", errors="replace")[-LOG_END:]
        raise SandboxFailed(f"the sandbox has ended. The end of its log:\n{log}")

    def close(self) -> None:
        """End the agent, which ends the fleet."""
        for pipe in (self._input, self._output):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()


def _text(fields: dict[str, Any]) -> PhoneText:
    media = tuple(fields["media"])
    return PhoneText(fields["account"], fields["from_number"], fields["to"], fields["text"], media)


@pytest.fixture(scope="session")
def vtsync_settings() -> str:
    """More settings for the sandbox, as TOML. Override it, with any scope."""
    return ""


@pytest.fixture(scope="session")
def _vtsync_sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], VtsyncSandbox]]:
    started: dict[str, VtsyncSandbox | SandboxFailed] = {}
    with contextlib.ExitStack() as stack:

        def start(settings: str) -> VtsyncSandbox | SandboxFailed:
            try:
                agent = _Agent(tmp_path_factory.mktemp("vtsync"), settings)
            except SandboxFailed as error:
                return error  # kept: it would fail in every test, after seconds
            stack.callback(agent.close)
            return VtsyncSandbox(agent)

        def sandbox(settings: str) -> VtsyncSandbox:
            if settings not in started:
                started[settings] = start(settings)
            if isinstance(found := started[settings], SandboxFailed):
                raise found
            return found

        yield sandbox


@pytest.fixture
def vtsync_sandbox(_vtsync_sandboxes: Callable[[str], VtsyncSandbox], vtsync_settings: str) -> VtsyncSandbox:
    """A VirtualText whose texts reach no phone, with a worker, a scheduler and the HTTP API. Empty for each test."""
    try:
        sandbox = _vtsync_sandboxes(vtsync_settings)
        sandbox.empty()
    except SandboxFailed as error:
        pytest.fail(str(error), pytrace=False)
    return sandbox
