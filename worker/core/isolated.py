"""Commands for child processes that import our modules, whatever the current folder contains."""

from __future__ import annotations

import sys


def isolated(module: str, *arguments: str) -> list[str]:
    """Return the command that runs ``module`` with this interpreter.

    ``python -m`` alone puts the current folder first on the import path: a ``config.py`` there would replace ours.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
