"""One process of a test's fleet."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

from worker.core.isolated import isolated
from worker.fleet.processes import die_with

START_SECONDS = 60.0


class FleetFailed(Exception):
    """A process of the fleet did not start, or has ended. The message has the end of its log."""


class SandboxProcess:
    """One process. Its output goes to a file in the folder of the fleet."""

    def __init__(self, config: Path, *command: str) -> None:
        self.name = command[0]
        self._log = config.parent / f"{self.name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                isolated("vtsync", *command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"VTSYNC_CONFIG": str(config)},
                cwd=config.parent,
                start_new_session=True,
                preexec_fn=partial(die_with, os.getpid()),
            )

    def check(self) -> None:
        """Raise FleetFailed if the process has ended."""
        if (code := self._process.poll()) is not None:
            raise FleetFailed(f"`vtsync {self.name}` ended with code {code}. {self._end_of_log()}")

    def wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Wait until the process prints something. Raises FleetFailed."""
        until = time.monotonic() + START_SECONDS
        while (found := pattern.search(self._printed())) is None:
            self.check()
            if time.monotonic() > until:
                raise FleetFailed(f"`vtsync {self.name}` did not start. {self._end_of_log()}")
            time.sleep(0.02)
        return found

    def kill(self) -> None:
        """End the process and its children at once."""
        if self._process.returncode is None:  # else its number may belong to another process by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _printed(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def _end_of_log(self) -> str:
        return f"The end of its log:\n{self._printed()[-3000:]}"
