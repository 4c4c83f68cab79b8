"""Whether this process can use the broker, logged once for each change instead of once for each try.

A broker can be reached and still accept nothing: it became a replica, its memory is full, it may not write to its disk,
a permission is missing. For a process that is the same as a broker that is down: it waits.
"""

from __future__ import annotations

import threading

import structlog

log = structlog.get_logger(__name__)

_REASONS = (
    ("READONLY", "this Redis is a replica; name the master in broker.url, or use Sentinels"),
    ("a read only replica", "this Redis is a replica; name the master in broker.url, or use Sentinels"),
    ("UNBLOCKED", "this Redis became a replica; name the master in broker.url, or use Sentinels"),
    ("MISCONF", "Redis cannot save to its disk; make room there, or correct its permissions"),
    ("OOM", "the memory of Redis is full; raise maxmemory, or remove what fills it"),
    ("used memory", "the memory of Redis is full; raise maxmemory, or remove what fills it"),
    ("NOREPLICAS", "too few replicas are connected to this Redis; start them, or lower min-replicas-to-write"),
    ("Not enough good replicas", "too few replicas are connected; start them, or lower min-replicas-to-write"),
    ("NOPERM", "give the Redis user the permissions that docs/operations.md lists"),
    ("has no permissions", "give the Redis user the permissions that docs/operations.md lists"),
    ("NOAUTH", "put the password into broker.url"),
    ("Authentication required", "put the password into broker.url"),
    ("WRONGPASS", "correct the user and the password in broker.url"),
    ("invalid username-password", "correct the user and the password in broker.url"),
    ("ACCESS_REFUSED", "give the RabbitMQ user permissions for the vhost, or correct its password"),
    ("LOADING", "nothing: Redis is loading its data and will be ready soon"),
    ("loading the dataset", "nothing: Redis is loading its data and will be ready soon"),
)
"""A part of an error, and what to do about it. The first that occurs counts."""
_OTHERWISE = "start the broker, or correct broker.url"


def remedy(error: BaseException) -> str:
    """Return what a person should do about an error of the broker. Pure."""
    message = str(error)
    return next((do for part, do in _REASONS if part in message), _OTHERWISE)


class BrokerState:
    """What this process last knew about one use of the broker: sending, or taking messages. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason = ""

    def failed(self, error: BaseException) -> None:
        """Note that the broker cannot be used. Log it unless the same was logged last."""
        do = remedy(error)
        with self._lock:
            is_new, self._reason = do != self._reason, do
        if is_new:
            log.warning(
                "the broker cannot be used; this process waits for it", error=f"{type(error).__name__}: {error}", do=do
            )

    def works(self) -> None:
        """Note that the broker did what it was asked to do."""
        with self._lock:
            had_failed, self._reason = bool(self._reason), ""
        if had_failed:
            log.info("the broker can be used again")


broker_state = BrokerState()
"""Whether this process can send to the broker."""
