"""What the routes work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.inbox.intake import Intake
    from worker.runtime import Runtime


@dataclass(frozen=True, slots=True)
class WebContext:
    """One web process: its runtime now, the way into the inbox, the way to tell workers (a task and its arguments)."""

    current: Callable[[], Runtime]
    intake: Intake
    tell: Callable[..., None]

    @property
    def runtime(self) -> Runtime:
        """To be asked for anew in each request: the configuration may have changed since the last."""
        return self.current()
