"""Folders and packages with the names of ours: they are left alone, or named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vtsync
from tests.harness import Fleet, fleet, until
from worker.core.isolated import isolated

TEXT = {"account": "main", "to": "+14155550101", "message": "hello"}


def somebody_elses_project(folder: Path) -> None:
    """Modules with the names of ours, and of libraries, that must never be imported."""
    for name in ("config", "worker", "crm_adapters"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('imported the folder {name}')\n")
    for name in ("config", "worker", "structlog", "kombu", "requests"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('imported {name}.py')\n")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Fleet]:
    somebody_elses_project(tmp_path)
    with fleet(tmp_path) as running:
        running.configure()
        yield running


def test_up_works_in_a_folder_with_modules_of_the_same_names(made: Fleet) -> None:
    up = made.start("up")
    until("the store", lambda: (made.folder / "data" / "vtsync.sqlite3").exists())
    made.service().send_task("vtsync.send_message", kwargs=TEXT, ignore_result=True)
    until("the text", lambda: len(made.sandbox.messages()) == 1)
    assert up.poll() is None
    assert b"starting it again" not in made.log(up)


@pytest.mark.parametrize("names", [["config"], ["crm_adapters"], ["worker"], ["config", "worker"]])
def test_a_package_that_hides_one_of_ours_is_named(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')\n")
    path = os.pathsep.join((str(tmp_path), str(vtsync.HOME)))
    done = subprocess.run(
        isolated("vtsync", "--help"),
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert f'"{names[0]}" from {tmp_path / names[0]}' in done.stderr
    assert "PYTHONPATH" in done.stderr


def test_a_module_that_hides_a_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.py").write_text("")
    assert vtsync.hidden_package() == ""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "config")
    assert f"from {tmp_path / 'config.py'}" in vtsync.hidden_package()
