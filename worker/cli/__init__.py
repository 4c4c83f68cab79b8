"""The ``vtsync`` command: thin wrappers around the functions that the tasks call.

Modules here import nothing heavy at the top, so that ``vtsync --help`` is fast.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer import Typer


def main() -> None:
    """Run ``vtsync``."""
    if os.getpid() == 1:
        # The first process of a container ignores signals that it has no handler for. Without this handler, a process
        # that is asked to stop while it starts would run until it is killed. Long-running commands install their own.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from worker.cli.common import run

    run(load_commands())


def load_commands() -> Typer:
    """Import every module of commands and return the application that they belong to."""
    from worker.cli import setup  # noqa: F401, I001 - first, because `vtsync --help` lists commands in this order
    from worker.cli import (  # noqa: F401 - each registers its commands
        connect,
        contacts,
        doctor,
        fleet,
        forwards,
        health,
        opt_outs,
        relay,
        texts,
        upkeep,
        web,
    )
    from worker.cli.common import app

    return app
