"""Hide the arguments of tasks: monitors such as Flower would show phone numbers and messages."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request

HIDDEN = "(hidden)"


class PrivateRequest(Request):  # type: ignore[misc] # Celery has no types
    """A task as a worker receives it, without the description of its arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._argsrepr = self._kwargsrepr = HIDDEN
