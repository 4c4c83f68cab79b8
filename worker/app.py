"""The Celery application, and nothing else. Its settings come from the vtsync configuration when first used."""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery, Task, signals


class ConfiguredCelery(Celery):  # type: ignore[misc] # Celery has no types
    """Celery whose configuration is read late, so that importing tasks needs no configuration file."""

    def _load_config(self) -> Any:
        from worker.broker.settings import celery_settings
        from worker.runtime import open_runtime

        self.config_from_object(celery_settings(open_runtime().settings))
        return super()._load_config()


class PrivateTask(Task):  # type: ignore[misc] # Celery has no types
    """The base of every task: what it is given is shown to no monitor."""

    Request = "worker.broker.private_request:PrivateRequest"


app = ConfiguredCelery("vtsync", include=["worker.tasks"], task_cls=PrivateTask, set_as_current=False)


import worker.broker.task_signals  # noqa: E402, F401 - connects to every task of this application


@signals.setup_logging.connect  # type: ignore[untyped-decorator] # Celery has no types
def _keep_our_logging(**_: Any) -> None:
    from worker.core.logs import set_up_logging

    set_up_logging()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator] # Celery has no types
def _stop_at_safe_points(**_: Any) -> None:
    from kombu.asynchronous import get_event_loop

    from worker.runtime import open_runtime

    open_runtime().stop.set()
    # Celery's loop would see the stop at its next timer only: with RabbitMQ's heartbeat that is up to 15 seconds later.
    # From a thread, because the loop is not woken by its own.
    if (loop := get_event_loop()) is not None:
        threading.Thread(target=loop.call_soon, args=(int,), daemon=True).start()
