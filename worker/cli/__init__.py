"""The ``vtsync`` command: thin wrappers around the functions that the tasks call.

Modules here import nothing heavy at the top, so that ``vtsync --help`` is fast.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer import Typer


def main() -> None:
    """Run ``vtsync``."""
    from worker.cli.group import show_error_as_json
    from worker.cli.interruption import Interrupted, unwind_on_signals
    from worker.cli.output import prepare_output

    try:
        # At once, and not only where a command begins: the first process of a container ignores signals that it has no
        # handler for, and would not stop while it starts. Long-running commands install their own handlers.
        unwind_on_signals()
        prepare_output()
        load_commands()()
    except Interrupted as interrupted:
        sentence = "interrupted; nothing is lost, run the same command again to continue"
        sys.stderr.write(f"{sentence}\n")
        show_error_as_json(sentence, interrupted.code)
        sys.exit(interrupted.code)


def load_commands() -> Typer:
    """Import every module of commands and return the application that they belong to."""
    from worker.cli import init, setup  # noqa: F401, I001 - first, because `vtsync --help` lists commands in this order
    from worker.cli import (  # noqa: F401 - each registers its commands
        alerts,
        connect,
        contacts,
        doctor,
        encryption,
        fleet,
        forwards,
        health,
        link,
        opt_outs,
        pauses,
        people,
        reconcile,
        relay,
        send_file,
        texts,
        triggers,
        upkeep,
        users,
        web,
    )
    from worker.cli.common import app

    return app
