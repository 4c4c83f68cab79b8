"""A real tap on one side, the sandbox on the other: what an operator sees of the singer adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crm_adapters.testing.samples import contact
from tests.adapters.test_conformance_singer import TAP, TOKEN, row_of, write
from tests.cli.conftest import Shell
from tests.harness import until

CRM = """
[connections.crm]
adapter = "singer"
account = "main"
reconcile = "{reconcile}"
max_missing_share = 1.0
[connections.crm.options]
tap = {tap}
stream = "contacts"
updated_at = "changed"
[connections.crm.options.config]
path = "{path}"
does = "{does}"
token = {{ env = "TAP_TOKEN" }}
"""


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAP_TOKEN", TOKEN)
    path = tmp_path / "people.jsonl"
    write(path, [row(number) for number in range(1, 4)])
    return path


def row(number: int, day: int = 1, **values: Any) -> dict[str, Any]:
    return row_of(contact(number)) | {"changed": f"2026-03-{day:02d}T00:00:0{number}Z"} | values


def configure(shell: Shell, people: Path, does: str = "", reconcile: str = "1d") -> None:
    shell.configure(CRM.format(tap=json.dumps(TAP), path=people, does=does, reconcile=reconcile))


def numbers(shell: Shell) -> set[str]:
    return {contact["phoneNumber"] for contact in shell.sandbox.contacts()}


def test_a_tap_is_synced(shell: Shell, people: Path) -> None:
    configure(shell, people)
    assert "reads contacts by id" in shell("check").stdout
    (first,) = shell.json("sync")["syncs"]
    assert (first["state"], first["added"]) == ("done", 3)
    assert len(numbers(shell)) == 3

    write(people, [row(1), row(2), row(3, day=2, mobile="+12025550177"), row(4, day=2)])
    (second,) = shell.json("sync")["syncs"]
    assert (second["seen"], second["added"], second["changed"]) == (2, 1, 1), "only what changed is read"
    assert "+12025550177" in numbers(shell)

    write(people, [row(1), row(3, day=2, mobile="+12025550177"), row(4, day=2)])
    (third,) = shell.json("sync")["syncs"]
    assert third["removed"] == 0, "a tap does not tell of it"
    configure(shell, people, reconcile="1s")
    found = until("the deletion is found", lambda: [s for s in shell.json("sync")["syncs"] if s["removed"]])
    assert (found[0]["removed"], found[0]["seen"], found[0]["error"]) == (1, 3, "")


def test_a_tap_that_fails_says_so(shell: Shell, people: Path) -> None:
    configure(shell, people, "fails at its credentials")
    (report,) = shell.json("sync", code=1)["syncs"]
    assert report["state"] == "failed"
    assert "credentials are refused; correct them in config" in report["error"]
    assert TOKEN not in json.dumps(report)
    assert shell.sandbox.contacts() == []
