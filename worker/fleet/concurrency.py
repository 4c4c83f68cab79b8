"""Limits on what this process does at the same time: once per kind and name, and so many threads per kind.

A task is woken often, and each call does the same: it looks for what is due and works on it. Two at once would only
compete for the account's connections. A call that is simply dropped could miss a text that was committed just after the
last look. So a second call makes the running one look once more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_running: dict[tuple[str, str], bool] = {}
_slots: dict[str, int] = {}


def once_at_a_time(kind: str, name: str, work: Callable[[], bool]) -> bool:
    """Run ``work``, unless it already runs for this kind and name: then that call runs ``work`` again when it ends.

    ``work`` returns whether running again makes sense. Returns False if the work was left to the running call.
    """
    key = (kind, name)
    with _lock:
        if key in _running:
            _running[key] = True
            return False
        _running[key] = False
    try:
        while True:
            useful = work()
            with _lock:
                if not (useful and _running[key]):
                    del _running[key]
                    return True
                _running[key] = False
    except BaseException:
        with _lock:
            _running.pop(key, None)
        raise


@contextmanager
def slot(kind: str, limit: int) -> Iterator[bool]:
    """Take one of ``limit`` concurrency slots of this kind while the block runs; yields False if none is free.

    Long work must leave threads for short work, or a first sync of many connections would delay every text.
    """
    with _lock:
        free = _slots.get(kind, 0) < limit
        if free:
            _slots[kind] = _slots.get(kind, 0) + 1
    try:
        yield free
    finally:
        if free:
            with _lock:
                _slots[kind] -= 1
