"""The entry point of the ``vtsync`` command: check that Python finds our packages, then run the command.

Our packages have common names. Another installed package, or a folder on ``PYTHONPATH``, may have the same name, and
then every import fails in its own way. So this module has a name of its own and imports nothing before the check.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("config", "crm_adapters", "worker")
HOME = Path(__file__).resolve().parent
"""The folder in which our packages lie, beside this file."""


def main() -> None:
    """Run ``vtsync``; exits with 2 when another package hides one of ours."""
    if problem := hidden_package():
        print(problem, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    from worker.cli import main as run

    run()


def hidden_package() -> str:
    """Say which of our packages Python would import from somewhere else, and what to do; "" when there is none."""
    for name in PACKAGES:
        found = _place(find_spec(name))
        if found is not None and found != HOME / name:
            return (
                f'vtsync cannot start: Python imports the package "{name}" from {found}, and not from {HOME / name}.\n'
                "Another package has the same name and comes first. Rename or uninstall that package, take its folder"
                " off PYTHONPATH, or install vtsync into a virtual environment of its own."
            )
    return ""


def _place(spec: ModuleSpec | None) -> Path | None:
    """Return the folder of a package, or the file of a module; None where Python finds nothing."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None


if __name__ == "__main__":
    main()
