"""The current runtime of each configuration file that this process uses."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING

from worker.runtime.runtime import Runtime

if TYPE_CHECKING:
    from worker.runtime.reload import Current, LoadSettings

# A page of records creates thousands of short-lived objects without cycles. With Python's default of 700, the garbage
# collector takes a fifth of the time of a sync and finds nothing.
COLLECT_AFTER = 20_000

_runtimes: dict[tuple[int, str], Current] = {}
_lock = threading.Lock()


def open_runtime(config_path: str | None = None, load: LoadSettings | None = None) -> Runtime:
    """Return this process's runtime for a configuration file (default: the one that ``config.load`` finds).

    Only the first call reads the file, with ``load`` (default: all of it). Later calls notice a change and never wait
    for it. Raises ConfigError.
    """
    from worker.runtime.reload import Current

    key = (os.getpid(), config_path or os.environ.get("VTSYNC_CONFIG", ""))
    if key not in _runtimes:
        with _lock:
            if key not in _runtimes:
                gc.set_threshold(COLLECT_AFTER, 10, 10)
                _runtimes[key] = Current(config_path) if load is None else Current(config_path, load)
    return _runtimes[key].runtime()
