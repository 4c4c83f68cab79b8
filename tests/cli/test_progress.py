"""Long work shows how far it is, and how long it still takes."""

from __future__ import annotations

import io
import json
import shlex
from datetime import timedelta

import pytest
from sqlalchemy import insert

from tests.cli import every_state
from tests.cli.conftest import Shell
from tests.cli.every_state import ANNA, BORIS, CRM
from worker.runtime import open_runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import inbox_event

SAID = {
    # what is called: what it says last
    "sync": (f"{CRM}: reading: 5 of 5 (100%)",),
    "link main": ("main: reading VirtualText's contact list: 2 of 2 (100%)",),
    "link main --from contacts.csv --yes": ("main: storing contacts of contacts.csv: 2 of 2 (100%)",),
    "reconcile opt-outs": (
        "comparing opt-outs, step 1 of 2: 1 of 1 (100%)",  # those that VirtualText's list shows
        "comparing opt-outs, step 2 of 2: 2 of 2 (100%)",  # those that the CRM records should show
    ),
    "prune --dry-run": ("counting old rows, by kind: 14 of 14 (100%)",),
    "prune": ("counting old rows, by kind: 14 of 14 (100%)", "deleting old rows: 3 of 3 (100%)"),
    "send-file jobs.jsonl": ("jobs.jsonl: storing texts: 30 of 30 (100%)",),
}


@pytest.mark.parametrize("command", SAID)
def test_it_is_told_on_standard_error_where_there_is_no_terminal(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("worker.cli.progress.LINE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr("worker.fleet.wake.wake", lambda *_: True)
    shell.configure(every_state.CONFIGURATION)
    (shell.folder / "secret").write_text("whsec_c2VjcmV0LW9mLWV4YWN0bHktMzItYnl0ZXMtb2YtdXM=", encoding="utf-8")
    every_state.write(shell, "Lead")
    shell("sync", "--no-push", "--no-texts")  # the second reading knows how many records there are
    shell("opt-out", BORIS, "--why", "told us")
    shell.sandbox.behaviour.opt_out_flags = True
    shell.sandbox.seed_contacts([(ANNA, "Anna", ""), (BORIS, "Boris", "")])
    shell.sandbox.opt_out(ANNA)
    (shell.folder / "contacts.csv").write_text(f"id,name,phone\n1,Anna,{ANNA}\n2,Boris,{BORIS}\n", encoding="utf-8")
    jobs = [json.dumps({"to": f"+1415555{2000 + one}", "message": f"order {one}"}) for one in range(30)]
    (shell.folder / "jobs.jsonl").write_text("\n".join(jobs), encoding="utf-8")
    old = utcnow() - timedelta(days=40)
    event = {"source": "relay", "name": "main", "received_at": old, "payload": "{}", "state": "done", "detail": ""}
    with writing(open_runtime().engine) as connection:
        connection.execute(insert(inbox_event), [event | {"attempts": 1, "due_at": old}] * 3)
    result = shell(*shlex.split(command), "--json")
    assert json.loads(result.stdout) is not None
    said = [line.strip() for line in result.stderr.splitlines()]
    assert [line for line in SAID[command] if line not in said] == []


class Terminal(io.StringIO):
    """Standard error of a person who watches."""

    def isatty(self) -> bool:
        return True


def test_it_is_one_line_that_changes_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.cli import common
    from worker.cli.progress import progress

    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    common.error_console.cache_clear()
    with progress("reading") as report:
        report(50, 200)
    common.error_console.cache_clear()
    assert "reading: 50 of 200 (25%)" in shown.getvalue()
    assert shown.getvalue().count("\n") <= 1
