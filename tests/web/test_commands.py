"""Each command that decides or shows something has its request in docs/http.md, or a reason why it has none."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.test_width import ALL
from worker.web.document import document

DOC = Path(__file__).parents[2] / "docs" / "http.md"
ROWS = re.findall(r"^\| `vtsync ([^`]+)` \| `(\w+) ([^`]+)` \|$", DOC.read_text("utf-8"), re.MULTILINE)
HERE = "it works on files, processes or the configuration of this machine"
NOT_OVER_HTTP = {
    "adapters": HERE,
    "alerts test": "it tries what the configuration says, as the page Alerts does",
    "beat": HERE,
    "check": HERE,
    "connect": "a person agrees in a browser",
    "consents import": "it reads a file of this machine",
    "demo": HERE,
    "disconnect": "who may connect a CRM is decided where its credentials are",
    "encrypt": HERE,
    "fields": "it asks the CRM, for the one who writes the configuration; the page of the connection does",
    "grants rotate": HERE,
    "init": HERE,
    "keys create": "a key must not make keys",
    "keys list": "a key must not show keys",
    "keys revoke": "a key must not revoke keys",
    "keys scopes": "the description of the API lists them",
    "migrate": HERE,
    "opt-outs import": "it reads a file of this machine",
    "plan": "it reads the whole CRM, which takes longer than a request may",
    "policy what-if": "it tries a change of the configuration",
    "prune": "the workers do it",
    "reconcile opt-outs": "it asks other systems, which takes longer than a request may",
    "relay register": "it sets up what the configuration says",
    "relay url": "it shows a secret",
    "restored": "it is run before any process starts",
    "sandbox": HERE,
    "schema": HERE,
    "triggers backtest": "it tries a trigger for the one who writes it; the page of the trigger does",
    "triggers list": "it shows the configuration",
    "triggers test": "it tries a trigger for the one who writes it; the page of the trigger does",
    "up": HERE,
    "users create": "people who sign in are managed by those who have the machine, or on the pages",
    "users disable": "see users create",
    "users enable": "see users create",
    "users link": "see users create",
    "users list": "see users create",
    "users password": "see users create",
    "users remove-second-factor": "see users create",
    "users role": "see users create",
    "web": HERE,
    "worker": HERE,
}
OPTIONS = {  # options that make another decision of a command, or show something else
    "dead-letters": {"--clear"},
    "link": {"--without-list"},
    "retry": {"--contacts"},
    "status": {"--rejected", "--unread", "--contacts"},
}


def command_of(words: str) -> str:
    """The command in the words of a row, without its arguments and options."""
    named = [word for word in words.split() if word == word.lower() and not word.startswith("-")]
    return " ".join(named)


def test_each_command_has_its_request_or_a_reason() -> None:
    leaves = {" ".join(path) for path, one in ALL.items() if not getattr(one, "commands", {})}
    runs_alone = {"opt-outs"}  # a group that lists, too
    served = {command_of(words) for words, *_ in ROWS}
    assert served - leaves - runs_alone == set(), "the table names a command that does not exist"
    assert leaves - served == set(NOT_OVER_HTTP), "a command needs its row in docs/http.md, or a reason here"
    assert served & set(NOT_OVER_HTTP) == set()


def test_each_request_of_the_table_exists() -> None:
    paths = document()["paths"]
    missing = [(method, path) for _, method, path in ROWS if method.lower() not in paths.get(path, {})]
    assert missing == []
    assert len(ROWS) > 40


def test_decisions_that_are_options_have_their_requests_too() -> None:
    for command, options in OPTIONS.items():
        known = {option for one in ALL[tuple(command.split())].params for option in one.opts}
        assert options <= known, command
        written = {word for words, *_ in ROWS if command_of(words) == command for word in words.split()}
        assert options <= written, command
