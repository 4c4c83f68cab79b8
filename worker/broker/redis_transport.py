"""Kombu's transports for Redis, changed so that no message is lost.

They take any item out of a queue without failing (see ``raw_messages``), and know which channel took a message, so that
the jobs of a worker that is gone are taken back soon (see ``unacked``).
"""

# Kombu has no types.
# mypy: disable-error-code="no-untyped-call,misc,assignment,unused-ignore"

from __future__ import annotations

from typing import Any

import structlog
from kombu.transport import redis, virtual
from kombu.utils.json import dumps
from redis.exceptions import RedisError, ResponseError

from worker.broker.raw_messages import envelope_of
from worker.broker.unacked import TakenJobs, count_taken, new_tag, owners

log = structlog.get_logger(__name__)


class NotedMessages(redis.QoS):
    """The messages that a channel has taken and not acknowledged."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was taken.

        If Redis accepts no note, because its memory is full or the connection broke, the message is already out of its
        queue. It is done all the same; it is only lost if this process dies before that.
        """
        try:
            super().append(message, delivery_tag)
        except (RedisError, OSError) as error:
            log.warning("Redis did not note that a job was taken; it is done now", error=f"{error}")
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message. If Redis refuses that, the message is delivered again later and does nothing twice."""
        try:
            super().ack(delivery_tag)
        except ResponseError as error:
            log.warning("Redis refused the acknowledgement of a job; it is delivered again", error=f"{error}")
            virtual.QoS.ack(self, delivery_tag)

    def _remove_from_indices(self, delivery_tag: str, pipe: Any = None) -> Any:
        if pipe is not None:
            return super()._remove_from_indices(delivery_tag, pipe)
        with self.channel.conn_or_acquire() as client:
            # No transaction: a server whose memory is full accepts these commands, but not in a transaction.
            commands = client.pipeline(transaction=False)
            return commands.zrem(self.unacked_index_key, delivery_tag).hdel(self.unacked_key, delivery_tag)


class _SafeChannel:
    """What both kinds of channel change."""

    QoS = NotedMessages
    take_back_after = 30.0
    """Take back a message if its owner has shown no sign of life for this many seconds."""

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """Begin to take messages. Raises the errors of Redis if it accepts no writes now."""
        self._owner = owners.own(self)
        return super().basic_consume(queue, *args, **kwargs)  # type: ignore[misc]

    def check_writable(self) -> None:
        """Raise the errors of Redis if it accepts no writes now."""
        with self.conn_or_acquire() as client:  # type: ignore[attr-defined]
            client.set("vtsync:doctor:written", 1, px=1000)

    def peek(self, queue: str, number: int) -> list[bytes]:
        """Return the next messages of a queue. They stay there."""
        with self.conn_or_acquire() as client:  # type: ignore[attr-defined]
            found: list[bytes] = client.lrange(queue, -number, -1)
            return found

    def count_consumers(self) -> int | None:
        """Count the connections to our database that take messages; None: this user may not list connections."""
        with self.conn_or_acquire() as client:  # type: ignore[attr-defined]
            try:
                listed = client.client_list()
            except ResponseError:
                return None
            ours = str(client.connection_pool.connection_kwargs.get("db", 0))
            return len([one for one in listed if one["cmd"].lower() == "brpop" and one["db"] == ours])

    def count_taken(self) -> TakenJobs:
        """Count the messages that were taken and not acknowledged yet."""
        return count_taken(self)

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
        return name, dumps(envelope_of(item, queue, new_tag(self._owner)))


_OPTIONS = ("take_back_after",)


class RedisChannel(_SafeChannel, redis.Channel):
    """A channel of one Redis."""

    from_transport_options = redis.Channel.from_transport_options + _OPTIONS


class SentinelChannel(_SafeChannel, redis.SentinelChannel):
    """A channel of the master that Sentinels name."""

    from_transport_options = redis.SentinelChannel.from_transport_options + _OPTIONS


class RedisTransport(redis.Transport):
    """Kombu's transport with our channel."""

    Channel = RedisChannel


class SentinelTransport(redis.SentinelTransport):
    """Kombu's transport for Sentinels with our channel."""

    Channel = SentinelChannel
