"""Print constraints for pip: each library at the lowest version that pyproject.toml admits. Tools may be newer."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,]+\])?>=(?P<lowest>[\w.]+)")
TOOLS = "dev"


def main() -> None:
    """Print one line for each library."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    libraries = [*project["dependencies"], *(one for name, extra in extras.items() if name != TOOLS for one in extra)]
    for requirement in libraries:
        found = _REQUIREMENT.match(requirement)
        if found is None:
            raise SystemExit(f"{requirement} has no lowest version; write >= in pyproject.toml")
        print(f"{found['name']}=={found['lowest']}")


if __name__ == "__main__":
    main()
