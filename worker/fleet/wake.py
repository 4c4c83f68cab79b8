"""Tells workers that there may be work."""

from __future__ import annotations

import structlog
from kombu.exceptions import OperationalError

from worker.app import app

log = structlog.get_logger(__name__)

# Once more over a new connection, for the one that the broker has dropped meanwhile; whoever hints has work to do.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}


def hint(task: str, *arguments: str) -> bool:
    """Whether the broker took it. Where it is away nothing is lost: the row is committed, a later tick finds it."""
    try:
        app.send_task(task, args=arguments, retry=True, retry_policy=_RETRY)
    except OperationalError as error:
        log.warning("the broker cannot be reached; the next tick hints again", task=task, error=str(error))
        return False
    return True
