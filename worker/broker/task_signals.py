"""Add the name and id of each task to its log lines, and count tasks.

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


@signals.task_postrun.connect  # type: ignore[untyped-decorator] # Celery has no types
def _end(task: Any, state: str | None = None, **_: Any) -> None:
    from worker.core.logs import end_context
    from worker.core.metrics import task_ended

    began = task.request.get("vtsync_began") or time.monotonic()
    task_ended(task.name, (state or "failure").lower(), time.monotonic() - began)
    end_context()
