"""The ``vtsync`` command: thin doors to the same functions that the tasks call.

Modules here import nothing heavy at the top, so that ``vtsync --help`` answers at once.
"""

from __future__ import annotations


def main() -> None:
    """The entry point of ``vtsync``."""
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
