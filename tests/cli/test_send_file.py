"""Many texts from a file: each line has its own outcome, and running the file again sends nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell

GOOD = [
    {"to": f"+1415555{2000 + index}", "message": f"order {index}", "metadata": {"order": index}} for index in range(3)
]


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.fleet.wake.wake", lambda *_: True)


def written(shell: Shell, *lines: Any) -> str:
    path: Path = shell.folder / "jobs.jsonl"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text, encoding="utf-8-sig")
    return str(path)


def test_a_line_that_is_refused_is_named_and_stops_no_other(shell: Shell) -> None:
    bad = ['{"to": ', "17", {"to": "415", "message": "x"}, GOOD[0] | {"mesage": "x"}, GOOD[0] | {"account": "nobody"}]
    done = shell("send-file", written(shell, GOOD[0], *bad, "", GOOD[1]), code=1)
    assert "2 stored, 0 stored before, 5 refused" in done.stdout
    complaints = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in complaints] == [f"line {number}" for number in range(2, 7)]
    assert complaints[0].endswith("the line must be a JSON object in UTF-8")
    assert 'to must be a phone number in E.164, such as "+14155552671", not "415"' in complaints[2]
    assert 'did you mean "message"?' in complaints[3]
    assert '"nobody" is not configured' in complaints[4]


def test_with_several_accounts_only_lines_without_one_are_refused(shell: Shell) -> None:
    other = '\n[accounts.other]\nuid = "o"\ntoken = { env = "CLI_TOKEN" }\nfrom_number = "+14155550109"\n'
    shell.configure(other)
    done = shell("send-file", written(shell, GOOD[0], GOOD[1] | {"account": "main"}), code=1)
    assert "1 stored, 0 stored before, 1 refused" in done.stdout
    assert done.stderr.startswith("line 1: account is missing")
    assert "1 stored, 1 stored before" in shell("send-file", "--account", "main", written(shell, *GOOD[:2])).stdout


def test_running_a_corrected_file_again_sends_only_what_is_new(shell: Shell) -> None:
    shell("send-file", written(shell, GOOD[0], {"to": "415", "message": "x"}), code=1)
    assert "1 stored, 1 stored before, 0 refused" in shell("send-file", written(shell, GOOD[0], GOOD[1])).stdout
    same_in_another_order = dict(reversed(GOOD[1].items()))
    found = shell.json("send-file", written(shell, same_in_another_order, GOOD[1] | {"idempotency_key": "again"}))
    assert [(one["line"], one["duplicate"]) for one in found] == [(1, True), (2, False)]
    assert len(shell.json("messages")) == 3
    assert [one["metadata"] for one in shell.json("messages", "--metadata", "order=0")] == [{"order": 0}]


def test_wrong_use_is_said(shell: Shell) -> None:
    assert "cannot be read" in shell("send-file", "nothing.jsonl", code=2).stderr
    for entry in ("order", "=17"):
        assert "KEY=VALUE" in shell("messages", "--metadata", entry, code=2).stderr
    twice = ("--metadata", "a=1", "--metadata", "a=2")
    assert "KEY=VALUE" in shell("send", "--to", "+14155550101", "-m", "x", *twice, code=2).stderr
