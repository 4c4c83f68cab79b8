"""What the project is made of: its licence, the bill of materials, the lowest versions, the images by digest."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.deploy.files import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE))
LIBRARIES = [
    Requirement(one)
    for one in PROJECT["dependencies"]
    + [one for name, extra in PROJECT["optional-dependencies"].items() if name != "dev" for one in extra]
]


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, ROOT / ".ci" / script, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_licence_is_the_one_that_the_project_declares() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert all((ROOT / name).is_file() for name in PROJECT["license-files"])
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-otel-sentry.lock"])
def test_each_package_of_the_images_has_a_licence_that_we_may_ship(lock: str) -> None:
    listed = run("licences.py", str(ROOT / lock)).splitlines()
    assert len(listed) > 40
    assert any(line.startswith("psycopg ") and line.endswith("LGPL-3.0-only") for line in listed)


@pytest.mark.parametrize(
    ("licence", "is_allowed"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("GPL-3.0-only AND (Apache-2.0 OR MIT)", False),
        ("GPL-3.0-only OR MIT", True),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("GNU General Public License (GPL)", False),
        ("GNU Affero General Public License v3", False),
        ("Apache Software License; Other/Proprietary License", False),
        ("", False),
    ],
)
def test_which_licences_are_allowed(licence: str, is_allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    assert importlib.import_module("licences").is_allowed(licence) is is_allowed


# --- what is in the package


TRACKED = subprocess.run(
    ["git", "ls-files", "config", "crm_adapters", "worker"], cwd=ROOT, check=True, capture_output=True, text=True
).stdout.split()


def test_the_wheel_has_every_file_that_the_packages_need() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    others = [Path(one) for one in TRACKED if not one.endswith(".py")]
    assert len(others) > 20
    assert [str(one) for one in others if not any(one.match(pattern) for pattern in patterns)] == []
    assert {f"{name}/py.typed" for name in ("config", "crm_adapters", "worker")} <= set(TRACKED)


# --- the bill of materials


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-otel-sentry.lock"])
def test_the_bill_has_every_locked_package_with_its_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    bill = json.loads(run("sbom.py", str(ROOT / lock)))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    packages = dict(re.findall(r"^([\w.-]+)==([^ ;\\]+)", text, re.MULTILINE))
    assert {one["name"]: one["version"] for one in bill["components"]} == packages
    assert sum(len(one["hashes"]) for one in bill["components"]) == text.count("--hash=sha256:")
    assert all(one["purl"] == f"pkg:pypi/{one['name'].lower()}@{one['version']}" for one in bill["components"])
    references = [one["bom-ref"] for one in bill["components"]]
    assert len(set(references)) == len(references)
    assert bill["dependencies"][0]["dependsOn"] == references


def test_the_same_lock_gives_the_same_bill_and_another_one_another(tmp_path: Path) -> None:
    first = run("sbom.py", str(ROOT / "requirements.lock"))
    assert first == run("sbom.py", str(ROOT / "requirements.lock"))
    changed = tmp_path / "requirements.lock"
    changed.write_text((ROOT / "requirements.lock").read_text().replace("alembic==", "alembic==9"))
    assert json.loads(first)["serialNumber"] != json.loads(run("sbom.py", str(changed)))["serialNumber"]


def test_a_line_that_is_not_understood_is_left_out_of_no_bill(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("something @ file:///elsewhere\n")
    with pytest.raises(subprocess.CalledProcessError):
        run("sbom.py", str(lock))


# --- lowest versions


def test_make_lowest_pins_each_library_at_its_lowest_version_and_no_tool() -> None:
    pins = dict(line.split("==") for line in run("lowest.py").splitlines())
    for library in LIBRARIES:
        lowest = Version(pins.pop(library.name))
        assert library.specifier.contains(lowest), library
        assert all(one.operator != ">=" or Version(one.version) == lowest for one in library.specifier)
        assert lowest <= Version(LOCKED[library.name]), f"{library.name} is locked below its lowest version"
    assert pins == {}


# --- images by digest


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that are changed, and a `docker` that knows a digest for each image."""
    (tmp_path / ".ci").mkdir()
    for name in (".ci/pin-images.sh", "docker-compose.yml", "Dockerfile"):
        shutil.copy(ROOT / name, tmp_path / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        '#!/bin/sh\nfor last; do :; done\necho "sha256:$(printf %s "$last$DAY" | sha256sum | cut -c1-64)"\n'
    )
    docker.chmod(0o755)
    return tmp_path


def pin(checkout: Path, day: str) -> list[str]:
    environment = os.environ | {"PATH": f"{checkout}/bin:{os.environ['PATH']}", "DAY": day}
    command = ["sh", checkout / ".ci" / "pin-images.sh"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def images(checkout: Path) -> list[str]:
    compose = re.findall(r"^  \w+: &\w+-image (.+)$", (checkout / "docker-compose.yml").read_text(), re.MULTILINE)
    return compose + re.findall(r"^ARG IMAGE=(.+)$", (checkout / "Dockerfile").read_text(), re.MULTILINE)


def test_each_image_gets_its_digest_and_keeps_its_tag(checkout: Path) -> None:
    before = images(checkout)
    assert len(before) == 8
    said = pin(checkout, "monday")
    first = images(checkout)
    assert first == said
    for tag, pinned in zip(before, first, strict=True):
        assert re.fullmatch(re.escape(tag.partition("@")[0]) + "@sha256:[0-9a-f]{64}", pinned)
    assert pin(checkout, "monday") == first, "a second run changes nothing"
    assert pin(checkout, "tuesday") == images(checkout) != first, "a moved tag has another digest"
    assert "FROM $IMAGE" in (checkout / "Dockerfile").read_text()


def test_an_image_without_a_digest_ends_it(checkout: Path) -> None:
    (checkout / "bin" / "docker").write_text("#!/bin/sh\necho not found\n")
    with pytest.raises(subprocess.CalledProcessError):
        pin(checkout, "monday")
