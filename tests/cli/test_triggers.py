"""The commands that try triggers and the policy, as an operator uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from worker.messages.opt_outs import add_opt_out
from worker.runtime import open_runtime
from worker.store.db import writing
from worker.store.models import utcnow

ME, ANN = "+14155552671", "+14155552672"
MORE = """
[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = { path = "crm.csv", id = "Id", settle_seconds = 0 }
[triggers.ready]
connections = "crm"
on = "changed"
field = "Status"
to = "ready"
message = "{{ name }}, your order is ready"
[triggers.visit]
connections = "crm"
on = "date"
field = "Visit"
message = "See you"
[triggers.welcome]
connections = "crm"
on = "created"
message = "Welcome {{ name }}"
enabled = false
"""


def rows(folder: Path, *statuses: str) -> None:
    people = [f"{n},Person {n},+1415555267{n + 1},{status},2031-04-03" for n, status in enumerate(statuses, start=1)]
    (folder / "crm.csv").write_text("\n".join(["Id,Name,Phone,Status,Visit", *people, ""]))


@pytest.fixture
def synced(shell: Shell) -> Shell:
    """A record that became ready, and one that did not."""
    shell.configure(MORE)
    rows(shell.folder, "new", "new")
    shell("sync", "--no-texts")
    rows(shell.folder, "ready", "new")
    shell("sync", "--no-texts")
    return shell


def texts_sent(shell: Shell) -> list[tuple[str, str]]:
    sent = shell.sandbox.requests("send")
    return [(str((one.fields or {}).get("to")), str((one.fields or {}).get("message"))) for one in sent]


def test_the_list(synced: Shell) -> None:
    found = {one["trigger"]: one for one in synced.json("triggers", "list")}
    assert {name: one["state"] for name, one in found.items()} == {
        "ready": "active",
        "visit": "active",
        "welcome": "off",
    }
    assert (found["ready"]["texts_today"], found["visit"]["planned"]) == (1, 2)
    shown = synced("triggers", "list").stdout
    assert "ready (changed, crm): active" in shown
    assert "2 records with a coming date" in shown


def test_one_record(synced: Shell) -> None:
    shown = " ".join(synced("triggers", "test", "ready", "--record", "1").stdout.split())
    for part in ("that change sets the trigger off", "it made this text already", "“Person 1, your order is ready”"):
        assert part in shown
    off = " ".join(synced("triggers", "test", "welcome", "--record", "2").stdout.split())
    assert "the trigger is switched off" in off
    assert "“Welcome Person 2”" in off
    assert synced.json("triggers", "test", "visit", "--record", "2")["fires"] is True
    assert texts_sent(synced) == []


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("test", "nothing", "--record", "1"), 2, 'there is no trigger "nothing"; there are: ready, visit, welcome'),
        (("test", "ready", "--record", "17"), 1, "neither the store nor the CRM of crm has a record 17"),
        (("test", "ready", "--record", "1", "--connection", "shop"), 1, "does not watch shop"),
        (("test", "ready", "--record", "1", "--to-me", "555"), 2, "write it with the country code"),
        (("test", "ready", "--record", "1", "--to-me", ME), 2, "add --yes. Nothing was done."),
        (("backtest", "nothing"), 2, "there is no trigger"),
    ],
)
def test_what_cannot_be_tried(synced: Shell, command: tuple[str, ...], code: int, words: str) -> None:
    assert words in " ".join(synced("triggers", *command, code=code).stderr.split())
    assert texts_sent(synced) == []


def test_to_me_sends_one_text_that_is_not_the_triggers(synced: Shell) -> None:
    before = synced.json("triggers", "list")
    synced("triggers", "test", "visit", "--record", "2", "--to-me", ME, "--yes")
    assert texts_sent(synced) == [(ME, "See you")]
    (mine,) = synced.json("messages", "--number", ME, "--no-test")
    assert (mine["source"], mine["trigger"], mine["state"]) == ("trigger_test", None, "accepted")
    assert synced.json("triggers", "list") == before
    with writing(open_runtime().engine) as db:
        add_opt_out(db, ME, source="relay", detail="STOP", now=utcnow())
    refused = synced.json("triggers", "test", "visit", "--record", "2", "--to-me", ME, "--yes", code=1)
    assert refused["state"] == "suppressed"
    assert len(texts_sent(synced)) == 1


def test_to_me_in_test_mode_goes_to_a_listed_number_only(shell: Shell) -> None:
    shell.configure(f'mode = "test"\ntest_numbers = "{ME}"\n' + MORE)
    rows(shell.folder, "new", "new")
    shell("sync")
    shell("triggers", "test", "visit", "--record", "2", "--to-me", ME, "--yes")
    refused = shell("triggers", "test", "visit", "--record", "2", "--to-me", ANN, "--yes", code=1)
    assert f"add {ANN} to accounts.main.test_numbers" in " ".join(refused.stderr.split())
    assert texts_sent(shell) == [(ME, "See you")]


def test_the_history_and_other_settings(synced: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    found = synced.json("triggers", "backtest", "ready", "--days", "3")
    assert (found["made"], found["outcomes"], found["days"][0]["made"]) == (1, {"sent": 1}, 1)
    synced("sync")
    assert texts_sent(synced) == [(ANN, "Person 1, your order is ready")]
    compared = synced.json("policy", "what-if", "--set", "countries=FR")
    assert compared["different"] == {"sent -> country": 1}
    assert "is no setting of the policy" in synced("policy", "what-if", "--set", "x=1", code=2).stderr
    monkeypatch.setenv("COLUMNS", "80")
    for command in (("triggers", "backtest", "ready"), ("policy", "what-if", "--set", "countries=FR")):
        lines = synced(*command).stdout.splitlines()
        assert max(map(len, lines)) <= 80
    assert len(texts_sent(synced)) == 1
