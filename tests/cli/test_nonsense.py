"""Every option and argument of every command gets values that make no sense: each time sentences, never a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from tests.cli.conftest import Shell
from worker.cli import common, load_commands

NUMBERS = ("-1", "0", "abc", "", "nan", "99999999999999999999")
TEXTS = ("", "nonsense", "%s%n{}", "\udcff", "[bold]x[/nope]\x1b[31m", "x" * 5000, "http://[")
PATHS = ("", "/", "/dev/null/x", "x" * 5000, "%(here)s")
SERVES = {"up", "worker", "beat", "web", "sandbox", "demo"}
"""Commands that run until they are stopped. They get only what they must refuse."""
ACCEPTED = {("web", "port", "0"), ("sandbox", "api_port", "0"), ("sandbox", "create_port", "0")}
"""What a command that serves takes: port 0 is any free port."""


def commands(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, *path, name)
        else:
            yield (*path, name), one


def values_for(parameter: Any) -> tuple[str, ...]:
    described = getattr(parameter, "type_descriptor", None)  # of Typer; Click has only the type
    kind = str(getattr(described, "annotation", getattr(parameter, "type", ""))).lower()
    return NUMBERS if "int" in kind or "float" in kind else PATHS if "path" in kind else TEXTS


def plausible(parameter: Any) -> str:
    """What the other, required parameters get."""
    return {"to": "+14155550101", "number": "+14155550101", "message": "Hi"}.get(parameter.name or "", "nonsense")


def words(parameter: Any, value: str) -> list[str]:
    return [parameter.opts[0], value] if parameter.opts[0].startswith("-") else ["--", value]


def calls() -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    group = typer.main.get_command(load_commands())
    for path, command in commands(group):
        required = [one for one in command.params if one.required]
        for parameter in command.params:
            if getattr(parameter, "is_flag", False):
                continue
            for value in values_for(parameter):
                if path[0] in SERVES and ((path[0], parameter.name, value) in ACCEPTED or value == ""):
                    continue
                others = [words(one, plausible(one)) for one in required if one is not parameter]
                given = [*others, words(parameter, value)]
                given.sort(key=lambda one: one[0] == "--")
                yield path, str(parameter.name), [*path, *(word for one in given for word in one)]


CALLS = list(calls())


@pytest.mark.parametrize("path", sorted({" ".join(path) for path, _, _ in CALLS}))
def test_nonsense_gets_a_sentence(shell: Shell, path: str) -> None:
    failures = []
    for _, _, arguments in (one for one in CALLS if " ".join(one[0]) == path):
        common.console.cache_clear()
        common.error_console.cache_clear()
        result = CliRunner().invoke(load_commands(), arguments)
        shown = [word[:40] for word in arguments]
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            last = traceback.extract_tb(result.exception.__traceback__)[-1]
            failures.append(f"{shown}: {result.exception!r:.200} at {last.filename}:{last.lineno}")
        elif result.exit_code not in (0, 1, 2) or (result.exit_code and not result.output.strip()):
            failures.append(f"{shown}: code {result.exit_code}, {result.output[:100]!r}")
    assert not failures, "\n" + "\n".join(failures)
