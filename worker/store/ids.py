"""Identifiers that sort by the time at which they were created."""

from __future__ import annotations

import os
import threading
from datetime import datetime

from worker.core.clock import utcnow

_lock = threading.Lock()
_last = 0


def new_message_id() -> str:
    """Return 32 hex digits in UUIDv7 layout (RFC 9562): milliseconds, 12 bits of the millisecond, 62 random bits.

    The ids of one process strictly increase, so messages created at the same time keep their order.
    """
    global _last
    with _lock:
        milliseconds, rest = divmod(int(utcnow().timestamp() * 1_000_000), 1_000)
        _last = max(_last + 1, milliseconds << 12 | rest * 4096 // 1_000)
        stamp = _last
    random = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    return f"{stamp >> 12 << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | random:032x}"


def first_id_at(moment: datetime) -> str:
    """Return the lowest possible id of ``moment``: ids that sort before it are older."""
    return f"{int(moment.timestamp() * 1000) << 80:032x}"
