"""Every command in the width of a terminal, as JSON, and with short ids. A row of COMMANDS is one call."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner

from tests.cli import every_state
from tests.cli.conftest import Shell, new_shell
from tests.cli.every_state import ANNA, BATCH, BORIS, CRM, REMINDER, TRIGGER
from worker.cli import load_commands
from worker.cli.group import LONGEST_SENTENCE
from worker.sandbox import Sandbox
from worker.store.models import utcnow

COMMANDS = [
    # what is called; it changes nothing that another row shows
    "adapters",
    "adapters csv",
    "adapters rest",
    "alerts list",
    "check --offline",
    f"consents show {ANNA}",
    "dead-letters",
    f"explain {ANNA}",
    f"explain {BORIS}",
    f"fields {CRM}",
    "forwards list",
    "keys list",
    "keys scopes",
    "link main",
    "messages",
    "messages --state held",
    f"messages --batch {BATCH[:8]}",
    "opt-outs",
    f"pause trigger {REMINDER}",
    "plan",
    f"policy what-if --set max_per_contact=1 --to {ANNA}",
    "prune --dry-run",
    "reconcile opt-outs --dry-run",
    "relay show",
    f"resume connection {CRM}",
    "review",
    "status",
    "status --contacts synced",
    "status --rejected",
    "status --unread",
    f"triggers backtest {TRIGGER}",
    "triggers list",
    f"triggers test {TRIGGER} --record 51000",
    "users list",
]
WIDTHS = (50, 80, 120)
NAMES = (CRM, TRIGGER, BATCH, ANNA, "warehouse-of-the-northern-branch", REMINDER)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[Shell]:
    with pytest.MonkeyPatch.context() as patch:
        shell = new_shell(tmp_path_factory.mktemp("filled"), patch, sandbox)
        every_state.fill(shell)
        yield shell


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_terminal_and_no_name_is_cut(
    filled: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    whole: set[str] = set()
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        result = filled.run(*shlex.split(command))
        assert result.exit_code == 0, result.output
        wide = [line for line in result.output.splitlines() if cell_len(line) > width]
        # A path, an address or a dotted name is one word, which is wider than the terminal where it stands alone.
        assert [line for line in wide if len(line.split()) > 1] == [], command
        words = result.output.split()
        named = {name for name in NAMES if any(name in word for word in words)}
        assert named >= whole, f"{whole - named} can no longer be read as one word at {width} columns"
        whole |= named
        assert "\n\n\n" not in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_with_json_standard_output_is_one_document(filled: Shell, command: str) -> None:
    assert filled.json(*shlex.split(command)) is not None


def commands(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return all commands and groups below this one, with their words."""
    yield path, group
    for name, one in getattr(group, "commands", {}).items():
        yield from commands(one, *path, name)


ALL = dict(commands(typer.main.get_command(load_commands())))
WITHOUT_JSON = {
    "connect": "a person agrees in a browser",
    "demo": "it tells a story",
    "export": "it prints nothing but JSON",
    "init": "it asks questions",
    "schema": "it prints nothing but JSON",
    **dict.fromkeys(("beat", "sandbox", "up", "web", "worker"), "it runs until it is stopped"),
}


def test_every_command_that_ends_by_itself_has_json() -> None:
    leaves = {" ".join(path): one for path, one in ALL.items() if not getattr(one, "commands", {})}
    without = {path for path, one in leaves.items() if not any("--json" in option.opts for option in one.params)}
    assert without == set(WITHOUT_JSON)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_fits_and_describes_each_command_in_a_sentence(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(load_commands(), [*path, "--help"]).stdout  # Click's runner gives it 80 columns
    assert [line for line in shown.splitlines() if cell_len(line) > 80] == []
    for name, one in getattr(ALL[path], "commands", {}).items():
        assert one.get_short_help_str(LONGEST_SENTENCE) in " ".join(shown.split()), name


ERRORS = {
    # what is called: the exit code
    "resolve 00000000 --sent": 1,
    "approve": 2,
    "messages --state lost": 2,
    "explain 17": 2,
    "opt-out 17": 2,
    "opt-in +14155550101 --why ''": 2,
    "review +14155550199 --continue": 1,
    "relay url": 2,
    "keys create shop": 2,
    "keys revoke nobody": 1,
    "users role nobody admin": 1,
    "users disable nobody": 1,
    "disconnect nobody": 1,
    "forwards retry": 2,
    "remember +14155550199 --why x": 1,
    "opt-outs export": 2,
    "pause connection nothing": 2,
    "pause trigger nothing": 2,
    "resume trigger nothing": 2,
    "sync nothing": 2,
    "nonsense": 2,
}


@pytest.mark.parametrize("command", ERRORS)
def test_with_json_an_error_is_a_document_too(filled: Shell, command: str) -> None:
    code = ERRORS[command]
    result = filled(*shlex.split(command), "--json", code=code)
    error = json.loads(result.stdout)["error"]
    assert error["exit_code"] == code
    assert " ".join(error["message"].split()) in " ".join(result.stderr.split())


# Short ids


def test_a_short_id_decides_about_its_message_and_says_which_one_it_is(shell: Shell) -> None:
    later = ("--at", (utcnow() + timedelta(days=30)).isoformat())
    first, second = (shell.json("send", "--to", to, "-m", "hello", *later)["message_id"] for to in (ANNA, BORIS))
    short = first[-8:]
    assert short in shell("messages").stdout
    assert first not in shell("messages").stdout
    result = shell("cancel", short)
    assert f"{short} is the message {first}" in " ".join(result.stderr.split())
    assert ANNA not in result.stderr
    states = {one["id"]: one["state"] for one in shell.json("messages")}
    assert states == {first: "cancelled", second: "queued"}


DECISIONS = {
    # what is called with a short id: nothing is done where it can mean several
    "approve ID": 2,
    "cancel ID": 2,
    "retry ID": 2,
    "resolve ID --sent": 2,
    "resolve ID --resend": 2,
    "messages --batch ID": 2,
}


@pytest.mark.parametrize("command", DECISIONS)
def test_a_short_id_that_can_mean_several_lists_them_and_decides_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    ids = iter([f"01a229b075d8759d8000000{n}0e279310" for n in range(9)])
    monkeypatch.setattr("worker.messages.outbox.new_message_id", lambda: next(ids))
    shell.sandbox.add_fault(endpoint="send", action="drop", when="after", calls=2)
    for to in (ANNA, BORIS):
        shell("send", "--to", to, "-m", "hello", code=1)
    before = shell.json("messages")
    asked = shlex.split(command.replace("ID", "0e279310"))
    result = shell(*asked, code=DECISIONS[command])
    for one in before:
        assert f"the message {one['id']} of" in result.stderr
        assert one["to_number"] not in result.stderr
    assert shell.json("messages") == before
    shown = shell("messages").stdout
    for one in before:
        assert one["id"][-9:] in shown


TYPED = [
    # as typed, the country of the connection, as it is read
    ("(415) 555-2671", "US", "+14155552671"),
    ("415.555.2671", "US", "+14155552671"),
    ("+14155552671", "DE", "+14155552671"),
    ("0170 1234567", "DE", "+491701234567"),
    ("+49 (0)170 1234567", "US", "+491701234567"),
    ("0049 170 1234567", "DE", "+491701234567"),
]


@pytest.mark.parametrize(("typed", "country", "number"), TYPED)
def test_a_number_is_read_as_people_type_it_and_it_is_said_how(
    shell: Shell, typed: str, country: str, number: str
) -> None:
    crm = f'adapter = "csv"\naccount = "main"\ndefault_region = "{country}"\noptions = {{ path = "crm.csv" }}\n'
    shell.configure(f"[connections.crm]\n{crm}")
    result = shell("explain", typed, code=1)
    assert result.stdout.splitlines()[0] == number
    assert (f'"{typed}" is read as {number}' in result.stderr) is (typed != number)
    assert shell.json("opt-out", typed) == {"phone": number, "opted_out": True, "changed": True}


def test_a_number_that_can_be_two_is_not_guessed(shell: Shell) -> None:
    crm = 'adapter = "csv"\naccount = "main"\ndefault_region = "DE"\noptions = { path = "crm.csv" }\n'
    shell.configure(f"[connections.crm]\n{crm}")
    said = " ".join(shell("explain", "(415) 555-2671", code=2).stderr.split())
    assert said == '"(415) 555-2671" can be +14155552671 or +494155552671; write it with the country code'


def test_a_conversation_is_shown_in_the_order_of_time(filled: Shell) -> None:
    shown = filled("explain", ANNA).stdout
    assert shown.index("they wrote to main") > shown.index("send ")
    assert shown.index("“Thank you! And when?”") > shown.index("they wrote to main")
