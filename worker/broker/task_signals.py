"""Add the name and id of each task to its log lines, count tasks, and log the errors that a task declares.

Celery sends these signals in the thread that runs the task, and logs a failed task between them.
"""

from __future__ import annotations

import time
from typing import Any

from celery import signals

from worker.core.clock import utcnow

_SENT_AT = "vtsync_sent_at"


@signals.before_task_publish.connect  # type: ignore[untyped-decorator] # Celery has no types
def _note_when_it_was_sent(headers: dict[str, Any], **_: Any) -> None:
    if not headers.get("eta"):  # it was delayed on purpose
        headers[_SENT_AT] = utcnow().timestamp()


@signals.task_prerun.connect  # type: ignore[untyped-decorator] # Celery has no types
def _begin(task_id: str, task: Any, **_: Any) -> None:
    from worker.core.logs import start_context
    from worker.core.metrics import task_started

    start_context(task=task.name, task_id=task_id)
    sent_at = task.request.get(_SENT_AT)
    task_started(task.name, utcnow().timestamp() - sent_at if isinstance(sent_at, int | float) else None)
    task.request.vtsync_began = time.monotonic()


@signals.task_failure.connect  # type: ignore[untyped-decorator] # Celery has no types
def _log_declared_error(sender: Any, exception: BaseException, **_: Any) -> None:
    """Log in one line an error that the task ``throws``. Celery's own line has the level of its successes."""
    if not isinstance(exception, tuple(sender.throws)):
        return
    import structlog

    structlog.get_logger(__name__).warning(
        "the store could not be used; the work is done again later",
        error=str(getattr(exception, "orig", None) or exception).partition("\n")[0],
        do="run `vtsync check` if this repeats",
    )


@signals.task_postrun.connect  # type: ignore[untyped-decorator] # Celery has no types
def _end(task: Any, state: str | None = None, **_: Any) -> None:
    from worker.core.logs import end_context
    from worker.core.metrics import task_ended

    began = task.request.get("vtsync_began") or time.monotonic()
    task_ended(task.name, (state or "failure").lower(), time.monotonic() - began)
    end_context()
