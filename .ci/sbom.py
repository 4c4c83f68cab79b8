"""Write the bill of materials of a lock file: CycloneDX 1.6 as JSON. The same lock gives the same bytes."""

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_PACKAGE = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^ ;\\]+)(?: *; *(?P<marker>[^\\]+?))? *\\?$")
_HASH = re.compile(r"^ +--hash=sha256:(?P<content>[0-9a-f]{64}) *\\?$")


def components(lock: str) -> Iterator[dict[str, Any]]:
    """Yield a component for each package of a lock file, in its order. Raises ValueError for a line of another kind."""
    current: dict[str, Any] | None = None
    for line in lock.splitlines():
        if package := _PACKAGE.match(line):
            if current:
                yield current
            current = _component(**package.groupdict())
        elif (found := _HASH.match(line)) and current:
            current["hashes"].append({"alg": "SHA-256", "content": found["content"]})
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"not a line of a lock file: {line[:80]}")
    if current:
        yield current


def _component(name: str, version: str, marker: str | None) -> dict[str, Any]:
    purl = f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{version}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "hashes": []}
    # A package for some systems or versions of Python alone.
    return found | ({"properties": [{"name": "vtsync:marker", "value": marker}]} if marker else {})


def bill(lock: str, project: dict[str, Any]) -> dict[str, Any]:
    """Return the bill of the project with the packages of a lock file. ``hashes``: those of each file of a release."""
    name, version = project["name"], project["version"]
    own = f"pkg:pypi/{name}@{version}"
    found = list(components(lock))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own + lock)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": name,
                "version": version,
                "purl": own,
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": found,
        "dependencies": [{"ref": own, "dependsOn": [one["bom-ref"] for one in found]}],
    }


def main() -> None:
    """Print the bill of the lock file that is named."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    print(json.dumps(bill(Path(sys.argv[1]).read_text(), project), indent=1))


if __name__ == "__main__":
    main()
