"""`vtsync keys`: a key gets what its options name, and nothing else."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Shell
from worker.web.keys import SCOPES

SECOND = """
[accounts.second]
uid = "sandbox"
token = { env = "CLI_TOKEN" }
from_number = "+12025550101"
"""
NAMED = ("--scope", "messages:write")


@pytest.mark.parametrize(
    ("more", "options", "accounts"),
    [
        ("", NAMED, ["main"]),
        ("", (*NAMED, "--all-accounts"), []),
        ("", ("--scope", "metrics:read"), []),
        (SECOND, (*NAMED, "--account", "second"), ["second"]),
        (SECOND, (*NAMED, "--account", "main", "--account", "second"), ["main", "second"]),
        (SECOND, (*NAMED, "--all-accounts"), []),
        (SECOND, ("--scope", "metrics:read"), []),
    ],
)
def test_a_new_key(shell: Shell, more: str, options: tuple[str, ...], accounts: list[str]) -> None:
    shell.configure(more)
    made = shell("keys", "create", "shop", *options)
    assert made.stdout.startswith("vtk_")
    (key,) = shell.json("keys", "list")
    assert (key["scopes"], key["accounts"]) == ([options[1]], accounts)
    assert made.stdout.strip().split("_", 2)[2] not in json.dumps(key)


@pytest.mark.parametrize(
    ("more", "options", "words"),
    [
        ("", (), "say what the key may do"),
        ("", ("--scope", "everything"), 'the scope "everything" is unknown'),
        ("", ("--scope", "operate:raed"), 'did you mean "operate:read"?'),
        ("", (*NAMED, "--account", "third"), 'there is no account "third"'),
        ("", (*NAMED, "--account", "main", "--all-accounts"), "give either"),
        ("", (*NAMED, "--scope", "metrics:read"), "add --all-accounts, or create two keys"),
        (SECOND, NAMED, "name the accounts that the key may use"),
    ],
)
def test_a_key_that_nobody_described_is_not_made(shell: Shell, more: str, options: tuple[str, ...], words: str) -> None:
    shell.configure(more)
    assert words in " ".join(shell("keys", "create", "shop", *options, code=2).stderr.split())
    assert shell.json("keys", "list") == []


def test_a_test_key_says_what_it_is(shell: Shell) -> None:
    shell.configure()
    made = shell("keys", "create", "shop", *NAMED, "--test")
    assert made.stdout.startswith("vtk_test_")
    assert "nothing that it makes is sent" in " ".join(made.stderr.split())
    assert [key["test"] for key in shell.json("keys", "list")] == [True]
    assert "active, test" in shell("keys", "list").stdout
    refused = shell("keys", "create", "shop", "--scope", "contacts:read", "--test", code=2).stderr
    assert "a test key cannot have contacts:read" in " ".join(refused.split())


def test_every_scope_is_explained(shell: Shell) -> None:
    shown = shell("keys", "scopes").stdout
    assert all(scope in shown for scope in SCOPES)
