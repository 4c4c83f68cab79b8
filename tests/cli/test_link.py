"""An account whose contact list cannot be read, as an operator meets it: status, link, resolve, check."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from tests.cli.conftest import Shell
from worker.cli import load_commands
from worker.runtime import open_runtime
from worker.store.db import writing
from worker.store.tables import account_state

ANNA, BORIS = "+14155550101", "+14155550102"
CRM = """
[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = { path = "export.csv", settle_seconds = 0 }
"""


@pytest.fixture
def crm(shell: Shell) -> Shell:
    """Two people in the CRM; VirtualText has one of them already, and cannot list its contacts."""
    shell.configure(CRM)
    rows = f"id,name,email,mobile\n1,Anna,,{ANNA}\n2,Boris,,{BORIS}\n"
    (shell.folder / "export.csv").write_text(rows, encoding="utf-8")
    shell.sandbox.seed_contacts([(ANNA, "Anna", "")])
    shell.sandbox.behaviour.list_timeout = True
    return shell


def doctor() -> list[dict[str, str]]:
    """Return the findings of `vtsync doctor`; its exit code also depends on the machine."""
    findings: list[dict[str, str]] = json.loads(CliRunner().invoke(load_commands(), ["doctor", "--json"]).stdout)
    return findings


def phones(crm: Shell) -> list[str]:
    return sorted(contact["phoneNumber"] for contact in crm.sandbox.contacts())


def export(crm: Shell, *more: str) -> Path:
    rows = [f"{one['id']},{one['fullName']},{one['phoneNumber']}" for one in crm.sandbox.contacts()]
    path = crm.folder / "virtualtext.csv"
    path.write_text("\n".join(["id,name,phone", *rows, *more]) + "\n", encoding="utf-8")
    return path


def test_everything_says_what_the_contacts_wait_for(crm: Shell) -> None:
    said = crm("sync", code=1).stdout
    assert "2 contacts wait for the first link-up" in said
    assert "`vtsync link main --without-list`" in said
    status = crm("status").stdout
    assert "main: VirtualText's contact list cannot be read (Request timeout" in status
    assert "2 contacts of the account main waiting for the first link-up" in status
    assert "`vtsync link main --from FILE`" in status
    (waits,) = crm.json("status")["attention"]
    assert (waits["count"], waits["command"]) == (2, "vtsync link main --from FILE")
    found = {one["found"]: one for one in doctor() if one["level"] == "warning"}
    assert any("waiting for the first link-up" in text for text in found)
    assert any("contact list cannot be read" in text for text in found)
    shown = crm("link", "main", code=1).stdout
    assert "could not be read (Request timeout" in shown
    assert "2 contacts wait for the first link-up" in shown
    assert phones(crm) == [ANNA]


def test_an_export_is_matched_and_nobody_is_there_twice(crm: Shell) -> None:
    crm("sync", code=1)
    said = crm("link", "main", "--from", str(export(crm))).stdout
    assert "1 contact of VirtualText read" in said
    assert "1 are in it and are adopted; 1 are created" in said
    crm("sync")
    assert phones(crm) == [ANNA, BORIS]
    assert "Nothing waits for you." in crm("status").stdout
    assert "linked by a file" in crm("link", "main").stdout
    assert "by a file" in crm("link", "main", "--without-list").stdout


def test_an_export_with_rows_that_cannot_be_used_needs_a_person(crm: Shell) -> None:
    crm("sync", code=1)
    path = str(export(crm, ",Carl,+14155550103"))
    refused = crm("link", "main", "--from", path, code=2).stderr
    assert "1 row of" in refused
    assert "line 3: it has no id of VirtualText" in refused
    assert "add --yes" in refused
    crm("sync", code=1)
    assert phones(crm) == [ANNA]
    assert crm.json("link", "main", "--from", path, "--yes")["done"] == {"stored": 1, "adopted": 1, "created": 1}
    crm("sync")
    assert phones(crm) == [ANNA, BORIS]


def test_all_are_created_if_a_person_says_so(crm: Shell) -> None:
    crm("sync", code=1)
    said = crm("link", "main", "--without-list").stdout
    assert "2 contacts will be created. Those that VirtualText has already will be there twice." in said
    crm("sync")
    assert phones(crm) == [ANNA, ANNA, BORIS]


def test_a_list_that_can_be_read_again_is_used_at_once(crm: Shell) -> None:
    crm("sync", code=1)
    crm.sandbox.behaviour.list_timeout = False
    assert "was read. The account main is linked by VirtualText's contact list" in crm("link", "main").stdout
    crm("sync")
    assert phones(crm) == [ANNA, BORIS]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("link", "other", "--without-list"), 2, 'there is no account "other"'),
        (("link", "main", "--without-list", "--from", "x.csv"), 2, "give either"),
        (("link", "main", "--from", "nowhere.csv"), 1, "there is no file"),
    ],
)
def test_what_is_refused(crm: Shell, command: tuple[str, ...], code: int, words: str) -> None:
    assert words in crm(*command, code=code).stderr


# --- a lost create


@pytest.fixture
def lost(crm: Shell) -> Shell:
    """Anna was created, and the response was lost."""
    crm.sandbox.reset()
    crm.sandbox.add_fault(endpoint="create", phone=ANNA, action="drop", when="after", calls=1)
    crm("sync")
    (stuck,) = crm.json("status", "--contacts", "unknown")
    assert stuck["phone"] == ANNA
    time.sleep(1.1)  # lookup_after
    return crm


def test_a_create_is_adopted_if_the_list_has_it(lost: Shell) -> None:
    (anna,) = [one for one in lost.sandbox.contacts() if one["phoneNumber"] == ANNA]
    assert lost.json("resolve", ANNA, "--create") == {"resolved": ANNA, "adopted_as": anna["id"]}
    lost("sync")
    assert phones(lost) == [ANNA, BORIS]


def test_a_create_is_repeated_if_the_list_does_not_have_it(lost: Shell) -> None:
    (anna,) = [one for one in lost.sandbox.contacts() if one["phoneNumber"] == ANNA]
    lost.sandbox.delete_contact(anna["id"])
    assert f"{ANNA} is created" in lost("resolve", ANNA, "--create").stdout
    lost("sync")
    assert phones(lost) == [ANNA, BORIS]


def test_a_create_without_a_list_needs_a_person(lost: Shell) -> None:
    lost.sandbox.add_fault(endpoint="list", action="answer", status=403)
    refused = lost("resolve", ANNA, "--create", code=2).stderr
    assert "contact list cannot be read (Forbidden" in refused
    assert f"If VirtualText has {ANNA} already, it will be there twice" in " ".join(refused.split())
    assert lost.json("status", "--contacts", "unknown")
    assert lost.json("resolve", ANNA, "--create", "--yes") == {"resolved": ANNA, "adopted_as": None}
    assert lost.json("status", "--contacts", "unknown") == []
    assert "is stopped" not in lost("status").stdout  # the list alone was refused


# --- a 429 that asks for a day


def test_a_429_that_asks_for_a_day_is_shown_and_check_ends_it(crm: Shell) -> None:
    crm.sandbox.reset()
    crm.sandbox.add_fault(endpoint="create", action="answer", status=429, headers={"Retry-After": "86400"}, calls=1)
    crm("sync", code=1)
    status = crm("status").stdout
    assert "main is paused until" in status
    assert "VirtualText asked to wait for a day or longer" in status
    (paused,) = [one for one in doctor() if "asked to wait" in one["found"]]
    assert "`vtsync check` tries now" in paused["do"]
    crm("sync", code=1)
    assert "the account was stopped or paused, and now resumes" in crm("check", code=0).stdout
    crm("sync")
    assert phones(crm) == [ANNA, BORIS]


def test_check_does_not_end_the_pause_of_the_rollback_guard(crm: Shell) -> None:
    from worker.limits.account_gate import pause_account
    from worker.store.models import utcnow
    from worker.upkeep.rollback_guard import FOR_LONG, REASON

    crm("status")
    with writing(open_runtime().engine) as db:
        pause_account(db, "main", utcnow() + FOR_LONG, REASON)
        db.execute(update(account_state).values(stopped_at=utcnow(), stopped_reason="401"))
    crm("check")
    assert "gone back in time" in crm("status").stdout
