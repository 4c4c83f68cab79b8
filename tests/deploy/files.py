"""The files of a deployment, parsed, and what they are checked against."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.test_project import COMMANDS
from worker.broker.settings import BY_NAME
from worker.fleet.processes import STOP_SECONDS
from worker.monitoring.liveness import ROLES
from worker.web.serve import STOP_SECONDS as WEB_STOP_SECONDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
NEEDED = {"worker": STOP_SECONDS, "web": WEB_STOP_SECONDS, "beat": 10.0}
"""Seconds that a process may take to stop."""


@dataclass(frozen=True)
class ComposeSecrets:
    """The folder that the script for the secrets of docker-compose.yml has filled."""

    folder: Path
    said: str

    def read(self, name: str) -> str:
        return (self.folder / name).read_text().removesuffix("\n")


def make_secrets(folder: Path) -> ComposeSecrets:
    """Run the script in a folder, as its user does."""
    script = DEPLOY / "compose" / "make-secrets.sh"
    done = subprocess.run(["sh", script], cwd=folder, check=True, capture_output=True, text=True)
    return ComposeSecrets(folder / "secrets", done.stderr)


def check_command(arguments: list[str]) -> None:
    """It is one of ours, and its queues are."""
    assert arguments[0] in COMMANDS
    if "--queues" in arguments:
        assert set(arguments[arguments.index("--queues") + 1].split(",")) <= set(BY_NAME)


def check_all_work_is_taken(commands: list[list[str]]) -> None:
    """Between them the workers take every kind of work."""
    workers = [one for one in commands if one[0] == "worker"]
    taken = [set(one[one.index("--queues") + 1].split(",")) if "--queues" in one else set(BY_NAME) for one in workers]
    assert set().union(*taken) == set(BY_NAME)


def check_health(command: list[str], role: str) -> None:
    assert command[-4:] == ["vtsync", "health", "--role", role]
    assert role in ROLES
    assert command[0] in COMMANDS | {"vtsync", "CMD"}


def seconds(text: str) -> float:
    (number,) = re.fullmatch(r"(\d+)s", text).groups()  # type: ignore[union-attr]
    return float(number)


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()
