"""Finds and opens the files of an export."""

from __future__ import annotations

import errno
import glob
import gzip
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from crm_adapters.base import SourceIncomplete, SourceInvalid, SourceUnavailable
from crm_adapters.csv.versions import NamedFile, named_file

WORKBOOKS = frozenset({".xlsx", ".xlsm"})
_TEXTS = frozenset({".csv", ".tsv", ".tab", ".txt"})


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file of an export. ``name`` is its name in messages; ``entry`` the number of its path in the options.

    ``key`` is what the versions of a file have in common; the adapter's memory is kept under it. ``real`` is the same
    file without symbolic links.
    """

    path: Path
    name: str
    entry: int
    key: str
    named: NamedFile
    size: int
    changed_ns: int
    real: Path

    @property
    def stamp(self) -> list[str | int]:
        """What differs if the file is another one, or has another content."""
        return [self.name, self.size, self.changed_ns]

    @property
    def is_workbook(self) -> bool:
        """True for an Excel workbook."""
        return self.path.suffix.lower() in WORKBOOKS


def find_files(paths: Sequence[Path]) -> list[ExportFile]:
    """Return every file once. Raises SourceInvalid if a path leads to no file, or a link leads out of its folder."""
    found: dict[Path, int] = {}
    for entry, path in enumerate(paths):
        matches = _matches(path)
        if not matches:
            kind = "holds no CSV file" if path.is_dir() else "does not exist"
            raise SourceInvalid(f'{path} {kind}; correct "path", or put the export there')
        for match in matches:
            found.setdefault(match, entry)
    stats = {path: path.stat() for path in found}
    named = {path: named_file(_stem(path, paths[entry]), stats[path].st_mtime) for path, entry in found.items()}
    entries: dict[str, set[int]] = {}
    for path, entry in found.items():
        entries.setdefault(named[path].family, set()).add(entry)
    counts = Counter(path.name for path in found)
    return [
        ExportFile(
            path,
            path.name if counts[path.name] == 1 else str(path),
            entry,
            named[path].family if len(entries[named[path].family]) == 1 else f"{path.parent}: {named[path].family}",
            named[path],
            stats[path].st_size,
            stats[path].st_mtime_ns,
            _real(path, paths[entry]),
        )
        for path, entry in found.items()
    ]


def _real(path: Path, given: Path) -> Path:
    """Return the file without symbolic links. Raises SourceInvalid if a link leads out of the folder of the exports.

    Whoever may write into that folder must not have other files of this machine read.
    """
    real = path.resolve()
    if path != given and not real.is_relative_to(_root(given).resolve()):
        raise SourceInvalid(
            f'{path} is a link to a file outside of {_root(given)}; put the file itself there, or name it in "path"'
        )
    return real


def _stem(path: Path, given: Path) -> str:
    """Return the part of a path that varies, without its suffix."""
    root = _root(given)
    inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    return str(inside.with_name(_plain_stem(path)))


def _root(given: Path) -> Path:
    """Return the folder in which a path of the options begins to vary."""
    if given.is_dir():
        return given
    fixed = given.parent.parts
    for index, part in enumerate(fixed):
        if glob.has_magic(part):
            return Path(*fixed[:index])
    return given.parent


def _matches(path: Path) -> list[Path]:
    """Return the files of a path, folder or pattern, by name. Workbooks of a folder count if it has no CSV file."""
    if path.is_dir():
        inside = [child for child in path.iterdir() if not child.name.startswith((".", "~")) and child.is_file()]
        texts = [child for child in inside if _plain_suffix(child) in _TEXTS]
        return sorted(texts or (child for child in inside if child.suffix.lower() in WORKBOOKS))
    if path.is_file():
        return [path]
    found = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(match for match in map(Path, found) if match.is_file() and not match.name.startswith("~$"))


def _plain_suffix(path: Path) -> str:
    """Return ``.csv`` for ``contacts.csv`` and for ``contacts.csv.gz``."""
    return Path(path.stem if is_gzip(path) else path.name).suffix.lower()


def _plain_stem(path: Path) -> str:
    return Path(path.stem).stem if is_gzip(path) else path.stem


def is_gzip(path: Path) -> bool:
    """Return True for a compressed file."""
    return path.suffix.lower() == ".gz"


@contextmanager
def readable() -> Iterator[None]:
    """Turn errors of reading into AdapterErrors."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceIncomplete(f"a compressed export is damaged or incomplete ({error}); export it again") from error
    except OSError as error:
        what = error.filename or "the export"
        raise SourceUnavailable(
            f"{what} cannot be read ({error.strerror or error}); the next run tries again"
        ) from error


@contextmanager
def open_export(export: ExportFile) -> Iterator[BinaryIO]:
    """Open a file of an export, compressed or not. Raises SourceInvalid."""
    name = export.name
    try:
        file = open(export.real, "rb", opener=_without_links)  # noqa: SIM115 - Path.open takes no opener
    except FileNotFoundError:
        raise SourceInvalid(f"{name} does not exist any more; put the export back") from None
    except PermissionError:
        raise SourceInvalid(f"{name} is not readable for this user; correct its permissions") from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise SourceInvalid(f"{name} has just become a link to another file; put the file itself there") from None
    with file:
        if not is_gzip(export.path):
            yield file
            return
        with gzip.open(file) as unpacked:
            yield cast(BinaryIO, unpacked)


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))
