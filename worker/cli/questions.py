"""Questions of a command to the person at the terminal. Without a terminal, options answer them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from worker.cli.common import say, usage
from worker.core.text import visible


class Questions:
    """Asks on a terminal. Elsewhere, and with ``takes_defaults``, it takes defaults, or names the option to give."""

    def __init__(self, *, takes_defaults: bool = False) -> None:
        self.asks = sys.stdin.isatty() and not takes_defaults

    def text(self, question: str, option: str, default: str | None = None, *, hidden: bool = False) -> str:
        """Return an answer of the person, or the default. ``option``: what gives the answer without asking."""
        if self.asks:
            shown = "" if hidden else default
            answer: str = typer.prompt(
                visible(question), default=shown, hide_input=hidden, show_default=bool(shown), err=True
            )
            return answer.strip()
        if default is None:
            usage(f"nobody can be asked here: {question}; give {option}")
        return default

    def yes(self, question: str, *, default: bool) -> bool:
        """Return True if the person agrees."""
        return typer.confirm(visible(question), default=default, err=True) if self.asks else default

    def choice(self, question: str, option: str, choices: Sequence[str], default: int | None = 0) -> int:
        """Return the index of the chosen one."""
        if not self.asks:
            if default is None:
                usage(f"nobody can be asked here: {question}; give {option}")
            return default
        for number, one in enumerate(choices, 1):
            say(f"  {number:>2}  {one}", hang=6)
        while True:
            answer = self.text(question, option, None if default is None else str(default + 1))
            if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(choices):
                return int(answer) - 1
            say(f"Type a number from 1 to {len(choices)}.", "yellow")
