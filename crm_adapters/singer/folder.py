"""The folder of a tap's files, which hold secrets: private, locked while it is in use, and deleted afterwards."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

_PREFIX = "vtsync-tap-"
_LOCK = "lock"
_PID = "pid"
_UNLOCKED_SECONDS = 60.0
"""A folder without a lock is younger than this, or its owner died before it could lock it."""


class TapFolder:
    """A folder that only this user can read, in which a tap runs.

    A worker that is killed leaves both behind; the next run stops the tap and deletes the folder.
    """

    def __init__(self) -> None:
        _delete_abandoned(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = _locked(self.path, create=True)

    def write(self, name: str, text: str) -> Path:
        """Write a file that only this user can read."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return path

    def note_tap(self, pid: int) -> None:
        """Note the tap's process, which leads a group of its own."""
        self.write(_PID, str(pid))

    def delete(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def _locked(folder: Path, *, create: bool = False) -> IO[bytes] | None:
    """Lock a folder until the file is closed; None if somebody else has the lock."""
    file = (folder / _LOCK).open("wb" if create else "rb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _delete_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or another worker deletes it at this moment
            try:
                lock = _locked(folder)
            except FileNotFoundError:
                if time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            if lock is not None:
                with lock:
                    _stop_abandoned(folder)
                    shutil.rmtree(folder, ignore_errors=True)


def _stop_abandoned(folder: Path) -> None:
    """Stop the tap that runs in this folder. Its number may be another program's by now, which runs elsewhere."""
    with suppress(OSError, ValueError):
        pid = int((folder / _PID).read_text())
        if Path(f"/proc/{pid}/cwd").readlink() == folder:
            os.killpg(pid, signal.SIGKILL)
