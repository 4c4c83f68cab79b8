"""Celery's consumer, extended to show when its main loop waits for the broker."""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer


class WatchedConsumer(Consumer):  # type: ignore[misc] # Celery has no types
    """A consumer whose ``waits`` is true while it tries to connect."""

    waits = True

    def ensure_connected(self, conn: Any) -> Any:
        """Block until the broker is reachable, however long that takes."""
        self.waits = True
        connected = super().ensure_connected(conn)
        self.waits = False
        return connected
