"""How many jobs the broker holds: those that wait in its queues, and those that workers have taken."""

# Kombu has no types.
# mypy: disable-error-code="no-untyped-call,unused-ignore"

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES

from config.models import Settings
from worker.broker.job_messages import readable
from worker.broker.raw_messages import envelope_of
from worker.broker.settings import INTAKE, INTERNAL, OWN_INTAKE, celery_settings, use_our_redis_transports
from worker.broker.unacked import TakenJobs

QUICK_SECONDS = 3
"""A person waits for the answer."""
PEEKED = 50
OURS = ("vtsync.", "celery.")
"""How the names of tasks begin that we send or that Celery itself has."""
_NOT_FOUND = "404"


@dataclass(frozen=True, slots=True)
class BrokerJobs:
    """The lengths of the queues, and the jobs that workers have taken (None: this broker does not tell)."""

    queues: Mapping[str, int]
    taken: TakenJobs | None

    @property
    def waiting(self) -> int:
        """Return how many jobs no worker has taken yet."""
        return sum(self.queues.values())


def count_jobs(settings: Settings) -> BrokerJobs:
    """Count the jobs in the configured broker. Raises the errors of the broker's client."""
    with _connect(settings) as connection:
        connection.ensure_connection(max_retries=1, timeout=QUICK_SECONDS)
        lengths = {name: _length(connection, name) for name in (INTAKE, OWN_INTAKE, *INTERNAL)}
        with connection.channel() as channel:
            count_taken = getattr(channel, "count_taken", None)
            return BrokerJobs(lengths, count_taken() if count_taken else None)


@dataclass(frozen=True, slots=True)
class IntakeUse:
    """Who uses Celery's default queue. ``consumers``: how many programs take from it (None: the broker does not tell).

    ``foreign_tasks``: what waits in it and is not for us, as far as it can be seen without taking it.
    """

    consumers: int | None
    foreign_tasks: tuple[str, ...] = ()


def look_at_intake(settings: Settings) -> IntakeUse:
    """Look at Celery's default queue and take nothing from it. Raises the errors of the broker's client."""
    with _connect(settings) as connection:
        connection.ensure_connection(max_retries=1, timeout=QUICK_SECONDS)
        if connection.transport.driver_type == "redis":
            with connection.channel() as channel:
                return IntakeUse(channel.count_consumers(), foreign_tasks(channel.peek(INTAKE, PEEKED)))
        if connection.transport.driver_type == "amqp":
            declared = _declared(connection, INTAKE)
            return IntakeUse(int(declared.consumer_count) if declared else 0)
        return IntakeUse(None)


def foreign_tasks(messages: Iterable[bytes]) -> tuple[str, ...]:
    """Return the names of tasks among these messages that are none of ours, each once. Pure."""
    names = (envelope_of(item, INTAKE)["headers"].get("task") for item in messages)
    return tuple(sorted({readable(name) for name in names if isinstance(name, str) and not name.startswith(OURS)}))


def _connect(settings: Settings) -> Connection:
    use_our_redis_transports()
    chosen = celery_settings(settings)
    options = dict(chosen["broker_transport_options"])
    if "socket_timeout" in options:
        options |= {"socket_timeout": QUICK_SECONDS, "socket_connect_timeout": QUICK_SECONDS}
    url = chosen["broker_url"]
    return Connection(
        url,
        ssl=chosen.get("broker_use_ssl", False),
        # By its class: Kombu remembers the one that a scheme had before.
        transport=chosen.get("broker_transport") or TRANSPORT_ALIASES[url.partition(":")[0]],
        transport_options=options,
        connect_timeout=QUICK_SECONDS,
    )


def _length(connection: Connection, name: str) -> int:
    declared = _declared(connection, name)
    return int(declared.message_count) if declared else 0


def _declared(connection: Connection, name: str) -> Any:
    """Return what the broker says about a queue; None: no worker has created it yet."""
    with connection.channel() as channel:
        try:
            return channel.queue_declare(queue=name, passive=True)
        except connection.channel_errors as error:
            if str(getattr(error, "reply_code", "")) == _NOT_FOUND:
                return None
            raise
