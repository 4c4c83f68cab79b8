"""The context that all routes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.inbox.intake import Intake
    from worker.runtime import Runtime


@dataclass(frozen=True, slots=True)
class WebContext:
    """One web process: its current runtime, its inbox, and ``notify``, which wakes a task of the workers."""

    current: Callable[[], Runtime]
    intake: Intake
    notify: Callable[..., None]

    @property
    def runtime(self) -> Runtime:
        """Return the current runtime. Call it for each request: the configuration may have changed."""
        return self.current()
