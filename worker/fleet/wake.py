"""Wake a task: tell the workers that there may be work."""

from __future__ import annotations

import structlog
from kombu.exceptions import OperationalError

from worker.app import app

log = structlog.get_logger(__name__)

# One retry, over a new connection, because the broker may have dropped the old one. Only one, because the caller waits.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}


def wake(task: str, *arguments: str) -> bool:
    """Send the task to the broker. Return whether the broker accepted it.

    If the broker is down, no work is lost: the rows are committed, and a later tick finds them.
    """
    try:
        app.send_task(task, args=arguments, retry=True, retry_policy=_RETRY)
    except OperationalError as error:
        log.warning("the broker cannot be reached; the next tick wakes this task again", task=task, error=str(error))
        return False
    return True
