"""The ``vtsync`` command: thin doors to the same functions that the tasks call.

Modules here import nothing heavy at the top, so that ``vtsync --help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """The entry point of ``vtsync``."""
    if os.getpid() == 1:
        # The first process of a container ignores what it has no handler for: asked to stop while it starts, it would
        # be killed much later. What runs long installs handlers of its own.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from worker.cli import (  # noqa: F401 - each registers its commands
        contacts,
        doctor,
        fleet,
        forwards,
        health,
        opt_outs,
        relay,
        setup,
        texts,
        upkeep,
        web,
    )
    from worker.cli.common import app, run

    run(app)
