"""The clock of adapters. The engine sets it to its own time, which is right even if this machine's clock is wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

_source: Callable[[], datetime] | None = None


def current_time() -> datetime:
    """Return the current time in UTC. Use it instead of ``datetime.now``."""
    return datetime.now(UTC) if _source is None else _source()


def use_clock(source: Callable[[], datetime]) -> None:
    """Let ``current_time`` return the time of ``source``, an aware time in UTC, in this process."""
    global _source
    _source = source
