"""What the routes work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.inbox.intake import Intake
    from worker.runtime import Runtime


@dataclass(frozen=True, slots=True)
class WebContext:
    """One web process: its runtime, and the way into the inbox."""

    runtime: Runtime
    intake: Intake
