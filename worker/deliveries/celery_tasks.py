"""Calls another service's Celery task with an event."""

from __future__ import annotations

import orjson
from kombu.exceptions import OperationalError

from worker.deliveries.outcome import Again, Done, Outcome

# Once more over a new connection, for the one that the broker has dropped meanwhile.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}


def deliver(task: str, queue: str | None, event_id: str, payload: str) -> Outcome:
    """``task(event={"id", "type", "timestamp", "data"})``; the task's own id is the event's."""
    from worker.app import app

    event = {"id": event_id, **orjson.loads(payload)}
    try:
        app.send_task(
            task,
            kwargs={"event": event},
            queue=queue,
            task_id=event_id,
            ignore_result=True,
            retry=True,
            retry_policy=_RETRY,
        )
    except OperationalError:
        return Again("the broker cannot be reached", away=True)
    return Done()
