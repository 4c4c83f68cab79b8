"""Celery's consumer, extended to show when its main loop waits for the broker, and to refuse what is no task."""

# Kombu has no types.
# mypy: disable-error-code="no-untyped-call,unused-ignore"

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.utils.json import dumps

from worker.broker.amqp_properties import read_any_properties
from worker.broker.broker_state import BrokerState
from worker.broker.job_messages import (
    JobMessage,
    MalformedMessage,
    fingerprint,
    queue_of,
    read_job_message,
    readable,
)
from worker.core.backoff import Backoff
from worker.core.log_lines import masked

SET_ASIDE = "vtsync.set_aside"
"""The task that stores a dead letter."""

_OF_THE_MESSAGE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""Errors that something unexpected in a message causes; those of a connection are left to Celery."""
BROKER_BACKOFF = Backoff(first=1, longest=30)
_STEADY_SECONDS = 3.0
"""A server can accept the connection and refuse to give messages. The log calls it usable only after this long."""
_STABLE_SECONDS = 60.0
"""After this long, a broker that fails is tried again at once."""


class WatchedConsumer(Consumer):  # type: ignore[misc] # Celery has no types
    """A consumer whose ``waits`` is true while it tries to connect.

    Celery gets only messages that it can run. For any other message it gets a call of ``vtsync.set_aside`` instead,
    which acknowledges the message once its dead letter is stored. So a message is neither lost nor delivered again
    and again, also if the worker is killed or the store is down.
    """

    waits = True
    _taking = BrokerState()
    _failures = 0
    _ready_at = 0.0
    _handle: Callable[[Any], None]

    def ensure_connected(self, conn: Any) -> Any:
        """Block until the broker is reachable, however long that takes."""
        self.waits = True
        connected = conn.ensure_connection(
            lambda error, _seconds: self._taking.failed(error),
            self.app.conf.broker_connection_max_retries,
            callback=maybe_shutdown,
        )
        self.first_connection_attempt = False
        return connected

    def on_ready(self) -> None:
        """Begin to take messages."""
        super().on_ready()
        self.waits = False
        ready_at = self._ready_at = time.monotonic()

        def works() -> None:
            if self._ready_at == ready_at:  # it has not failed since
                self._taking.works()

        self.timer.call_after(_STEADY_SECONDS, works)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait before the next try."""
        self._wait(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection and wait before the next try. Running tasks continue."""
        with contextlib.suppress(Exception):
            self.connection.collect()
        self._wait(exc)

    def _wait(self, error: Exception) -> None:
        self._taking.failed(error)
        self.waits = True
        if time.monotonic() - self._ready_at > _STABLE_SECONDS:
            self._failures = 0
        self._failures += 1
        self._ready_at = time.monotonic()
        until = self._ready_at + (BROKER_BACKOFF.seconds(self._failures - 1) if self._failures > 1 else 0)
        while time.monotonic() < until:
            maybe_shutdown()
            time.sleep(0.2)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Return the function that takes each message."""
        read_any_properties()
        self._handle = super().create_task_handler(*args, **kwargs)
        functions = {name: task.run for name, task in self.app.tasks.items() if name.startswith("vtsync.")}
        functions["celery.backend_cleanup"] = self.app.tasks["celery.backend_cleanup"].run

        def take(message: Any) -> None:
            try:
                self._give(message, read_job_message(message, functions))
            except MalformedMessage as error:
                self._refuse(message, str(error))
            except _OF_THE_MESSAGE as error:
                self._refuse(message, f"it could not be read ({type(error).__name__})")

        return take

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Refuse a message whose body Kombu could not decode."""
        self._refuse(message, f"its body is not encoded as its headers say ({type(exc).__name__})")

    def _refuse(self, message: Any, reason: str) -> None:
        headers = message.headers if isinstance(message.headers, dict) else {}
        key = fingerprint(message)
        names = (masked(readable(value)) for value in (headers.get("task"), headers.get("id")))
        arguments = [key, queue_of(message), *names, masked(reason), str(len(message.body or ""))]
        call = {"lang": "py", "task": SET_ASIDE, "id": key, "retries": 0}
        self._give(message, JobMessage(call, {}, dumps([arguments, {}, {}])))

    def _give(self, message: Any, job: JobMessage) -> None:
        message.headers, message.properties, message.body = job
        message.content_type, message.content_encoding = "application/json", "utf-8"
        message._decoded_cache = None
        self._handle(message)
