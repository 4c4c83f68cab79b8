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
    """One web process: its runtime, the way into the inbox, the way to tell workers (a task and its arguments)."""

    runtime: Runtime
    intake: Intake
    tell: Callable[..., None]
