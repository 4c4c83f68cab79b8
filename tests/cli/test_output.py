"""Output to places that are not a terminal: ASCII only, closed, full, or a reader that has seen enough."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import CONFIGURATION, Shell
from worker.core.isolated import isolated
from worker.store.models import utcnow

ASCII = {
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1"},
}
COMMANDS = {
    "a table": ["messages"],
    "an error": ["resolve", "Ünbekannt", "--sent"],
}


@pytest.fixture
def folder(shell: Shell) -> Path:
    """A store with a text that ASCII does not have."""
    later = (utcnow() + timedelta(days=30)).isoformat()
    shell("send", "--to", "+14155550101", "--message", "Žluťoučký kůň 🎉", "--at", later)
    return shell.folder


def vtsync(folder: Path, shell_words: str, *command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a shell, with what comes after it in the shell's words: a pipe or a redirection."""
    line = f'set -o pipefail; "$@" {shell_words}'
    return subprocess.run(
        ["bash", "-c", line, "bash", *isolated("vtsync", *command)],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("encoding", ASCII)
@pytest.mark.parametrize("what", COMMANDS)
def test_letters_that_the_output_lacks_are_escaped(folder: Path, encoding: str, what: str) -> None:
    done = vtsync(folder, "", *COMMANDS[what], **ASCII[encoding])
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.returncode == (1 if what == "an error" else 0), done.stderr.decode()
    assert (done.stderr if what == "an error" else done.stdout).strip()


def test_json_stays_json_in_ascii(folder: Path) -> None:
    done = vtsync(folder, "", "messages", "--json", **ASCII["the C locale"])
    assert json.loads(done.stdout.decode("ascii"))[0]["text"] == "Žluťoučký kůň 🎉"


@pytest.mark.parametrize("command", [["messages"], ["--help"]])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(folder: Path, command: list[str]) -> None:
    done = vtsync(folder, "| head -c 1 >&2", *command)
    assert len(done.stderr) == 1, done.stderr.decode()


PLACES = {
    # where to: (what the shell does, the exit code, what is said)
    "closed": (">&-", 0, ""),
    "both closed": (">&- 2>&-", 0, ""),
    "a full disk": (">/dev/full", 1, "vtsync: the output cannot be written: No space left on device\n"),
}


@pytest.mark.parametrize("place", PLACES)
def test_output_that_cannot_be_written(folder: Path, place: str) -> None:
    words, code, said = PLACES[place]
    done = vtsync(folder, words, "messages")
    assert (done.returncode, done.stderr.decode()) == (code, said)


@pytest.mark.parametrize("name", ["50% off %(here)s %s", "ünï 'côdé' [x] #b?c"])
def test_folders_with_any_name(shell: Shell, name: str) -> None:
    """Libraries read a path as a template, a URL or markup."""
    folder = shell.folder / name
    folder.mkdir()
    text = CONFIGURATION.format(api_url=shell.sandbox.api_url, create_url=shell.sandbox.create_url, more="")
    crm = '[connections.crm]\nadapter = "csv"\naccount = "main"\noptions.path = "x.csv"\n'
    (folder / "vtsync.toml").write_text(f'data_dir = "data {name}"\n{text}{crm}', encoding="utf-8")
    (folder / "x.csv").write_text("id,name,phone\n1,Anna,+14155550101\n", encoding="utf-8")
    for command in (["migrate"], ["sync", "--queue"], ["sync"]):
        done = vtsync(folder, "", *command)
        assert done.returncode == 0, (command, done.stdout.decode(), done.stderr.decode())
        assert b"Traceback" not in done.stderr
