"""Getting going: init, check, migrate, adapters, schema; every mistake at once, exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Shell


def test_init_writes_a_file_that_loads_and_never_overwrites(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = shell("init", "new.toml").stdout
    assert "vtsync check" in shown
    assert "exists already" in shell("init", "new.toml", code=2).stderr
    monkeypatch.setenv("VTSYNC_UID", "u")
    monkeypatch.setenv("VTSYNC_TOKEN", "t")
    monkeypatch.setenv("VTSYNC_CONFIG", "new.toml")
    assert "1 connection," in shell("check", "--offline").stdout


def test_check_tries_every_credential(shell: Shell) -> None:
    findings = {finding["what"]: finding for finding in shell.json("check")}
    assert set(findings) == {"configuration", "store", "broker", "account main", "web"}
    assert all(finding["ok"] for finding in findings.values())


def test_check_names_a_key_that_has_a_new_name(shell: Shell) -> None:
    shell.configure('[worker]\nsweep_every = "5s"\n')
    assert "worker.sweep_every is now called tick_every; the old name still works" in shell("check", "--offline").stdout


def test_check_names_a_refused_credential(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLI_TOKEN", "wrong-token-value")
    shown = shell("check", code=1).stdout
    assert "FAILED account main" in shown
    assert "[accounts.main]" in shown
    assert "wrong-token-value" not in shown


def test_check_without_a_store_names_what_it_did_not_check(shell: Shell) -> None:
    shell.configure('[store]\nurl = "postgresql+psycopg://nobody@127.0.0.1:1/x"\n')
    findings = {finding["what"]: finding for finding in shell.json("check", code=1)}
    assert {what for what, finding in findings.items() if not finding["ok"]} == {"store", "not checked"}
    assert findings["store"]["detail"].endswith("; start it, or correct store.url")
    assert findings["not checked"]["detail"].startswith("countries, people, account main")


def test_all_mistakes_are_named_at_once(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLI_TOKEN")
    shell.configure(
        '[connections.crm]\nadapter = "cvs"\naccount = "mian"\nschedul = "5m"\n[policy]\nblast_limit = "many"\n'
    )
    shown = shell("check", code=2).stderr
    for word in ("CLI_TOKEN", '"csv"', '"main"', '"schedule"', "blast_limit"):
        assert word in shown, word


def test_a_missing_file_says_what_to_do(shell: Shell) -> None:
    (shell.folder / "vtsync.toml").unlink()
    assert "vtsync init" in shell("status", code=2).stderr


def test_the_configuration_can_be_named_before_the_command(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = shell.folder / "other.toml"
    (shell.folder / "vtsync.toml").rename(elsewhere)
    monkeypatch.setenv("VTSYNC_CONFIG", "")
    shell("--config", str(elsewhere), "status")


def test_migrate_says_where_it_is(shell: Shell) -> None:
    assert "now at revision" in shell("migrate").stdout
    assert "already at revision" in shell("migrate").stdout


@pytest.mark.parametrize(
    "more",
    [
        "",
        '[carriers.t]\nkind = "twilio"\nauth_token = { env = "CLI_NOT_SET" }\n',
        '[connections.crm]\nadapter = "no-such-adapter"\n',
        '[store]\ngrant_key = { env = "CLI_NOT_SET" }\n',
    ],
)
def test_migrate_needs_no_secret_but_the_store_s(shell: Shell, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    monkeypatch.delenv("CLI_TOKEN")
    shell.configure(more)
    assert shell("status", code=2).stderr, "every other command names the missing secret"
    assert "now at revision" in shell("migrate").stdout


def test_migrate_names_a_mistake_in_the_store_s_table(shell: Shell) -> None:
    shell.configure('[store]\nurl = "redis://localhost/0"\n')
    assert "store.url" in shell("migrate", code=2).stderr


def test_adapters_are_listed_with_their_options(shell: Shell) -> None:
    assert {one["name"] for one in shell.json("adapters")} >= {"csv", "sql"}
    shown = shell("adapters", "csv").stdout
    assert "path" in shown
    assert "there is no adapter" in shell("adapters", "nothing", code=2).stderr


def test_a_new_adapter_is_begun(shell: Shell) -> None:
    said = shell("adapters", "new", "acme").stdout
    assert "Wrote vtsync-acme/vtsync_acme/adapter.py" in said
    assert (shell.folder / "vtsync-acme" / "tests" / "test_conformance_acme.py").is_file()
    shell("adapters", "new", "acme", "--folder", "elsewhere")
    assert (shell.folder / "elsewhere" / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["new"], "vtsync adapters new NAME"),
        (["new", "csv"], 'there is already an adapter "csv"'),
        (["csv", "acme"], "only `vtsync adapters new NAME`"),
        (["csv", "--folder", "x"], "only `vtsync adapters new NAME`"),
    ],
)
def test_a_new_adapter_needs_a_name_of_its_own(shell: Shell, command: list[str], said: str) -> None:
    assert said in shell("adapters", *command, code=2).stderr


def test_the_schema_is_a_json_schema(shell: Shell) -> None:
    assert json.loads(shell("schema").stdout)["properties"]["accounts"]


def test_help_needs_no_heavy_module() -> None:
    code = (
        "import sys, worker.cli.common, worker.cli.contacts, worker.cli.fleet, worker.cli.setup, worker.cli.texts;"
        "print([m for m in ('sqlalchemy', 'celery', 'requests', 'pydantic', 'aiohttp', 'liquid') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_every_command_is_in_the_page_of_commands() -> None:
    from worker.cli import load_commands

    app = load_commands()
    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    groups = [group.name for group in app.registered_groups]
    assert [name for name in (*names, *groups) if f"`vtsync {name}" not in text] == []
