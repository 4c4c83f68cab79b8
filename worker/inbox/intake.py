"""Takes events in while many come at once: all that wait are committed together, and each caller hears when."""

from __future__ import annotations

from typing import Protocol

from worker.inbox.events import Incoming


class Intake(Protocol):
    """The way into the inbox for an event loop."""

    async def put(self, event: Incoming) -> None:
        """Return once ``event`` is committed. Raises whatever kept it from being."""
