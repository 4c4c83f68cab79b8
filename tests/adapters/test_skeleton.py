"""The package that `vtsync adapters new` writes installs, works and passes the conformance tests as it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crm_adapters.skeleton import SkeletonRefused, write_skeleton

ROOT = Path(__file__).parents[2]


def run(*command: str, folder: Path, path: Path) -> str:
    """Run a Python module where the package is importable."""
    environment = os.environ | {"PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "vtsync-my_crm"
    write_skeleton("my_crm", folder)
    return folder


def test_its_own_tests_pass(package: Path) -> None:
    told = run("pytest", "-q", "-p", "no:cacheprovider", folder=package, path=package)
    passed = re.search(r"(\d+) passed", told)
    assert passed
    assert int(passed[1]) > 40
    assert "failed" not in told
    assert "(hook `upstream`)" not in told  # the failures of a CRM are tested from the start


def test_it_is_installed_as_an_adapter(package: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    pip = ("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(*pip, "--target", str(target), str(package), folder=tmp_path, path=tmp_path)
    (shown,) = json.loads(run("vtsync", "adapters", "my_crm", "--json", folder=tmp_path, path=target))
    assert shown["source"] == "vtsync-my_crm"
    assert shown["summary"] == "Contacts of My Crm."
    assert [option["name"] for option in shown["options"]] == ["url", "token"]


def test_it_is_tidy(package: Path) -> None:
    settings = ("--isolated", "--line-length", "120")
    run("ruff", "check", *settings, "--select", "F,E,W,I,UP,B,SIM,RET,PTH", ".", folder=package, path=package)
    run("ruff", "format", *settings, "--check", ".", folder=package, path=package)
    text = "".join(path.read_text("utf-8") for path in package.rglob("*") if path.suffix in (".py", ".md", ".toml"))
    assert not re.search(r"@\w+@|TODO|FIXME|XXX", text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("csv", 'there is already an adapter "csv"'),
        ("My CRM", "is no name for an adapter"),
        ("my-crm", "is no name for an adapter"),
        ("1crm", "is no name for an adapter"),
        ("../crm", "is no name for an adapter"),
        ("", "is no name for an adapter"),
    ],
)
def test_a_name_that_does_not_work_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SkeletonRefused, match=said):
        write_skeleton(name, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "adapter.py").write_text("mine")
    for folder in (tmp_path, tmp_path / "adapter.py"):
        with pytest.raises(SkeletonRefused, match="exists and is not an empty folder"):
            write_skeleton("acme", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["adapter.py"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SkeletonRefused, match=r"cannot be written \(Not a directory\)"):
        write_skeleton("acme", tmp_path / "file" / "new")
