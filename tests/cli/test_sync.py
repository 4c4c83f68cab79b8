"""Plan, sync and status by hand, with a CSV export on one side and the sandbox on the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from worker.cli.contacts import _show_texts
from worker.messages.delivery import DeliveryReport

HEADER = "id,name,email,mobile,stage\n"
CRM = """
[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = { path = "export.csv", settle_seconds = 0 }

[triggers.welcome]
connections = "crm"
on = "created"
message = "Hi {{ name }}"

[policy]
blast_limit = 2
quiet_hours = "none"
"""


@pytest.fixture
def crm(shell: Shell) -> Shell:
    shell.configure(CRM)
    write(shell.folder, "1,Anna,anna@example.org,(415) 555-0101,lead", "2,Boris,,415-555-0102,lead", "3,Nobody,,,lead")
    return shell


def write(folder: Path, *rows: str) -> None:
    (folder / "export.csv").write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")


def add(folder: Path, *rows: str) -> None:
    with (folder / "export.csv").open("a", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n")


def test_the_whole_way_by_hand(crm: Shell) -> None:
    shown = crm("plan").stdout
    assert "2 contacts would be created" in shown
    assert "no phone number" in shown
    assert crm.sandbox.contacts() == []
    result = crm.json("sync")
    assert (result["syncs"][0]["added"], result["syncs"][0]["rejected"], result["pushes"][0]["created"]) == (3, 1, 2)
    assert {contact["phoneNumber"] for contact in crm.sandbox.contacts()} == {"+14155550101", "+14155550102"}
    assert crm.sandbox.messages() == []
    (rejected,) = crm.json("status", "--rejected")
    assert (rejected["key"], rejected["where"]) == ("3", "export.csv line 4")
    assert "1 CRM record rejected" in crm("status").stdout


def test_a_new_record_is_texted_and_an_import_waits_for_approval(crm: Shell) -> None:
    crm("sync")
    add(crm.folder, "4,Clara,,415-555-0103,lead")
    assert crm.json("plan")[0]["texts"][0]["text"] == "Hi Clara"
    assert "Texts of main: 1 accepted." in crm("sync").stdout
    assert [message.text for message in crm.sandbox.messages()] == ["Hi Clara"]
    add(crm.folder, *(f"{n},Import {n},,415-555-01{n},lead" for n in range(10, 15)))
    shown = crm("sync").stdout
    assert "5 texts wait for approval" in shown
    assert len(crm.sandbox.messages()) == 1
    batch = crm.json("messages", "--state", "held")[0]["batch_id"]
    assert f"vtsync approve {batch}" in shown
    assert f"vtsync approve {batch}" in crm("status").stdout
    assert crm.json("approve", batch)["count"] == 5
    crm("sync")
    assert len(crm.sandbox.messages()) == 6


def test_a_sync_says_which_texts_wait_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    report = DeliveryReport(accepted=2, requeued=1, held=3, waiting=(("main", "VirtualText refused the credentials"),))
    _show_texts({"main": report, "other": DeliveryReport()})
    assert capsys.readouterr().out.splitlines() == [
        "Texts of main: 2 accepted, 1 for later, 3 held for a person. `vtsync messages` shows each one, and why.",
        "main: texts wait: VirtualText refused the credentials",
    ]


def test_half_an_export_is_refused_and_accepted_on_demand(crm: Shell) -> None:
    write(crm.folder, *(f"{n},Person {n},,415-555-01{n},lead" for n in range(10, 40)))
    crm("sync")
    write(crm.folder, "10,Person 10,,415-555-0110,lead")
    assert "29 of 30 known records are missing" in crm("sync", code=1).stdout
    assert "29 of 30" in crm("plan").stdout
    assert crm.json("sync", "--accept-removals")["syncs"][0]["removed"] == 29
    assert len(crm.sandbox.contacts()) == 30


def test_a_missing_file_is_named_and_nothing_is_lost(crm: Shell) -> None:
    crm("sync")
    (crm.folder / "export.csv").unlink()
    assert "export.csv" in crm("sync", code=1).stdout
    assert "export.csv" in crm("plan", code=1).stderr
    assert crm.json("status")["connections"][0]["state"] == "failed"
    shown = crm("status").stdout
    assert "connection crm: its last sync failed" in " ".join(shown.split())
    assert "`vtsync sync crm`" in shown
    assert "Nothing waits" not in shown


def test_a_source_that_cannot_be_read_hides_no_other_plan(shell: Shell) -> None:
    gone = CRM.split("[triggers")[0].replace("connections.crm", "connections.a_gone").replace("export.csv", "gone.csv")
    shell.configure(gone + CRM)
    write(shell.folder, "1,Anna,anna@example.org,(415) 555-0101,lead")
    done = shell("plan", code=1)
    assert "1 contact would be created" in done.stdout
    assert "a_gone: " in done.stderr
    assert "gone.csv" in done.stderr
    assert "gone.csv" in shell.json("plan", code=1)["error"]["message"]


def test_an_account_that_refuses_says_what_to_do_and_goes_on_after_a_check(
    crm: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.runtime import current

    monkeypatch.setenv("CLI_TOKEN", "revoked")
    assert "stopped" in crm("sync", code=1).stdout
    assert "account main is stopped" in crm("status").stdout
    monkeypatch.setenv("CLI_TOKEN", "sandbox-token")
    monkeypatch.setattr(current, "_runtimes", {})
    assert "now resumes" in crm("check").stdout
    assert crm.json("sync")["pushes"][0]["created"] == 2


def test_a_lost_create_is_settled_by_the_list(crm: Shell) -> None:
    crm.sandbox.add_fault(endpoint="create", action="drop", when="after", calls=1)
    assert crm.json("sync")["pushes"][0]["unknown"] == 1
    assert len(crm.json("status", "--contacts", "unknown")) == 1
    assert len(crm.sandbox.contacts()) == 2


def test_an_id_that_seems_to_be_missing_is_named_with_the_next_check_and_may_be_decided(crm: Shell) -> None:
    crm("sync")
    crm.sandbox.behaviour.list_timeout = True
    anna, boris = crm.sandbox.contacts()
    crm.sandbox.delete_contact(anna["id"])
    export = crm.folder / "export.csv"
    export.write_text(export.read_text("utf-8").replace("Anna", "Ann").replace("Boris", "Bob"), encoding="utf-8")
    assert crm.json("sync")["pushes"][0]["retrying"] == 1
    (waiting,) = crm.json("status", "--contacts", "due")
    assert (waiting["phone"], "check 1 of 5" in waiting["error"]) == (anna["phoneNumber"], True)
    assert waiting["next_attempt_at"] > waiting["attempted_at"]
    assert "1 contact whose updates keep failing" in crm("status").stdout
    assert "next attempt" in crm("explain", anna["phoneNumber"]).stdout
    crm("resolve", anna["phoneNumber"], "--create", "--yes")
    crm("sync")
    assert {one["phoneNumber"] for one in crm.sandbox.contacts()} == {anna["phoneNumber"], boris["phoneNumber"]}
    assert crm.json("status", "--contacts", "due") == []
