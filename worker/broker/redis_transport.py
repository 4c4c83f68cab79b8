"""Kombu's transports for Redis, which take any item out of a queue without failing, see ``raw_messages``."""

# Kombu has no types.
# mypy: disable-error-code="no-untyped-call,misc,unused-ignore"

from __future__ import annotations

from typing import Any

from kombu.transport import redis
from kombu.utils.json import dumps

from worker.broker.raw_messages import envelope_of


class _AnyItem:
    """What both kinds of channel change."""

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)  # type: ignore[misc]
        client.set_response_callback("BRPOP", self._taken)
        return client

    def _taken(self, reply: Any, **_: Any) -> tuple[str, str] | None:
        """Return the queue and the item of BRPOP's reply."""
        if not reply:
            return None
        key, item = (part.encode() if isinstance(part, str) else part for part in reply)
        name: str = key.decode()
        queue = name.removeprefix(self.global_keyprefix or "").rsplit(self.sep, 1)[0]  # type: ignore[attr-defined]
        return name, dumps(envelope_of(item, queue))


class RedisChannel(_AnyItem, redis.Channel):
    """A channel of one Redis."""


class SentinelChannel(_AnyItem, redis.SentinelChannel):
    """A channel of the master that Sentinels name."""


class RedisTransport(redis.Transport):
    """Kombu's transport with our channel."""

    Channel = RedisChannel


class SentinelTransport(redis.SentinelTransport):
    """Kombu's transport for Sentinels with our channel."""

    Channel = SentinelChannel
