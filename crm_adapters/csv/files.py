"""Finds and opens the files of an export."""

from __future__ import annotations

import glob
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from crm_adapters.base import SourceIncomplete, SourceInvalid, SourceUnavailable

_SUFFIXES = {".csv", ".tsv", ".tab", ".txt"}


def find_files(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return every file once, with its name in messages. Raises SourceInvalid if a path leads to no file."""
    found: dict[Path, None] = {}
    for path in paths:
        matches = _matches(path)
        if not matches:
            kind = "holds no CSV file" if path.is_dir() else "does not exist"
            raise SourceInvalid(f'{path} {kind}; correct "path", or put the export there')
        found.update(dict.fromkeys(matches))
    names = [path.name for path in found]
    return [(path, path.name if names.count(path.name) == 1 else str(path)) for path in found]


def _matches(path: Path) -> list[Path]:
    """Return the files of a path, folder or pattern, by name."""
    if path.is_dir():
        inside = (child for child in path.iterdir() if _plain_suffix(child) in _SUFFIXES and child.is_file())
        return sorted(child for child in inside if not child.name.startswith((".", "~")))
    if path.is_file():
        return [path]
    found = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(match for match in map(Path, found) if match.is_file())


def _plain_suffix(path: Path) -> str:
    """Return ``.csv`` for ``contacts.csv`` and for ``contacts.csv.gz``."""
    return Path(path.stem if _is_gzip(path) else path.name).suffix.lower()


def _is_gzip(path: Path) -> bool:
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


def open_export(path: Path, name: str) -> BinaryIO:
    """Open a file of an export, compressed or not. Raises SourceInvalid."""
    try:
        return cast(BinaryIO, gzip.open(path)) if _is_gzip(path) else path.open("rb")
    except FileNotFoundError:
        raise SourceInvalid(f"{name} does not exist any more; put the export back") from None
    except PermissionError:
        raise SourceInvalid(f"{name} is not readable for this user; correct its permissions") from None
