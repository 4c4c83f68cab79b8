"""With --json, a script gets one JSON document, also if the command fails."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Shell
from worker.core.version import installed_version

ERRORS = [
    # command, exit code, what the message says
    ("messages --json --nothing", 2, "No such option: --nothing"),
    ("messages --json --limit 0", 2, "greater than or equal to 1"),
    ("messages --json --state nothing", 2, 'there is no state "nothing"'),
    ("plan nothing --json", 2, 'there is no connection "nothing"'),
    ("explain 12 --json", 2, '"12"'),
    ("send --json --to 12 --message hi", 2, '"12"'),
    ("approve --json", 2, "give a batch, message ids or --trigger"),
]


@pytest.mark.parametrize(("command", "code", "says"), ERRORS)
def test_an_error_is_json(shell: Shell, command: str, code: int, says: str) -> None:
    done = shell(*command.split(), code=code)
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == code
    assert says in error["message"]
    assert says in done.stderr


@pytest.mark.parametrize("broken", ["accounts = 1", "[accounts.main]\nuid = 1"])
def test_a_mistake_in_the_configuration_is_json(shell: Shell, broken: str) -> None:
    (shell.folder / "vtsync.toml").write_text(broken, encoding="utf-8")
    error = shell.json("status", code=2)["error"]
    assert "vtsync.toml" in error["message"]


def test_a_result_is_the_only_document(shell: Shell) -> None:
    assert shell.json("messages") == []


def test_the_version(shell: Shell) -> None:
    assert shell("--version").stdout == f"vtsync {installed_version()}\n"
