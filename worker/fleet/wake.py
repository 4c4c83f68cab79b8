"""Wake a task: tell the workers that there may be work."""

from __future__ import annotations

from worker.app import app
from worker.broker.broker_state import broker_state

# One retry, over a new connection, because the broker may have dropped the old one. Only one, because the caller waits.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}


def wake(task: str, *arguments: str, **named: object) -> bool:
    """Send the task with its arguments to the broker. Return whether the broker accepted it. Never raises.

    If the broker cannot be used, no work is lost: the rows are committed, and a later tick finds them.
    """
    try:
        # Nobody reads a result. Celery would ask the result backend for it, and wait 20 seconds where that is down.
        app.send_task(task, args=arguments, kwargs=named, retry=True, retry_policy=_RETRY, ignore_result=True)
    except Exception as error:  # noqa: BLE001 - clients of brokers raise errors of many kinds, and a hint may be lost
        broker_state.failed(error)
        return False
    broker_state.works()
    return True
