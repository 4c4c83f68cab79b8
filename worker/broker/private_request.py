"""A task as a worker receives it: monitors do not see its arguments, and no machine's clock decides when it is due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery.worker.request import Request

from worker.core.clock import CLOCK

HIDDEN = "(hidden)"


class PrivateRequest(Request):  # type: ignore[misc] # Celery has no types
    """A task without the description of its arguments: Flower, for example, would show phone numbers and messages.

    Its times are the fleet's. Celery compares them with the clock of this machine, so they are converted to that.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._argsrepr = self._kwargsrepr = HIDDEN
        ahead = timedelta(seconds=CLOCK.machine_is_ahead)
        for name in ("_eta", "_expires"):
            if (moment := getattr(self, name)) is not None:
                setattr(self, name, moment + ahead)
