"""Files and folders that only the user who runs vtsync can read: they hold numbers, texts and jobs.

Everything in ``data_dir`` is made here, or by a library in a process that called ``make_files_private``.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from config.types import is_system_folder

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""The permission bits of the group and of everybody else."""
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


def make_files_private() -> None:
    """Let this process create only private files, whatever the umask of its parent was.

    This covers files that libraries create: messages and results of the embedded broker, logs of SQLite.
    """
    os.umask(OTHERS)


def private_folder(path: Path) -> Path:
    """Create the folder and its parents if they are missing, and close it to others. Return it. Raises OSError."""
    if not path.is_dir():
        if not path.parent.is_dir():
            private_folder(path.parent)
        path.mkdir(PRIVATE_FOLDER, exist_ok=True)
    close_to_others(path)
    return path


def private_file(path: Path) -> Path:
    """Create the file if it is missing, and close it to others. Return it. Raises OSError."""
    if not path.exists():
        path.touch(PRIVATE_FILE)
    close_to_others(path)
    return path


def close_to_others(path: Path) -> None:
    """Take the group's and other users' permissions away, as far as this user may. `vtsync doctor` reports the rest.

    A folder such as /tmp, in which everybody may create files, stays as it is: it belongs to nobody. So does a folder
    of the operating system, such as / or /var, without which nobody can work.
    """
    if is_system_folder(path):
        return
    with suppress(OSError):  # missing, or another user's
        mode = path.stat().st_mode
        if mode & OTHERS and not mode & stat.S_ISVTX:
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)


def open_to_others(folder: Path) -> list[Path]:
    """Return what other users may read or change: the folder, and everything in it, sorted."""
    found = [path for path in (folder, *folder.rglob("*")) if not path.is_symlink() and _is_open(path)]
    return sorted(found)


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & OTHERS)
    except OSError:  # removed meanwhile
        return False
