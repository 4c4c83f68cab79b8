"""Whether the processes of this machine work, by evidence of their working parts: files in ``data_dir/alive``.

Each process keeps one small file and a lock on it that ends with the process, however that ends. So a file without
its lock is of a process that is gone; a locked file that is no longer written is of one that hangs or was stopped.
Nothing else is asked, neither store nor broker: a probe that fails while those are away would have every process
restarted, and cure nothing.
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

Role: TypeAlias = Literal["worker", "beat", "web"]
ROLES: tuple[Role, ...] = get_args(Role)

EVERY_SECONDS = 1.0
MOST_SECONDS = 60.0
"""A main loop may wait this long: for a Redis that does not answer, half of it."""
_ROOM = 1024
_TRIES, _TRY_AGAIN_SECONDS = 10, 0.02
_LEFT_SECONDS = 24 * 3600.0
"""A file of another machine, or container, is removed when it was not written for this long."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a process last said of itself. Times are seconds of this machine's monotonic clock."""

    role: Role
    pid: int
    written_at: float
    loop_at: float
    """When its main loop last came round."""
    work_at: float
    """When work last went on: a thread was free, a task began or ended, or VirtualText answered a request."""
    work_patience: float
    """How long work may stand still before something is wrong with it, in seconds."""
    waits: str = ""
    """What the main loop waits for, where it rightly does: `the broker`."""
    stopping: bool = False
    """It was asked to stop, and ends what it has begun."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a pulse says: ``problem`` is empty when the process works, ``note`` is worth knowing all the same."""

    role: Role
    pid: int
    problem: str = ""
    note: str = ""


def judge(pulse: Pulse, now: float, most: float = MOST_SECONDS) -> Verdict:
    """Whether the process works. Pure. ``most``: how many seconds its main loop may keep silent."""
    verdict = Verdict(pulse.role, pulse.pid)
    if now - pulse.written_at > most:
        silent = now - pulse.written_at
        return replace(verdict, problem=f"has shown no sign of life for {silent:.0f} s: it was stopped or hangs")
    if pulse.stopping:
        return replace(verdict, note="is stopping")
    if pulse.waits:
        verdict = replace(verdict, note=f"waits for {pulse.waits}")
    elif now - pulse.loop_at > most:
        return replace(verdict, problem=f"its main loop has not come round for {now - pulse.loop_at:.0f} s: it hangs")
    if now - pulse.work_at > pulse.work_patience:
        still = now - pulse.work_at
        return replace(verdict, problem=f"all its threads are busy and nothing has ended for {still:.0f} s: they hang")
    return verdict


class PulseFile:
    """This process's pulse. ``loop``, ``work`` and the fields may be called from any thread; ``write`` keeps it."""

    def __init__(self, folder: Path, role: Role, work_patience: float = MOST_SECONDS) -> None:
        now = time.monotonic()
        self._now = Pulse(role, os.getpid(), now, now, now, work_patience)
        folder.mkdir(parents=True, exist_ok=True)
        prune(folder)
        self._path = folder / f"{role}@{socket.gethostname()}@{os.getpid()}.json"
        self._file = _locked(self._path)
        self._lock = threading.Lock()
        self.write()

    def loop(self) -> None:
        """The main loop came round."""
        self.note(loop_at=time.monotonic())

    def work(self) -> None:
        """Work goes on, or could."""
        self.note(work_at=time.monotonic())

    def note(self, **changes: float | str | bool) -> None:
        """Remember fields of ``Pulse``."""
        with self._lock:
            self._now = replace(self._now, **changes)  # type: ignore[arg-type] # the caller names fields of Pulse

    def write(self) -> None:
        """Keep it for ``vtsync health`` to read."""
        self.note(written_at=time.monotonic())
        # One write of one length, so that nobody reads half of it.
        os.pwrite(self._file.fileno(), json.dumps(asdict(self._now)).encode().ljust(_ROOM), 0)

    @property
    def healthy(self) -> bool:
        """Whether it would be said to work now."""
        return not judge(self._now, time.monotonic()).problem

    def close(self) -> None:
        """The process ends."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def pulses(folder: Path) -> list[Pulse]:
    """The pulses of this machine's processes that live."""
    found = []
    for path in sorted(folder.glob(f"*@{socket.gethostname()}@*.json")):
        # Suppressed: it ended just now, or has just begun.
        with contextlib.suppress(OSError, ValueError, TypeError), path.open("r+b") as file:
            if not _locks(file):
                found.append(Pulse(**json.loads(file.read())))
    return found


def prune(folder: Path) -> None:
    """Remove what processes left behind that were killed."""
    for path in folder.glob("*@*@*.json"):
        with contextlib.suppress(OSError):
            ours = f"@{socket.gethostname()}@" in path.name
            if not ours and time.time() - path.stat().st_mtime < _LEFT_SECONDS:
                continue
            with path.open("r+b") as file:
                if _locks(file):
                    path.unlink()


def alive_folder(data_dir: Path) -> Path:
    """Where the pulses of a data folder are."""
    return data_dir / "alive"


def _locked(path: Path) -> IO[bytes]:
    """The file with its lock, which is ours until it is closed. Raises OSError when another keeps it."""
    for _ in range(_TRIES):
        file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        with contextlib.suppress(FileNotFoundError, BlockingIOError):  # pruned in between; being looked at
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        file.close()
        time.sleep(_TRY_AGAIN_SECONDS)
    raise BlockingIOError(errno.EAGAIN, "another process keeps its pulse under the same name", str(path))


def _locks(file: IO[bytes]) -> bool:
    """Whether nobody holds the lock; it is held until ``file`` is closed, then."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
