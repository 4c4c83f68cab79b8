"""How Celery is set up, from the configuration. Every setting says why it is not left at its default.

The queue is a hint and the database is the truth, so none of this has to be perfect: a lost message is found again by
the next tick, a doubled one does nothing twice. It has to survive: broker restarts, dropped connections, deploys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kombu.entity import Exchange, Queue

from config.models import Settings
from worker.broker.urls import BrokerUrl, read_broker_url

# Celery's own default queue: a service that knows only the broker's URL and a task's name reaches it.
INTAKE = "celery"
SYNC, PUSH, MESSAGES, RECORDS = "vtsync.sync", "vtsync.push", "vtsync.messages", "vtsync.records"
INBOX, FORWARD = "vtsync.inbox", "vtsync.forward"
TICK = "vtsync.tick"
INTERNAL = (SYNC, PUSH, MESSAGES, RECORDS, INBOX, FORWARD, TICK)
"""Apart, so that a million-contact back-fill never delays a text."""
BY_NAME: dict[str, str] = {"intake": INTAKE} | {name.removeprefix("vtsync."): name for name in INTERNAL if name != TICK}
"""As `worker.queues` names them."""

FEWEST_THREADS = 6
"""A sync, a push, what comes in and what is handed on; and two for texts and jobs, see ``worker.tasks``."""
RESULT_SECONDS = 3600
_SLACK_SECONDS = 300


def queues_of(names: Sequence[str]) -> tuple[str, ...]:
    """The queues that a worker takes from which is to take these kinds of work; none named: all.

    Every worker takes ticks: without them nothing that was left behind is found.
    """
    return (*(BY_NAME[name] for name in dict.fromkeys(names or BY_NAME)), TICK)


def celery_settings(settings: Settings) -> dict[str, Any]:
    """The Celery settings for a configuration: the embedded broker, Redis or RabbitMQ."""
    url = settings.broker.url.get_secret_value() if settings.broker.url else None
    longest = settings.worker.time_limit.total_seconds() + _SLACK_SECONDS
    chosen = embedded_worker_settings(settings.data_dir) if url is None else server_settings(url, longest)
    if settings.broker.result_url is not None:
        chosen |= _redis_results(read_broker_url(settings.broker.result_url.get_secret_value()), longest)
    return _common(settings, longest) | chosen


def threads(settings: Settings) -> int:
    """How many tasks a worker process runs at once."""
    return max(settings.worker.concurrency, FEWEST_THREADS)


def _common(settings: Settings, longest: float) -> dict[str, Any]:
    return {
        # JSON only: a message can never run code.
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "timezone": "UTC",
        # Only the public tasks have results (each says so); nobody reads the others'.
        "task_ignore_result": True,
        "result_expires": RESULT_SECONDS,
        # One message at a time a thread: what is prefetched is lost or doubled when a worker is killed.
        "worker_prefetch_multiplier": 1,
        # Threads: requests wait for the network. Celery's time limits do nothing on them, so the code has deadlines of
        # its own; the limits below are for those who run the prefork pool, and lie behind those deadlines.
        "worker_pool": "threads",
        # Long work of every kind at once must leave threads for texts.
        "worker_concurrency": threads(settings),
        "task_soft_time_limit": longest,
        "task_time_limit": longest + _SLACK_SECONDS,
        # A broker that is away, at the start or later, is waited for, for ever (the default gives up after 100).
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # On a lost connection a late-acknowledged task comes again; it does nothing twice. Cancelling it would turn
        # requests that are on the wire into unknown ones.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # SIGTERM: running tasks end at their next safe point, within the longest request.
        "worker_soft_shutdown_timeout": 60,
        "worker_enable_soft_shutdown_on_idle": True,
        # Workers need not talk to each other; monitors such as Flower want to be talked to.
        "worker_enable_remote_control": settings.worker.events,
        "worker_send_task_events": settings.worker.events,
        # It says when it waits for the broker, which is no reason to restart it.
        "worker_consumer": "worker.monitoring.consumer:WatchedConsumer",
        # Our own log handlers stay.
        "worker_hijack_root_logger": False,
        "task_default_queue": INTAKE,
        "task_queues": [_queue(INTAKE), *(_internal_queue(name) for name in INTERNAL)],
        "task_routes": {
            "vtsync.push_contacts": {"queue": PUSH},
            "vtsync.deliver_messages": {"queue": MESSAGES},
            "vtsync.record_messages": {"queue": RECORDS},
            "vtsync.run_sync": {"queue": SYNC},
            "vtsync.process_inbox": {"queue": INBOX},
            "vtsync.poll_carriers": {"queue": INBOX},
            "vtsync.forward_events": {"queue": FORWARD},
            "vtsync.prune": {"queue": SYNC},
            # Not behind thousands of jobs, where it would expire.
            "vtsync.tick": {"queue": TICK},
        },
        "beat_schedule": {
            # One static entry: the tick claims what is due in the store, so a second beat runs nothing twice.
            "tick": {
                "task": "vtsync.tick",
                "schedule": settings.worker.tick_every,
                # After a downtime one tick is enough, not a backlog of them.
                "options": {"expires": settings.worker.tick_every.total_seconds() * 2},
            }
        },
        "beat_schedule_filename": str(settings.data_dir.absolute() / "beat-schedule"),
        # Sleep no longer than the tick, whatever else is scheduled.
        "beat_max_loop_interval": min(settings.worker.tick_every.total_seconds(), 5),
    }


def _queue(name: str, **arguments: Any) -> Any:
    return Queue(name, **arguments)  # type: ignore[no-untyped-call] # Kombu has no types


def _internal_queue(name: str, **arguments: Any) -> Any:
    # Celery would bind every queue to the intake's exchange: a job sent to that by hand would come once a queue.
    exchange = Exchange(name, type="direct")  # type: ignore[no-untyped-call] # Kombu has no types
    return _queue(name, exchange=exchange, routing_key=name, **arguments)


def embedded_settings(data_dir: Path) -> dict[str, Any]:
    """The broker of one machine: files in ``data_dir``. Several processes share them, no server is needed.

    Another process on the machine that wants to enqueue uses exactly these three settings.
    """
    folder = data_dir.absolute() / "broker"
    queue, control, results = folder / "queue", folder / "control", folder / "results"
    for path in (queue, control, results):
        path.mkdir(parents=True, exist_ok=True)
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
    """The same for our own processes, whose side of it keeps what they work on until it is done."""
    return embedded_settings(data_dir) | {"broker_transport": "worker.broker.folder_transport:Transport"}


def server_settings(url: str, longest: float) -> dict[str, Any]:
    """Redis or RabbitMQ by URL. ``longest`` is how many seconds a task may run."""
    address = read_broker_url(url)
    return _redis(address, longest) if address.is_redis else _rabbitmq(address)


# A connection that died in silence is noticed, by whoever waits for it.
_REDIS_SOCKET = {
    "socket_keepalive": True,
    "socket_connect_timeout": 5,
    "socket_timeout": 30,
    "health_check_interval": 25,
}


def _redis(address: BrokerUrl, longest: float) -> dict[str, Any]:
    return {
        "broker_url": address.url,
        **({"broker_use_ssl": address.tls} if address.tls is not None else {}),
        "broker_transport_options": _REDIS_SOCKET
        | _redis_sentinel(address)
        | _visibility(longest)
        | {
            # No queue waits until those before it in the alphabet are empty.
            "queue_order_strategy": "round_robin",
        },
        **_visibility(longest),
    } | _redis_results(address, longest)


def _visibility(longest: float) -> dict[str, int]:
    # Redis gives a message to another worker when this runs out, so it lies above the longest task. The shortest among
    # the applications that share a database counts for all: give this one a database of its own. Celery reads it in
    # three places.
    return {"visibility_timeout": int(longest + _SLACK_SECONDS)}


def _redis_results(address: BrokerUrl, longest: float) -> dict[str, Any]:
    """Results on a Redis, which need not be the broker."""
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
    # A Sentinel that is away must not hold up the question to the next.
    quick = {"socket_timeout": 2, "socket_connect_timeout": 2}
    return {"master_name": address.master_name, "sentinel_kwargs": address.sentinel_options(quick)}


def _rabbitmq(address: BrokerUrl) -> dict[str, Any]:
    quorum = {"x-queue-type": "quorum"}
    return {
        "broker_url": address.url,
        **({"broker_use_ssl": address.amqp_tls()} if address.tls is not None else {}),
        # Results go back to the process that asked, as Celery's clients expect on RabbitMQ.
        "result_backend": "rpc://",
        "result_persistent": False,
        # What is handed on as the connection breaks is an error, and so comes again, instead of vanishing.
        "broker_transport_options": {"confirm_publish": True},
        # Both sides notice within a minute that the other is gone.
        "broker_heartbeat": 30,
        "task_queues": [
            # Declared as any Celery client declares it, or RabbitMQ would refuse one of the two.
            _queue(INTAKE),
            # Replicated: they survive the loss of a node.
            *(_internal_queue(name, queue_arguments=quorum) for name in INTERNAL),
        ],
    }


def describe(settings: Settings) -> str:
    """Which broker it is, for a person, without its password."""
    from kombu.utils.url import maybe_sanitize_url

    if settings.broker.url is None:
        return f"files in {settings.data_dir.absolute() / 'broker'}"
    address = read_broker_url(settings.broker.url.get_secret_value())
    return ";".join(str(maybe_sanitize_url(part)) for part in address.url.split(";"))
