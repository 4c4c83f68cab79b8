"""The entry point of the ``vtsync`` command: check that Python finds our packages, then run the command.

Our packages have common names. If another installed package, or a folder on ``PYTHONPATH``, has the same name, imports
fail with misleading errors. So this module has an unusual name, and imports none of our packages before the check.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("config", "crm_adapters", "worker")
HOME = Path(__file__).resolve().parent
"""The folder of this file, which also contains our packages."""


def main() -> None:
    """Run ``vtsync``. Exit with 2 if another package hides one of ours."""
    if problem := hidden_package():
        print(problem, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    from worker.cli import main as run

    run()


def hidden_package() -> str:
    """Describe a package of ours that Python would import from somewhere else, and what to do; "" if there is none."""
    for name in PACKAGES:
        found = _location(find_spec(name))
        if found is not None and found != HOME / name:
            return (
                f'vtsync cannot start: Python imports the package "{name}" from {found} instead of {HOME / name}.\n'
                "Another package has the same name and comes first. Rename or uninstall that package, remove its folder"
                " from PYTHONPATH, or install vtsync into a virtual environment of its own."
            )
    return ""


def _location(spec: ModuleSpec | None) -> Path | None:
    """Return the folder of a package, or the file of a module; None if Python finds nothing."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None


if __name__ == "__main__":
    main()
