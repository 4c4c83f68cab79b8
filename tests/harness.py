"""Real processes for tests: workers, schedulers, and a service that knows only the broker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

from celery import Celery
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner, Result

from tests import skewed
from worker.broker.settings import embedded_settings
from worker.core.isolated import isolated
from worker.sandbox import Sandbox

PATIENCE_SECONDS = 60.0


def heed_signals() -> None:
    """For a child process: heed the signals that `nohup`, or a shell's `&`, has made the parent ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def until(what: str, condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait for a condition; its value, or an error that says what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


@dataclass
class Fleet:
    """A configuration in a folder, and the processes that run on it."""

    folder: Path
    sandbox: Sandbox
    broker: str | None = None
    store: str | None = None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    log_paths: dict[int, Path] = field(default_factory=dict)

    def configure(
        self,
        more: str = "",
        account: str = "",
        policy: str = "",
        connect_timeout: float = 0.5,
        read_timeout: float = 1.5,
        lookup_after: str = "1s",
    ) -> None:
        """Write the configuration. Short times throughout, so that what a killed process held is soon free again."""
        engines = '[broker]\nurl = { env = "TEST_BROKER" }\n' if self.broker else ""
        engines += '[store]\nurl = { env = "TEST_STORE" }\n' if self.store else ""
        (self.folder / "vtsync.toml").write_text(
            f"""
data_dir = "data"
[accounts.main]
uid = "sandbox"
token = {{ env = "TEST_TOKEN" }}
from_number = "+12025550100"
api_url = "{self.sandbox.api_url}"
create_url = "{self.sandbox.create_url}"
connect_timeout = {connect_timeout}
read_timeout = {read_timeout}
lookup_after = "{lookup_after}"
{account}
[worker]
tick_every = "1s"
lease = "2s"
[policy]
quiet_hours = "none"
{policy}
{engines}
{more}
""",
            encoding="utf-8",
        )

    def environment(self) -> dict[str, str]:
        mine = {key: value for key, value in os.environ.items() if not key.startswith("VTSYNC_")}
        secrets = {"TEST_TOKEN": "sandbox-token", "TEST_BROKER": self.broker or "", "TEST_STORE": self.store or ""}
        ours = {"VTSYNC_CONFIG": str(self.folder / "vtsync.toml"), "PYTHONFAULTHANDLER": "1"}
        return mine | secrets | ours

    def start(self, *command: str, clock: Path | None = None) -> subprocess.Popen[bytes]:
        """Start ``vtsync COMMAND``; its output goes to a log in the folder.

        ``clock``: a file that says how many seconds the clock of the process is ahead, see ``tests.skewed``.
        """
        program = isolated("vtsync") if clock is None else [sys.executable, "-P", skewed.__file__, str(clock)]
        path = self.folder / f"{command[0]}-{len(self.processes)}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [*program, *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=heed_signals,
            )
        self.processes.append(process)
        self.log_paths[process.pid] = path
        return process

    def log(self, process: subprocess.Popen[bytes]) -> bytes:
        """What a process that was started has printed so far."""
        return self.log_paths[process.pid].read_bytes()

    def run(self, *command: str) -> Result:
        """Run ``vtsync COMMAND`` to its end, in this process: one of its own takes longer to start than to do it."""
        from worker.cli import common, load_commands
        from worker.runtime import current

        common.console.cache_clear()
        common.error_console.cache_clear()
        with contextlib.chdir(self.folder), patch.dict(current._runtimes, clear=True):
            result = CliRunner().invoke(load_commands(), list(command), env=self.environment())
            for one in current._runtimes.values():
                one.runtime().engine.dispose()
        return result

    def process(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run ``vtsync COMMAND`` to its end, in a process of its own."""
        return subprocess.run(
            isolated("vtsync", *command),
            capture_output=True,
            text=True,
            env=self.environment(),
            cwd=self.folder,
            timeout=600,
            check=False,
        )

    def query(self, statement: str, **values: Any) -> list[Any]:
        """Rows of the store; none before it is migrated."""
        try:
            with self.engine.connect() as connection:
                return list(connection.execute(text(statement), values))
        except DBAPIError:
            return []

    @cached_property
    def engine(self) -> Engine:
        if self.store:
            return create_engine(self.store, poolclass=NullPool)
        return create_engine(
            f"sqlite:///file:{self.folder / 'data' / 'vtsync.sqlite3'}?mode=ro&uri=true", poolclass=NullPool
        )

    def states(self) -> Counter[str]:
        """How many messages the store has in each state."""
        return Counter(dict(map(tuple, self.query("SELECT state, count(*) FROM message GROUP BY state"))))

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9, with everything that it started."""
        if process.returncode is None:  # else its number may belong to a process of another test
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def json(self, *command: str) -> Any:
        """Run ``vtsync COMMAND --json`` and read what it prints."""
        done = self.run(*command, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def service(self) -> Celery:
        """Another service's Celery: it knows the broker and the names of tasks."""
        other = Celery("another-service")
        if self.broker is None:
            other.conf.update(embedded_settings(self.folder / "data"))
        else:
            backend = "rpc://" if self.broker.startswith("amqp") else self.broker
            other.conf.update(broker_url=self.broker, result_backend=backend)
            # RabbitMQ: without it, a job that is sent as the connection breaks vanishes and nobody is told.
            other.conf.broker_transport_options = {"confirm_publish": True} if backend == "rpc://" else {}
        return other

    def end(self) -> None:
        """Ask every process to stop, and wait until it has."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # with PYTHONFAULTHANDLER it writes what each thread does
                process.wait(10)
                stacks = self.log(process)[-12_000:].decode(errors="replace")
                raise AssertionError(f"{process.args} did not stop within 60 s of SIGTERM:\n{stacks}") from None

    def ends_of_logs(self) -> str:
        """The end of every process's log, for a test that failed."""
        ends = (
            f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in sorted(self.folder.glob("*.log"))
        )
        return "\n".join(ends)

    def stop(self) -> None:
        for process in self.processes:
            self.kill(process)


running_fleets: list[Fleet] = []
"""The fleets of the running test. If it fails while they run, ``tests/conftest.py`` prints the ends of their logs."""


@contextlib.contextmanager
def fleet(folder: Path, **engines: Any) -> Iterator[Fleet]:
    """A fleet that is gone at the end, whatever happens."""
    with Sandbox() as sandbox:
        made = Fleet(folder, sandbox, **engines)
        running_fleets.append(made)
        try:
            yield made
        except AssertionError as error:
            error.add_note(made.ends_of_logs())
            raise
        finally:
            running_fleets.remove(made)
            made.stop()
