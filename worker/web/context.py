"""What all routes need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.inbox.intake import Intake
    from worker.runtime import Runtime


@dataclass(frozen=True, slots=True)
class WebContext:
    """One web process: its current runtime, its inbox, and ``tell``, which hints a task to the workers."""

    current: Callable[[], Runtime]
    intake: Intake
    tell: Callable[..., None]

    @property
    def runtime(self) -> Runtime:
        """Return the current runtime. Ask in each request: the configuration may have changed since the last one."""
        return self.current()
