"""Celery's pool of threads, changed so that a task always ends.

An error outside of the task itself, such as in what is to follow it or in its result, ends only the future in Celery's
pool. The message is then never acknowledged, and takes one of the worker's places forever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from celery.concurrency import thread

log = logging.getLogger(__name__)


class EndingTaskPool(thread.TaskPool):  # type: ignore[misc] # Celery has no types
    """Rejects the message of a task that Celery could not bring to an end."""

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        error_callback: Callable[..., Any] | None = None,
        **options: Any,
    ) -> Any:
        """Start the task. ``error_callback`` is a method of Celery's request."""
        applied = super().on_apply(target, args, kwargs, callback, accept_callback, **options)
        request = getattr(error_callback, "__self__", None)

        def ended(future: Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if request is not None and isinstance(error, Exception):
                log.error(
                    "task %s could not be ended (%s); its message was removed", request.name, type(error).__name__
                )
                request.reject(requeue=False)

        applied.f.add_done_callback(ended)
        return applied
