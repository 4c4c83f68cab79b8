"""The version of this program."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Return the installed version."""
    try:
        return version("virtualtext-crm-sync")
    except PackageNotFoundError:  # run from a copy of the sources
        return "unknown"
