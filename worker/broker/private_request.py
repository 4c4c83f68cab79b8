"""A task as a worker takes it, whose arguments are shown to nobody: monitors such as Flower would show numbers and what
people wrote.
"""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request

HIDDEN = "(hidden)"


class PrivateRequest(Request):  # type: ignore[misc] # Celery has no types
    """Without the description of its arguments that came with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._argsrepr = self._kwargsrepr = HIDDEN
