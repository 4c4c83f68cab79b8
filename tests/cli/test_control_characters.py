"""What a text, a CRM or a server says never controls the terminal of the person who reads it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlmodel import SQLModel
from typer.testing import CliRunner

from tests.cli.conftest import Shell
from worker.cli import common, load_commands
from worker.runtime.current import open_runtime
from worker.store.db import writing

HOSTILE = "\x1b[2J\x1b]0 owned\x07\x9b31m\rhidden\u202e"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PROSE = {"reason", "detail", "last_error", "error", "text", "excerpt", "stopped_reason", "list_error", "where"}
"""The columns of any table that hold what somebody else wrote, or a sentence that may quote it."""
CONFIGURATION = """
[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = { path = "people.csv", settle_seconds = 0 }

[triggers.hello]
connections = "crm"
on = "created"
message = "Hello {{ name }}"
"""
COMMANDS = [
    ("status",),
    ("status", "--contacts", "due"),
    ("status", "--contacts", "synced"),
    ("status", "--rejected"),
    ("messages",),
    ("explain", "+14155550101"),
    ("fields", "crm"),
    ("opt-outs",),
    ("review",),
    ("forwards", "list"),
    ("relay", "show"),
    ("plan",),
    ("check",),
]


@pytest.fixture
def hostile(shell: Shell) -> Shell:
    """Control characters in the CRM's fields and values, in texts, and in every reason in the store."""
    (shell.folder / "people.csv").write_bytes(
        f'id,name,phone,"no{HOSTILE}te"\n1,"Ann{HOSTILE}",+14155550101,"x{HOSTILE}"\n2,Bob,"none{HOSTILE}",\n'.encode()
    )
    shell.configure(CONFIGURATION)
    shell("sync")
    shell("send", "--to", "+14155550101", "--message", f"Hi {HOSTILE}")
    shell("opt-out", "+14155550102", "--why", f"said so {HOSTILE}")
    with writing(open_runtime().engine) as connection:
        for table in SQLModel.metadata.tables.values():
            for column in (one for one in table.columns if one.name in PROSE):
                keys = list(table.primary_key)
                for row in connection.execute(select(column, *keys)).all():
                    this = [key == value for key, value in zip(keys, row[1:], strict=True)]
                    change = update(table).where(*this).values({column.name: (row[0] or "") + HOSTILE})
                    connection.execute(change)
    return shell


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("output", ["text", "json"])
def test_no_command_prints_a_control_character(hostile: Shell, command: tuple[str, ...], output: str) -> None:
    printed = run(*command, *(["--json"] if output == "json" else []))
    assert not CONTROLS.search(printed), printed


def test_they_are_written_out(hostile: Shell) -> None:
    assert "\\x1b[2J" in hostile("messages").stdout
    assert any(HOSTILE in one["text"] for one in hostile.json("messages"))


def run(*command: str) -> str:
    """Run a command in process, and return all that it printed."""
    common.console.cache_clear()
    common.error_console.cache_clear()
    result = CliRunner().invoke(load_commands(), [*command])
    assert result.exit_code in (0, 1), (result.output, result.exception)
    assert result.output.strip()
    printed: Any = result.stdout + result.stderr
    if "--json" in command:
        json.loads(result.stdout)
    return str(printed)
