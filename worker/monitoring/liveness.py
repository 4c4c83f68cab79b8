"""Liveness files: `vtsync health` reads them to check the processes of this machine.

Each process keeps one small file in ``data_dir/alive`` and holds a lock on it. The lock ends with the process, even if
the process is killed. So an unlocked file belongs to a process that is gone, and a locked file that is not written
belongs to a process that hangs or was stopped (SIGSTOP). The probe contacts neither the store nor the broker: if it
failed while those are down, every process would be restarted, which would repair nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Literal, TypeAlias, get_args

from worker.core.findings import Finding, FindingCode, Level, ok, problem, warning
from worker.core.private_files import private_file, private_folder

Role: TypeAlias = Literal["worker", "beat", "web"]
ROLES: tuple[Role, ...] = get_args(Role)

EVERY_SECONDS = 1.0
MAX_SILENCE_SECONDS = 60.0
"""How long a main loop may be silent. An unresponsive Redis blocks it for half of this."""
_FILE_BYTES = 1024
_LOCK_TRIES, _RETRY_SECONDS = 10, 0.02
_STALE_SECONDS = 24 * 3600.0
"""A file of another machine or container is removed if it has not been written for this long."""
WORKS = "works"
RESTART = "restart it; its log shows what it did last"


@dataclass(frozen=True, slots=True)
class Liveness:
    """What a process last wrote about itself. Times are seconds of this machine's monotonic clock."""

    role: Role
    pid: int
    written_at: float
    loop_at: float
    """When the main loop last completed a round."""
    work_at: float
    """When work last progressed: a thread was free, a task began or ended, or VirtualText answered a request."""
    work_patience: float
    """How many seconds work may make no progress before the process counts as hanging."""
    waits: str = ""
    """What the main loop is waiting for, if it waits for a good reason: `the broker`."""
    stopping: bool = False
    """The process was asked to stop and is finishing its work."""


def judge_liveness(process: Liveness, now: float, max_silence: float = MAX_SILENCE_SECONDS) -> Finding:
    """Judge whether a process works. Pure. ``max_silence`` is for its main loop, in seconds."""
    what = f"{process.role} {process.pid}"
    if (silent := now - process.written_at) > max_silence:
        why = "it was stopped (SIGSTOP), or it hangs"
        return problem(
            FindingCode.PROCESS_HANGS,
            what,
            f"has shown no sign of life for {silent:.0f} s: it was stopped or hangs",
            why,
            RESTART,
        )
    if process.stopping:
        return ok(what, "is stopping")
    if not process.waits and (silent := now - process.loop_at) > max_silence:
        why = "it takes no jobs and answers nobody"
        return problem(
            FindingCode.PROCESS_HANGS,
            what,
            f"its main loop has made no progress for {silent:.0f} s: it hangs",
            why,
            RESTART,
        )
    if (stuck := now - process.work_at) > process.work_patience:
        found = f"all its threads are busy and nothing has ended for {stuck:.0f} s: they hang"
        return problem(FindingCode.PROCESS_HANGS, what, found, "it does no work", RESTART)
    if process.waits:
        why = "it does no work until then; a restart does not help"
        return warning(
            FindingCode.PROCESS_WAITS,
            what,
            f"waits for {process.waits}",
            why,
            f"start {process.waits}, or correct its address",
        )
    return ok(what, WORKS)


class LivenessFile:
    """This process's liveness file. Any thread may report; ``write`` stores what was reported."""

    def __init__(self, folder: Path, role: Role, work_patience: float = MAX_SILENCE_SECONDS) -> None:
        now = time.monotonic()
        self._now = Liveness(role, os.getpid(), now, now, now, work_patience)
        private_folder(private_folder(folder.parent) / folder.name)
        remove_stale_files(folder)
        self._path = folder / f"{role}@{socket.gethostname()}@{os.getpid()}.json"
        self._file = _create_locked(self._path)
        self._lock = threading.Lock()
        self._stopping = False
        self.write()

    def report_loop(self) -> None:
        """Report that the main loop completed a round."""
        self.report(loop_at=time.monotonic())

    def report_progress(self) -> None:
        """Report that work progressed, or that a thread is free."""
        self.report(work_at=time.monotonic())

    def report_stopping(self) -> None:
        """Report that the process was asked to stop. Safe in a signal handler: it takes no lock."""
        self._stopping = True

    def report(self, **changes: float | str | bool) -> None:
        """Change fields of ``Liveness``. Not safe in a signal handler, which may interrupt this very function."""
        with self._lock:
            self._now = replace(self._now, **changes)  # type: ignore[arg-type] # the caller names fields of Liveness

    def write(self) -> None:
        """Write the file for `vtsync health`."""
        self.report(written_at=time.monotonic(), stopping=self._stopping)
        # One write of a fixed length, so that nobody reads half of it.
        os.pwrite(self._file.fileno(), json.dumps(asdict(self._now)).encode().ljust(_FILE_BYTES), 0)

    @property
    def healthy(self) -> bool:
        """Return whether the process works, judging by its reports so far."""
        return judge_liveness(self._now, time.monotonic()).level is not Level.PROBLEM

    def close(self) -> None:
        """Remove the file when the process ends."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def live_processes(folder: Path) -> list[Liveness]:
    """Read the liveness files of this machine's processes that still run."""
    found = []
    for path in sorted(folder.glob(f"*@{socket.gethostname()}@*.json")):
        # Suppressed: the process has just ended or is just starting.
        with contextlib.suppress(OSError, ValueError, TypeError), path.open("r+b") as file:
            if not _try_lock(file):
                found.append(Liveness(**json.loads(file.read())))
    return found


def remove_stale_files(folder: Path) -> None:
    """Remove the files of processes that were killed."""
    for path in folder.glob("*@*@*.json"):
        with contextlib.suppress(OSError):
            ours = f"@{socket.gethostname()}@" in path.name
            if not ours and time.time() - path.stat().st_mtime < _STALE_SECONDS:
                continue
            with path.open("r+b") as file:
                if _try_lock(file):
                    path.unlink()


def liveness_folder(data_dir: Path) -> Path:
    """Return the folder of the liveness files."""
    return data_dir / "alive"


def _create_locked(path: Path) -> IO[bytes]:
    """Open the file and lock it until it is closed. Raises OSError if another process holds the lock."""
    for _ in range(_LOCK_TRIES):
        file = private_file(path).open("r+b", buffering=0)
        with contextlib.suppress(FileNotFoundError, BlockingIOError):  # removed in between; somebody reads it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        file.close()
        time.sleep(_RETRY_SECONDS)
    raise BlockingIOError(errno.EAGAIN, "another process uses a liveness file of the same name", str(path))


def _try_lock(file: IO[bytes]) -> bool:
    """Lock the file until it is closed; return False if a process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
