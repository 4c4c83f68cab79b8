"""A mistake in the configuration file never hides a running fleet from the people who look after it."""

from __future__ import annotations

import json
import stat

import pytest

from config.last_good import NAME
from tests.cli.conftest import Shell
from worker.runtime import current

CRM = """
[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = { path = "export.csv", settle_seconds = 0 }
"""
MISTAKES = {
    "a key that does not exist": "{good}\n[policy2]\nx = 1\n",
    "no valid TOML": "{good}\n[policy\n",
    "not UTF-8": "\udcff{good}",
    "half of the file": "[accounts.main]\nuid =",
}


@pytest.fixture
def fleet(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell.configure(CRM)
    (shell.folder / "export.csv").write_text("id,name,email,mobile\n1,Anna,,(415) 555-0101\n", encoding="utf-8")
    shell("sync")
    monkeypatch.setattr(current, "_runtimes", {})
    return shell


def spoil(shell: Shell, pattern: str) -> None:
    file = shell.folder / "vtsync.toml"
    text = pattern.replace("{good}", file.read_text(encoding="utf-8"))
    file.write_bytes(text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_status_explain_and_doctor_use_the_configuration_that_was_last_in_use(fleet: Shell, mistake: str) -> None:
    spoil(fleet, MISTAKES[mistake])
    done = fleet("status")
    assert done.output.startswith(f"{fleet.folder / 'vtsync.toml'} cannot be used; this is the state with the")
    assert "crm" in done.stdout
    assert "1 synced" in done.stdout
    assert "Anna" in fleet("explain", "+14155550101").stdout
    called = fleet.sandbox.counts()
    done = fleet("doctor", code=1)
    assert done.output.startswith("warning  configuration: the one of ")
    assert "PROBLEM  configuration:" in done.output
    assert "at revision" in done.output, "the store is checked"
    assert fleet.sandbox.counts() == called, "nobody is called with a credential that may be outdated"
    fleet("check", code=2)
    fleet("sync", code=2)


def test_json_stays_json(fleet: Shell) -> None:
    spoil(fleet, MISTAKES["no valid TOML"])
    assert fleet.json("status")["connections"][0]["name"] == "crm"
    assert "cannot be used" in fleet("status", "--json").stderr


def test_a_file_that_is_gone_is_a_mistake_too(fleet: Shell) -> None:
    (fleet.folder / "vtsync.toml").unlink()
    assert "cannot be used" in fleet("status").stderr


def test_the_data_folder_is_found_in_a_file_that_is_no_toml(fleet: Shell) -> None:
    text = (fleet.folder / "vtsync.toml").read_text(encoding="utf-8")
    (fleet.folder / "vtsync.toml").write_text(f'data_dir = "elsewhere"\n{text}', encoding="utf-8")
    current._runtimes.clear()
    fleet("status")
    spoil(fleet, "{good}\n[policy\n")
    current._runtimes.clear()
    assert (fleet.folder / "elsewhere" / NAME).is_file()
    assert "cannot be used" in fleet("status").stderr


def test_secrets_are_not_in_the_copy_and_only_this_user_reads_it(fleet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet("status")
    kept = fleet.folder / ".vtsync" / NAME
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "sandbox-token" not in kept.read_text(encoding="utf-8")
    assert json.loads(kept.read_text(encoding="utf-8"))["data"]["accounts"]["main"]["token"] == {"env": "CLI_TOKEN"}
    monkeypatch.delenv("CLI_TOKEN")  # the mistake is in the environment
    current._runtimes.clear()
    assert "1 synced" in fleet("status").stdout


def test_where_nothing_was_in_use_yet_the_mistakes_are_said(shell: Shell) -> None:
    spoil(shell, MISTAKES["a key that does not exist"])
    done = shell("status", code=2)
    assert "policy2" in done.stderr
    assert "keeps no configuration that was in use before" in done.stderr


def test_the_copy_of_another_file_is_not_used(fleet: Shell) -> None:
    other = fleet.folder / "other.toml"
    other.write_text("[policy2]\n", encoding="utf-8")
    assert "policy2" in fleet("--config", str(other), "status", code=2).stderr
