"""Celery's settings, made from the configuration. A comment explains each setting that differs from the default.

The database is the source of truth, and a message in the queue only says that there may be work. So a lost message does
no harm, because the next tick finds the work, and a repeated one does nothing twice. What the settings must survive:
broker restarts, dropped connections, deploys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kombu.entity import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

from config.infrastructure import Broker
from config.models import Settings
from worker.broker.urls import BrokerUrl, read_broker_url
from worker.core.private_files import close_to_others, private_folder

# Celery's default queue: a service that knows only the broker's URL and the name of a task sends to it.
INTAKE = "celery"
# The same, for a broker that another Celery application uses too: that one would take jobs from Celery's default queue.
OWN_INTAKE = "vtsync.intake"
SYNC, PUSH, MESSAGES, RECORDS = "vtsync.sync", "vtsync.push", "vtsync.messages", "vtsync.records"
INBOX, FORWARD = "vtsync.inbox", "vtsync.forward"
TICK = "vtsync.tick"
INTERNAL = (SYNC, PUSH, MESSAGES, RECORDS, INBOX, FORWARD, TICK)
"""Separate queues, so that a back-fill of a million contacts never delays a text."""
BY_NAME: dict[str, str] = {"intake": INTAKE} | {name.removeprefix("vtsync."): name for name in INTERNAL if name != TICK}
"""The queues by their names in `worker.queues`."""

FEWEST_THREADS = 6
"""For a sync, a push, the inbox and deliveries; and two for texts and jobs, see ``worker.tasks``."""
RESULT_SECONDS = 3600
_SLACK_SECONDS = 300


def queues_of(names: Sequence[str], *, celery_queue: bool = True) -> tuple[str, ...]:
    """Return the queues that a worker takes messages from, for these names of ``worker.queues``; none: all.

    Every worker takes ticks, because only a tick finds work that was left behind.
    """
    intakes = (INTAKE, OWN_INTAKE) if celery_queue else (OWN_INTAKE,)
    chosen = (intakes if name == "intake" else (BY_NAME[name],) for name in dict.fromkeys(names or BY_NAME))
    return (*(queue for queues in chosen for queue in queues), TICK)


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Return the Celery settings for a configuration: the embedded broker, Redis or RabbitMQ."""
    url = settings.broker.url.get_secret_value() if settings.broker.url else None
    longest = settings.worker.time_limit.total_seconds() + _SLACK_SECONDS
    broker = settings.broker
    chosen = embedded_worker_settings(settings.data_dir) if url is None else server_settings(broker, url, longest)
    if settings.broker.result_url is not None:
        chosen |= _redis_results(read_broker_url(settings.broker.result_url.get_secret_value()), longest)
    return _common(settings, longest) | chosen


def use_our_redis_transports() -> None:
    """Make Kombu use our transports for the URLs of Redis in this process.

    Not with Celery's ``broker_transport``, which Kombu forgets when it changes to another URL of the list.
    """
    ours = "worker.broker.redis_transport:"
    TRANSPORT_ALIASES.update(
        redis=f"{ours}RedisTransport", rediss=f"{ours}RedisTransport", sentinel=f"{ours}SentinelTransport"
    )


def threads(settings: Settings) -> int:
    """Return how many tasks a worker process runs at once."""
    return max(settings.worker.concurrency, FEWEST_THREADS)


def _common(settings: Settings, longest: float) -> dict[str, Any]:
    return {
        # JSON only: a message can never run code.
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "timezone": "UTC",
        # Only the public tasks have results, and declare it; nobody reads the others.
        "task_ignore_result": True,
        "result_expires": RESULT_SECONDS,
        # One message per thread: prefetched messages are lost or doubled when a worker is killed.
        "worker_prefetch_multiplier": 1,
        # Threads, because tasks mostly wait for the network. Celery's time limits have no effect on threads, so the
        # code has its own deadlines. The limits below are for the prefork pool, and are later than those deadlines.
        "worker_pool": "worker.broker.thread_pool:EndingTaskPool",
        # Enough that long work of every kind at once leaves threads for texts.
        "worker_concurrency": threads(settings),
        "task_soft_time_limit": longest,
        "task_time_limit": longest + _SLACK_SECONDS,
        # Wait for a broker that is down as long as it takes, at the start or later. The default gives up after 100
        # attempts.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Wait also for a broker that can be reached and not be used, such as a Redis that became a replica.
        "broker_channel_error_retry": True,
        # After a lost connection a late-acknowledged task is delivered again, and does nothing twice. Cancelling it
        # would leave requests with an unknown outcome.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # After a lost connection Celery 5.6 would lower the prefetch count and raise it as tasks end. It does so in the
        # thread of the task, with a request on the connection that the main loop reads. The two threads then read each
        # other's frames, and a worker on RabbitMQ drops the connection again or takes no more messages.
        "worker_enable_prefetch_count_reduction": False,
        # On SIGTERM, running tasks end at their next safe point, at the latest after the longest request.
        "worker_soft_shutdown_timeout": 60,
        "worker_enable_soft_shutdown_on_idle": True,
        # Our workers do not need remote control messages; monitors such as Flower do.
        "worker_enable_remote_control": settings.worker.events,
        "worker_send_task_events": settings.worker.events,
        # It reports when it waits for the broker, which is no reason to restart the worker, and refuses messages that
        # Celery cannot run.
        "worker_consumer": "worker.monitoring.consumer:WatchedConsumer",
        # Keep our own log handlers.
        "worker_hijack_root_logger": False,
        "task_default_queue": INTAKE if settings.broker.celery_queue else OWN_INTAKE,
        "task_queues": [*_intakes(settings.broker.celery_queue), *map(_internal_queue, INTERNAL)],
        # By name, because the kinds of work know their queues and are declared above this module.
        "task_routes": ("worker.work.registry:route",),
        "beat_schedule": {
            # One static entry: the tick claims what is due in the store, so a second scheduler starts nothing twice.
            "tick": {
                "task": "vtsync.tick",
                "schedule": settings.worker.tick_every,
                # Without an expiry, which would discard every tick if the clocks of scheduler and worker differ. A
                # backlog of ticks ends at ``worker.fleet.tick.begin_tick``.
            }
        },
        # Never sleep for longer than the interval of the tick.
        "beat_max_loop_interval": min(settings.worker.tick_every.total_seconds(), 5),
    }


def _queue(name: str, **arguments: Any) -> Any:
    return Queue(name, **arguments)  # type: ignore[no-untyped-call] # Kombu has no types


def _intakes(celery_queue: bool) -> list[Any]:
    # Declared as any Celery client declares them, or RabbitMQ would refuse either the client or us. If we do not take
    # jobs from Celery's default queue, we must not bind it either: it would get a copy of each job.
    return [*([_queue(INTAKE)] if celery_queue else []), _internal_queue(OWN_INTAKE)]


def _internal_queue(name: str, **arguments: Any) -> Any:
    # Celery would bind every queue to the exchange of the intake, and a job sent there would arrive in each queue.
    exchange = Exchange(name, type="direct")  # type: ignore[no-untyped-call] # Kombu has no types
    return _queue(name, exchange=exchange, routing_key=name, **arguments)


def embedded_settings(data_dir: Path) -> dict[str, Any]:
    """Return the settings for the broker of one machine: files in ``data_dir``, shared by its processes.

    Another process on the machine that sends jobs uses exactly these three settings.
    """
    folder = private_folder(private_folder(data_dir.absolute()) / "broker")
    queue, control, results = folder / "queue", folder / "control", folder / "results"
    for path in (queue, control, results):
        private_folder(path)
    for path in control.iterdir():  # of an earlier version, or of a sender with another umask
        close_to_others(path)
    return {
        "broker_url": "filesystem://",
        "broker_transport_options": {
            "data_folder_in": str(queue),
            "data_folder_out": str(queue),
            "control_folder": str(control),
        },
        "result_backend": f"file://{results}",
    }


def embedded_worker_settings(data_dir: Path) -> dict[str, Any]:
    """Return the settings for our own processes, which keep a message until its task is done."""
    return embedded_settings(data_dir) | {"broker_transport": "worker.broker.folder_transport:Transport"}


def server_settings(broker: Broker, url: str, longest: float) -> dict[str, Any]:
    """Return the settings for a Redis or RabbitMQ. ``longest``: how many seconds a task may run."""
    address = read_broker_url(url)
    if address.is_redis:
        return _redis(address, longest, broker.take_back_after.total_seconds())
    return _rabbitmq(address, broker.celery_queue)


# So that a connection that died without notice is detected.
_REDIS_SOCKET = {
    "socket_keepalive": True,
    "socket_connect_timeout": 5,
    "socket_timeout": 30,
    "health_check_interval": 25,
}


def _redis(address: BrokerUrl, longest: float, take_back_after: float) -> dict[str, Any]:
    return {
        "broker_url": address.url,
        **({"broker_use_ssl": address.tls} if address.tls is not None else {}),
        "broker_transport_options": _REDIS_SOCKET
        | _redis_sentinel(address)
        | _visibility(longest)
        | {
            # Without it, a queue waits until those before it in the alphabet are empty.
            "queue_order_strategy": "round_robin",
            "take_back_after": take_back_after,
        },
        **_visibility(longest),
    } | _redis_results(address, longest)


def _visibility(longest: float) -> dict[str, int]:
    # After this time Redis gives a message to another worker, so it is longer than the longest task. The shortest time
    # of all applications that share a database counts, so this one needs its own database. Celery reads the setting
    # in three places.
    return {"visibility_timeout": int(longest + _SLACK_SECONDS)}


def _redis_results(address: BrokerUrl, longest: float) -> dict[str, Any]:
    """Return the settings for results in a Redis, which need not be the broker."""
    return {
        "result_backend": address.url,
        **({"redis_backend_use_ssl": address.tls} if address.tls is not None else {}),
        "result_backend_transport_options": _redis_sentinel(address) | _visibility(longest),
        "redis_socket_keepalive": True,
        "redis_socket_connect_timeout": _REDIS_SOCKET["socket_connect_timeout"],
        "redis_socket_timeout": _REDIS_SOCKET["socket_timeout"],
        "redis_backend_health_check_interval": _REDIS_SOCKET["health_check_interval"],
    }


def _redis_sentinel(address: BrokerUrl) -> dict[str, Any]:
    if address.scheme != "sentinel":
        return {}
    # A Sentinel that cannot be reached must not delay the next one.
    quick = {"socket_timeout": 2, "socket_connect_timeout": 2}
    return {"master_name": address.master_name, "sentinel_kwargs": address.sentinel_options(quick)}


def _rabbitmq(address: BrokerUrl, celery_queue: bool) -> dict[str, Any]:
    quorum = {"x-queue-type": "quorum"}
    return {
        "broker_url": address.url,
        **({"broker_use_ssl": address.amqp_tls()} if address.tls is not None else {}),
        # Results go back to the process that sent the job, as Celery's clients expect on RabbitMQ.
        "result_backend": "rpc://",
        "result_persistent": False,
        # A message sent while the connection breaks raises an error, and so is sent again, instead of vanishing.
        "broker_transport_options": {"confirm_publish": True},
        # Each side notices within a minute that the other is gone.
        "broker_heartbeat": 30,
        "task_queues": [
            *_intakes(celery_queue),
            # Replicated, so that they survive the loss of a node.
            *(_internal_queue(name, queue_arguments=quorum) for name in INTERNAL),
        ],
    }


def describe(settings: Settings) -> str:
    """Return the broker for a person, without its password."""
    from kombu.utils.url import maybe_sanitize_url

    if settings.broker.url is None:
        return f"files in {settings.data_dir.absolute() / 'broker'}"
    address = read_broker_url(settings.broker.url.get_secret_value())
    return ";".join(str(maybe_sanitize_url(part)) for part in address.url.split(";"))
