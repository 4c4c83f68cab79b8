"""Writes the beginning of an adapter: a package of its own that installs, works and passes the conformance tests."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from crm_adapters.registry import adapter_names

_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_FILES = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "vtsync_@name@/__init__.py": "init.py.txt",
    "vtsync_@name@/adapter.py": "adapter.py.txt",
    "tests/fake_crm.py": "fake_crm.py.txt",
    "tests/test_conformance_@name@.py": "test_conformance.py.txt",
}


class SkeletonRefused(Exception):
    """The package cannot be written. The text says why, and what to do."""


def write_skeleton(name: str, folder: Path) -> list[Path]:
    """Write a package for the adapter ``name`` into ``folder``, which must be empty or new. Return the files.

    Raises SkeletonRefused.
    """
    if not _NAME.fullmatch(name):
        raise SkeletonRefused(
            f'"{name}" is no name for an adapter; use lower-case letters, digits and underscores, such as my_crm'
        )
    if name in adapter_names():
        raise SkeletonRefused(f'there is already an adapter "{name}"; choose another name')
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SkeletonRefused(f"{folder} exists and is not an empty folder; choose another one with --folder")
        return [_write(folder / _named(path, name), template, name) for path, template in _FILES.items()]
    except OSError as error:
        raise SkeletonRefused(f"{folder} cannot be written ({error.strerror}); choose another --folder") from None


def _write(path: Path, template: str, name: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_named((files(__package__) / template).read_text("utf-8"), name), "utf-8")
    return path


def _named(text: str, name: str) -> str:
    words = [word.capitalize() for word in name.split("_")]
    for mark, value in (
        ("@name@", name),
        ("@NAME@", name.upper()),
        ("@Title@", " ".join(words)),
        ("@Class@", "".join(words)),
    ):
        text = text.replace(mark, value)
    return text
