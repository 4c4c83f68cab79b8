"""`vtsync connect` as a person uses it: in a browser on this machine, over SSH, through `vtsync web`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner, Result

from crm_adapters import registry
from tests.cli.conftest import Shell
from tests.contacts.acme import ADDRESS, CLOUD, CLOUD_ADDRESS, NAME
from tests.contacts.grant_process import KEY
from tests.contacts.test_grants import OTHER_KEY
from tests.contacts.token_server import TokenServer, token_server
from worker.cli import load_commands
from worker.cli.connect import DEFAULT_REDIRECT
from worker.contacts.consent import finish_consent
from worker.core.isolated import isolated
from worker.runtime import open_runtime

ROOT = Path(__file__).parent.parent.parent
CONNECTIONS = """
[connections.crm]
adapter = "{cloud}"
account = "main"
options = {{ url = "{url}" }}
[connections.plain]
adapter = "{plain}"
account = "main"
[store]
{key}
[web]
public_url = "https://texts.example.com"
"""


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with token_server() as running:
        yield running


@pytest.fixture
def desk(shell: Shell, server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setitem(registry.BUILT_IN, NAME, ADDRESS)
    monkeypatch.setitem(registry.BUILT_IN, CLOUD, CLOUD_ADDRESS)
    monkeypatch.setenv("CLI_GRANT_KEY", KEY)
    configure(shell, server)
    return shell


def configure(shell: Shell, server: TokenServer, key: str = 'grant_key = { env = "CLI_GRANT_KEY" }') -> None:
    shell.configure(CONNECTIONS.format(cloud=CLOUD, plain=NAME, url=server.url, key=key))


def pasting(*command: str, pasted: str) -> Result:
    return CliRunner().invoke(load_commands(), ["connect", *command, "--paste"], input=f"{pasted}\n")


@contextmanager
def running(shell: Shell, *command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``vtsync connect`` in a process of its own, in which the adapter is installed as a package; and its link."""
    metadata = shell.folder / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[vtsync.adapters]\n{CLOUD} = {CLOUD_ADDRESS}\n{NAME} = {ADDRESS}\n", encoding="utf-8"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{shell.folder}"}
    process = subprocess.Popen(
        isolated("vtsync", "connect", "crm", *command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=shell.folder,
        text=True,
    )
    assert process.stdout is not None
    try:
        printed = ""
        while "Waiting" not in printed and (line := process.stdout.readline()):
            printed += line
        link = re.search(r"http://127\S+/authorize\S+", printed)
        assert link, printed
        assert re.search(r"until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(15 minutes\)", printed), "for how long it waits"
        yield process, link[0]
    finally:
        process.kill()
        process.communicate(timeout=30)


def ends(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    return printed


def test_a_browser_on_this_machine(desk: Shell, server: TokenServer) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        redirect = f"http://127.0.0.1:{free.getsockname()[1]}/connect/callback"
    with running(desk, "--redirect-url", redirect) as (process, link):
        with urllib.request.urlopen(server.consent(link), timeout=30) as page:
            assert b"Connected" in page.read()
        printed = ends(process)
    assert "crm: the credential is stored, encrypted." in printed
    assert "ok     connection crm: Acme responds" in printed
    assert desk("sync", "crm", "--no-push", "--no-texts").exit_code == 0


def test_through_vtsync_web(desk: Shell, server: TokenServer) -> None:
    with running(desk, "--web") as (process, link):
        back = server.consent(link)
        assert back.startswith("https://texts.example.com/connect/callback?")
        # What `vtsync web` does with it.
        assert finish_consent(open_runtime(), dict(parse_qsl(urlsplit(back).query))) == "crm"
        assert "ok     connection crm: Acme responds" in ends(process)


def test_over_ssh_a_person_pastes(desk: Shell, server: TokenServer) -> None:
    server.codes["code-1"] = {"redirect_uri": DEFAULT_REDIRECT}
    result = pasting("crm", pasted="code-1")
    assert result.exit_code == 0, result.output
    assert "Acme must know this redirect URL: http://127.0.0.1:8912/connect/callback" in result.output
    assert "15 minutes" in result.output
    assert "ok     connection crm: Acme responds" in result.output


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("guess", "crm: Acme: the code was not accepted"),
        ("http://127.0.0.1:8912/connect/callback?error=access_denied", 'did not agree ("access_denied")'),
        ("http://127.0.0.1:8912/connect/callback?code=1&state=foreign", "not from here"),
    ],
)
def test_what_is_pasted_may_be_wrong(desk: Shell, pasted: str, said: str) -> None:
    result = pasting("crm", pasted=pasted)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert "FAILED connection crm" in desk("check", code=1).output


def test_a_connection_without_consent_says_so_everywhere(desk: Shell) -> None:
    for command in (("check",), ("sync", "crm", "--no-push", "--no-texts")):
        assert "run `vtsync connect crm`" in " ".join(desk(*command, code=1).output.split()), command
    assert {"vtsync connect crm"} == {one["command"] for one in desk.json("status")["attention"]}


def test_mistakes_of_the_call(desk: Shell, server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 'there is no connection "crn"' in desk("connect", "crn", code=2).output
    assert "needs no consent" in desk("connect", "plain", code=1).output
    assert "takes no --redirect-url" in desk("connect", "crm", "--web", "--redirect-url", "https://x", code=2).output
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/connect/callback"
        assert "choose another address" in desk("connect", "crm", "--redirect-url", url, code=2).output
    from worker.runtime import current

    monkeypatch.setattr(current, "_runtimes", {})
    configure(desk, server, key="")
    assert "openssl rand -base64 32" in desk("connect", "crm", code=1).output


def test_keys_are_replaced_and_a_credential_is_deleted(
    desk: Shell, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "There are no stored credentials" in desk("grants", "rotate").output
    server.codes["code-1"] = {"redirect_uri": DEFAULT_REDIRECT}
    assert pasting("crm", pasted="code-1").exit_code == 0
    before = sealed(desk)
    restart(monkeypatch, f"{OTHER_KEY},{KEY}")
    assert "1 credential encrypted again; all 1 now have the first key" in desk("grants", "rotate").output
    assert sealed(desk) != before
    restart(monkeypatch, OTHER_KEY)
    assert "ok     connection crm" in desk("check", code=0).output
    restart(monkeypatch, KEY)
    assert "does not decrypt with any key" in " ".join(desk("grants", "rotate", code=1).output.split())
    assert "deleted here" in desk("disconnect", "crm").output
    assert "no stored credential" in desk("disconnect", "crm", code=1).output


def restart(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    """As if the processes had been started anew with these keys."""
    from worker.runtime import current

    monkeypatch.setenv("CLI_GRANT_KEY", keys)
    monkeypatch.setattr(current, "_runtimes", {})


def sealed(shell: Shell) -> Any:
    engine = create_engine(f"sqlite:///{shell.folder / '.vtsync' / 'vtsync.sqlite3'}")
    with engine.connect() as db:
        found = db.scalar(text("SELECT sealed FROM crm_grant"))
    engine.dispose()
    return found
