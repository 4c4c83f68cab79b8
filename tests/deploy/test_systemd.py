"""docs/deploy/systemd: units that start our processes without rights."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, NEEDED, check_command

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
RIGHTS = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "PrivateIPC": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictNamespaces": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "UMask": "0077",
}
MOST_EXPOSED = 1.5
"""The highest exposure, of 10, that `systemd-analyze security` may find. What is left is the network itself."""


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Read a unit: a key may stand in it several times."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in path.read_text().splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(header[1], {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return sections


def test_the_units_are_read_as_systemd_reads_them() -> None:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(UNITS[0].read_text())
    assert {name: set(section) for name, section in unit(UNITS[0]).items()} == {
        name: set(parsed[name]) for name in parsed.sections()
    }


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_start_commands_of_ours_without_rights(path: Path) -> None:
    sections = unit(path)
    service = {key: values[-1] for key, values in sections["Service"].items()}
    program, command = service["ExecStart"].split()
    assert program == "/opt/vtsync/bin/vtsync"
    check_command([command])
    assert service["User"] == "vtsync"
    assert {key: service.get(key) for key in RIGHTS} == RIGHTS
    assert sections["Service"]["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    if command in NEEDED:
        assert service["Restart"] == "always"
        assert float(service["TimeoutStopSec"]) >= NEEDED[command]
        assert sections["Install"]["WantedBy"] == ["vtsync.target"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_itself_finds_little_exposed(path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze on this machine")
    command = [program, "security", "--offline=true", "--no-pager", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+ ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze judges no files: {done.stderr.strip()[:100]}")
    assert float(found[1]) <= MOST_EXPOSED, done.stdout
