"""How much of one kind of work this process does at a time.

One of a kind and name at a time: a second call while one runs makes the first go round once more.

Hints come often, and each makes the same work: look what is due, do it. Two at once would only share the account's
connections; a hint that is dropped instead could leave a text that was committed just after the last look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_running: dict[tuple[str, str], bool] = {}
_places: dict[str, int] = {}


def once_at_a_time(kind: str, name: str, work: Callable[[], bool]) -> bool:
    """Run ``work`` unless it runs already for this kind and name; then that one runs again when it ends.

    ``work`` returns whether going round again makes sense. Returns False when it was left to the running one.
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
def place(kind: str, most: int) -> Iterator[bool]:
    """Whether there is room for one more of this kind, of which ``most`` may run at once; taken while the block runs.

    Long work must leave threads free for short work, or a first sync of many connections would delay every text.
    """
    with _lock:
        free = _places.get(kind, 0) < most
        if free:
            _places[kind] = _places.get(kind, 0) + 1
    try:
        yield free
    finally:
        if free:
            with _lock:
                _places[kind] -= 1
