"""The command line as an operator uses it, in process: a folder, a configuration, a sandbox."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from worker.cli import common, load_commands
from worker.sandbox import Sandbox

CONFIGURATION = """
[accounts.main]
uid = "sandbox"
token = {{ env = "CLI_TOKEN" }}
from_number = "+12025550100"
api_url = "{api_url}"
create_url = "{create_url}"
connect_timeout = 0.5
read_timeout = 1.0
lookup_after = "1s"
{more}
"""


@dataclass
class Shell:
    """Runs commands in a folder."""

    folder: Path
    sandbox: Sandbox

    def configure(self, more: str = "") -> None:
        if "[policy]" not in more:
            more += '\n[policy]\nquiet_hours = "none"  # the tests run at night, too\n'
        text = CONFIGURATION.format(api_url=self.sandbox.api_url, create_url=self.sandbox.create_url, more=more)
        (self.folder / "vtsync.toml").write_text(text, encoding="utf-8")

    def __call__(self, *command: str, code: int = 0) -> Result:
        """Run a command and expect its exit code."""
        result = self.run(*command)
        if result.exit_code != code:
            pytest.fail(f"{command} ended with {result.exit_code} ({result.exception!r}):\n{result.output}")
        return result

    def run(self, *command: str, answers: str | None = None) -> Result:
        """Run a command, whatever its exit code. ``answers``: what the person types."""
        common.console.cache_clear()
        common.error_console.cache_clear()
        return CliRunner().invoke(load_commands(), list(command), input=answers)

    def json(self, *command: str, code: int = 0) -> Any:
        return json.loads(self(*command, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> Shell:
    return new_shell(tmp_path, monkeypatch, sandbox)


def new_shell(folder: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> Shell:
    """Make a folder with a configuration, and go there."""
    from worker.runtime import current

    sandbox.reset()
    monkeypatch.setattr(current, "_runtimes", {})
    if (loaded := sys.modules.get("worker.app")) is not None:  # Celery reads its settings once in a process
        loaded.app._conf, loaded.app.configured = None, False
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("CLI_TOKEN", "sandbox-token")
    monkeypatch.delenv("VTSYNC_CONFIG", raising=False)
    made = Shell(folder, sandbox)
    made.configure()
    return made
