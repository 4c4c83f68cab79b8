"""Limits what this process does at the same time: one run per kind and name, and a number of threads per kind.

Tasks are woken often, and every call does the same: it looks for due work and does it. Two calls at once would compete
for the connections of the account. Dropping the second call could miss a text that was committed just after the first
looked. So a second call makes the running one look again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_running: dict[tuple[str, str], bool] = {}
_slots: dict[str, int] = {}


def once_at_a_time(kind: str, name: str, work: Callable[[], bool]) -> bool:
    """Run ``work``. If it already runs for this kind and name, make that call run it once more instead.

    ``work`` returns whether running again makes sense. Return False if the work was left to the running call.
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
    """Take one of ``limit`` concurrency slots of this kind while the block runs. Yield False if none is free.

    Long work must leave threads for short work. Otherwise the first sync of many connections would delay every text.
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
