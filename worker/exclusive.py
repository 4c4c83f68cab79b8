"""One of a kind at a time in this process: a second call while one runs makes the first go round once more.

Hints come often, and each makes the same work: look what is due, do it. Two at once would only share the account's
connections; a hint that is dropped instead could leave a text that was committed just after the last look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

_lock = threading.Lock()
_running: dict[tuple[str, str], bool] = {}


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
