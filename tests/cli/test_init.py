"""From an export to a configuration that works, by options and by answers at a terminal."""

from __future__ import annotations

import os
import pty
import select
import shlex
import stat
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from dotenv import dotenv_values

from config.draft import Draft, EnvironmentVariable
from config.load import settings_from
from tests.cli.conftest import Shell
from worker.core.isolated import isolated

EXPORT = """Record ID,First Name,Last Name,Mobile Phone,Email,SMS Opt Out,Status
1,Ann,Lee,(415) 555-0101,ann@example.com,No,lead
2,Bob,Ray,415-555-0102,bob@example.com,Yes,customer
3,Dan,Poe,n/a,dan@example.com,,lead
"""


@pytest.fixture
def folder(shell: Shell) -> Path:
    """A folder with an export, and no configuration."""
    (shell.folder / "vtsync.toml").unlink()
    (shell.folder / "people.csv").write_text(EXPORT, encoding="utf-8")
    old = time.time() - 60
    os.utime(shell.folder / "people.csv", (old, old))
    return shell.folder


def test_an_export_and_the_sandbox_need_no_answers(shell: Shell, folder: Path) -> None:
    shown = shell("init", "--csv", "people.csv", "--region", "US", "--yes").stdout
    assert "+14155550101  Ann Lee" in shown
    assert "1 record would be rejected" in shown
    written = tomllib.loads((folder / "vtsync.toml").read_text("utf-8"))
    crm = written["connections"]["crm"]
    assert crm["fields"] == {"phone": ["Mobile Phone"], "full_name": ["First Name", "Last Name"], "email": ["Email"]}
    assert crm["do_not_text"] == {"field": "SMS Opt Out"}
    assert crm["options"] == {"path": "people.csv"}
    assert dotenv_values(folder / ".env") == {"VTSYNC_SANDBOX_TOKEN": "sandbox-token"}
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert "1 connection," in shell("check", "--offline").stdout


def test_what_is_written_is_used_by_the_other_commands(shell: Shell, folder: Path) -> None:
    shell("init", "--csv", "people.csv", "--region", "US", "--yes")
    (plan,) = shell.json("plan")
    found = [one["phone"] for one in [*plan["creates"], *plan["adopts"]]]  # a running sandbox has them
    assert found == ["+14155550101", "+14155550102"]


REFUSED = [
    # options, exit code, what it says
    ("--csv nothing.csv", 2, "there is no file nothing.csv"),
    ("--csv people.csv --phone Mobile", 2, 'the CRM has no field "Mobile"; did you mean Mobile Phone'),
    ("--csv people.csv --do-not-text 'Opt Out'", 2, 'the CRM has no field "Opt Out"'),
    ("--csv people.csv --region Mars", 2, '"Mars" is not a country'),
    ("--csv people.csv --option nothing", 2, '--option takes NAME=VALUE, not "nothing"'),
    ("--csv people.csv --option id=Nothing", 1, "Nothing"),
    ("--adapter nothing", 2, 'there is no adapter "nothing"'),
    ("--adapter sql", 2, "give --option url=VALUE"),
    ("--adapter hubspot --option color=red", 2, "give --option token=VALUE"),
    ("--csv people.csv --account --from 12", 2, "VTSYNC_UID"),
]


@pytest.mark.parametrize(("options", "code", "says"), REFUSED)
def test_what_is_wrong_is_said_before_anything_is_written(
    shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch, options: str, code: int, says: str
) -> None:
    for variable in ("VTSYNC_UID", "VTSYNC_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    done = shell("init", "--yes", *shlex.split(options), code=code)
    assert says in " ".join(done.stderr.split())
    assert sorted(one.name for one in folder.iterdir()) == ["people.csv"]


def test_a_file_that_exists_is_never_changed(shell: Shell) -> None:
    before = (shell.folder / "vtsync.toml").read_bytes()
    assert "exists already" in shell("init", "--csv", "people.csv", code=2).stderr
    assert (shell.folder / "vtsync.toml").read_bytes() == before


def test_a_person_answers_at_a_terminal(folder: Path) -> None:
    answers = {
        "Which one has your contacts": "1",
        "Do you have a VirtualText account": "n",
        "The country of numbers": "US",
        "Fields for the phone number": "Phone Mobile",  # misspelt: it asks again
        "did you mean Mobile Phone": "Mobile Phone",
        "Fields for the name": "",
        "Fields for the email address": "",
        "Heed it?": "y",
        "Write ": "y",
    }
    shown = _talk(folder, ["init"], answers)
    assert "Wrote vtsync.toml" in shown
    crm = tomllib.loads((folder / "vtsync.toml").read_text("utf-8"))["connections"]["crm"]
    assert crm["fields"]["phone"] == ["Mobile Phone"]
    assert crm["do_not_text"] == {"field": "SMS Opt Out"}


def test_a_person_may_change_their_mind(folder: Path) -> None:
    answers = {
        "Which one": "1",
        "Do you have": "n",
        "The country": "US",
        "Fields for the phone": "",
        "Fields for the name": "",
        "Fields for the email": "",
        "Heed it?": "n",
        "Write ": "n",
    }
    assert "nothing was written" in _talk(folder, ["init"], answers, code=1)
    assert sorted(one.name for one in folder.iterdir()) == ["people.csv"]


def _talk(folder: Path, command: list[str], answers: dict[str, str], code: int = 0) -> str:
    """Run a command at a terminal, and answer its questions in order. Return what the terminal shows."""
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        isolated("vtsync", *command), cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True
    )
    os.close(terminal)
    shown, waiting, deadline = "", list(answers.items()), time.monotonic() + 100
    answered = 0
    while time.monotonic() < deadline:
        if not select.select([person], [], [], 1)[0]:
            continue
        try:
            shown += os.read(person, 65536).decode()
        except OSError:  # the process has closed the terminal
            break
        if waiting and waiting[0][0] in (new := " ".join(shown[answered:].split())) and new.endswith(":"):
            answered = len(shown)
            os.write(person, f"{waiting.pop(0)[1]}\n".encode())
    os.close(person)
    assert process.wait(20) == code, shown
    assert not waiting, (waiting, shown)
    return " ".join(shown.split())


def test_a_draft_reads_back_as_it_was_meant() -> None:
    draft = Draft(
        "sql",
        {"url": EnvironmentVariable("PATH"), "table": 'a "quoted"\ttable\u2028', "page": 7, "flag": True},
        fields={"phone": ("Télé\\phone", "x\x7f")},
        do_not_text='No "texts"',
    )
    assert tomllib.loads(draft.text()) == draft.data()


def test_a_draft_for_an_account_is_a_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VTSYNC_UID", "u")
    monkeypatch.setenv("VTSYNC_TOKEN", "t")
    draft = Draft("csv", {"path": "people.csv"}, sandbox=False, from_number="+14155550100", region="US")
    settings = settings_from(tomllib.loads(draft.text()), tmp_path)
    assert settings.accounts["main"].uid.get_secret_value() == "u"
    assert settings.connections["crm"].default_region == "US"
