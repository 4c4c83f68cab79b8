"""Celery's consumer, which says when its main loop waits for the broker."""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer


class WatchedConsumer(Consumer):  # type: ignore[misc] # Celery has no types
    """``waits``: it has no connection, and tries until it has one."""

    waits = True

    def ensure_connected(self, conn: Any) -> Any:
        """Block until the broker is there, however long that takes."""
        self.waits = True
        connected = super().ensure_connected(conn)
        self.waits = False
        return connected
