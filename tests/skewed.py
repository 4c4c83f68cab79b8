"""Runs ``vtsync COMMAND`` in a process whose clock is wrong: ``python -P skewed.py FILE COMMAND ...``.

FILE has the seconds by which the clock is ahead (behind: negative). It may be changed while the process runs, as if
somebody set the clock. ``time.time`` and ``datetime.now`` are wrong then; the steady clocks and the times of files are
not, as with a real clock.
"""

from __future__ import annotations

import ctypes
import gc
import runpy
import sys
import time
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

LOOK_SECONDS = 0.05


class _Ahead:
    """The seconds by which the clock is ahead, as the file says."""

    def __init__(self, path: Path) -> None:
        self._path, self._seconds, self._looked_at = path, float(path.read_text()), time.monotonic()

    def __call__(self) -> float:
        if (now := time.monotonic()) - self._looked_at > LOOK_SECONDS:
            self._seconds, self._looked_at = float(self._path.read_text() or self._seconds), now
        return self._seconds


def set_clock(path: Path) -> None:
    """Let the clock of this process be wrong. Call it before other modules are imported."""
    ahead, seconds, nanoseconds = _Ahead(path), time.time, time.time_ns

    def now(cls: type[datetime], tz: tzinfo | None = None) -> datetime:
        return cls.fromtimestamp(time.time(), tz)

    def utcnow(cls: type[datetime]) -> datetime:
        return cls.fromtimestamp(time.time(), UTC).replace(tzinfo=None)

    time.time = lambda: seconds() + ahead()
    time.time_ns = lambda: nanoseconds() + int(ahead() * 1e9)
    # The class itself is changed, because drivers and libraries look up exactly this class.
    members: dict[str, Any] = gc.get_referents(datetime.__dict__)[0]
    members |= {"now": classmethod(now), "utcnow": classmethod(utcnow)}
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))


if __name__ == "__main__":
    set_clock(Path(sys.argv[1]))
    sys.argv = ["vtsync", *sys.argv[2:]]
    runpy.run_module("vtsync", run_name="__main__", alter_sys=True)
