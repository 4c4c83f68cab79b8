"""Lists the licence of each package of a lock file, as installed here. Exits with 1 if one may not be in the image."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

from sbom import components

ALLOWED = {
    r"\bApache\b": "permissive",
    r"\bBSD\b": "permissive",
    r"\bISC\b": "permissive",
    r"\bMIT\b": "permissive",
    r"\bPSF\b|Python Software Foundation": "that of Python itself",
    r"\bMPL\b|Mozilla Public": "its own files stay under it, and ours do not come under it",
    r"\bLGPL|Lesser General Public": "a library that is imported and can be replaced",
}
"""How the names of licences are written, and why packages under them may be in the image of our program."""
_GROUP = re.compile(r"\(([^()]* (?:AND|OR) [^()]*)\)")
_CHOICE = re.compile(r"\s+OR\s+")
_ALL = re.compile(r"\s+AND\s+|; ")


def licence_of(package: PackageMetadata) -> str:
    """Return the licence that a package declares: an SPDX expression, classifiers, or the first line of its text."""
    if expression := package.get("License-Expression"):
        return expression
    classifiers = [one.split(" :: ") for one in package.get_all("Classifier") or ()]
    named = [parts[-1] for parts in classifiers if parts[0] == "License" and parts[-1] != "OSI Approved"]
    return "; ".join(named) or ((package.get("License") or "").strip().splitlines() or [""])[0]


def is_allowed(licence: str) -> bool:
    """Return True if we may ship a package under this licence. If there are several, with "; ", all must be allowed."""
    while group := _GROUP.search(licence):
        licence = licence.replace(group[0], "MIT" if is_allowed(group[1]) else "refused")
    return any(all(map(_is_known, _ALL.split(choice))) for choice in _CHOICE.split(licence))


def _is_known(name: str) -> bool:
    return any(re.search(pattern, name) for pattern in ALLOWED)


def problems(lock: str) -> Iterator[str]:
    """Print each package with its licence, and yield what is wrong."""
    for component in components(lock):
        name = component["name"]
        try:
            licence = licence_of(metadata(name))
        except PackageNotFoundError:
            if "properties" not in component:  # those with a marker are for other systems
                yield f"{name} is not installed here, so its licence is not known; run `make install`"
            continue
        print(f"{name} {component['version']}: {licence}")
        if not is_allowed(licence):
            yield f'{name} has the licence "{licence}": decide if it may be in the image, and write why into ALLOWED'


def main() -> None:
    """Check the lock files that are named."""
    found = [problem for path in sys.argv[1:] for problem in problems(Path(path).read_text())]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
