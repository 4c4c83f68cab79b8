"""The Celery application. It reads its settings from the vtsync configuration on first use."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from celery import Celery, Task, signals

from worker.core.clock import utcnow


class ConfiguredCelery(Celery):  # type: ignore[misc] # Celery has no types
    """A Celery that reads its configuration late, so that importing the tasks needs no configuration file."""

    def _load_config(self) -> Any:
        from worker.broker.settings import celery_settings, use_our_redis_transports
        from worker.runtime import open_runtime

        use_our_redis_transports()
        self.config_from_object(celery_settings(open_runtime().settings))
        return super()._load_config()

    def now(self) -> datetime:
        """Return the fleet's time. Celery computes with it when tasks are due and when the scheduler ticks."""
        return utcnow()


class PrivateTask(Task):  # type: ignore[misc] # Celery has no types
    """The base of every task: monitors do not see its arguments."""

    Request = "worker.broker.private_request:PrivateRequest"


app = ConfiguredCelery("vtsync", include=["worker.tasks"], task_cls=PrivateTask, set_as_current=False)


import worker.broker.task_signals  # noqa: E402, F401 - connects to the signals of every task


@signals.setup_logging.connect  # type: ignore[untyped-decorator] # Celery has no types
def _keep_our_logging(**_: Any) -> None:
    from worker.core.logs import set_up_logging

    set_up_logging()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator] # Celery has no types
def _stop_at_safe_points(**_: Any) -> None:
    from kombu.asynchronous import get_event_loop

    from worker.runtime import open_runtime

    open_runtime().stop.set()
    # Wake Celery's loop, which would otherwise notice the stop only at its next timer: with RabbitMQ, up to 15 seconds
    # later. The call must come from another thread, because a call from the loop's own thread does not wake it.
    if (loop := get_event_loop()) is not None:
        threading.Thread(target=loop.call_soon, args=(int,), daemon=True).start()
