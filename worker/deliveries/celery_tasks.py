"""Calls a Celery task of another service with an event."""

from __future__ import annotations

import orjson

from worker.broker.broker_state import broker_state
from worker.deliveries.outcome import Delivered, DeliveryOutcome, RetryLater

# One retry over a new connection, as the broker may have dropped the old one.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}


def call_task(task: str, queue: str | None, event_id: str, payload: str) -> DeliveryOutcome:
    """Call ``task(event={"id", "type", "timestamp", "data"})``; its task id is the id of the event."""
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
    except Exception as error:  # noqa: BLE001 - clients of brokers raise errors of many kinds
        broker_state.failed(error)
        return RetryLater("the broker cannot be used", is_down=True)
    return Delivered()
