"""Checks the broker's server: version, persistence, memory, clock, permissions, other programs in our database."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from worker.broker.urls import read_broker_url, redis_pool
from worker.core.clock import utcnow
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.doctor import clocks
from worker.doctor.redis_permissions import judge_permissions, refused_commands
from worker.runtime import Runtime

REDIS_MINIMUM, REDIS_TESTED = (6, 2), (7, 0)
RABBITMQ_TESTED = (3, 10)
KEYS_SAMPLED = 2000
FULL = 0.8
OURS = re.compile(
    r"celery$|celery\x06|vtsync[.:]|_kombu\.binding(_permanent)?\.(celery$|vtsync\.|celeryev$|reply|.*pidbox$)"
    r"|unacked|celery-task-meta-|.*\.reply\.|.*\.pidbox$"
)


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """The state of a Redis server and of our database in it. Sizes are in bytes; 0 means no limit."""

    version: str
    cluster: bool
    policy: str
    max_memory: int
    used_memory: int
    append_only: bool
    snapshots: bool
    foreign: tuple[str, ...]


def check_broker_server(runtime: Runtime) -> Iterator[Finding]:
    """Check what vtsync needs of this kind of broker."""
    url = "" if runtime.settings.broker.url is None else runtime.settings.broker.url.get_secret_value()
    if url and read_broker_url(url).is_redis:
        yield from _check_redis(url)
    elif url:
        yield from _check_rabbitmq()


def _check_redis(url: str) -> Iterator[Finding]:
    with _redis(url) as redis:
        asked = utcnow()
        theirs = clocks.from_timestamp(*redis.time())
        yield clocks.judge_clock("the broker", theirs, asked, utcnow())
        yield judge_permissions(refused_commands(redis))
        yield from _server_findings(redis)


def _server_findings(redis: Any) -> Iterator[Finding]:
    from redis.exceptions import NoPermissionError

    try:
        facts = _redis_facts(redis)
    except NoPermissionError:
        yield warning(
            FindingCode.BROKER_PERMISSIONS,
            "broker",
            "the Redis user may not run INFO or SCAN",
            "memory, persistence and keys of other programs cannot be checked",
            "allow them: `ACL SETUSER NAME +info +scan`",
        )
        return
    yield from judge_redis(facts)


@contextmanager
def _redis(url: str) -> Iterator[Any]:
    from redis import Redis

    pool = redis_pool(read_broker_url(url), {"socket_connect_timeout": 5, "socket_timeout": 5})
    try:
        yield Redis(connection_pool=pool)
    finally:
        pool.disconnect()


def check_other_redis(runtime: Runtime) -> Iterator[Finding]:
    """Reach the Redis servers that store results and count requests, if they are configured."""
    from redis.exceptions import RedisError

    configured = runtime.settings.broker
    for key, secret, why in (
        ("result_url", configured.result_url, "services that wait for the result of a job never get it"),
        (
            "limits_url",
            configured.limits_url,
            "each process counts only its own requests, so the fleet makes too many",
        ),
    ):
        if secret is None:
            continue
        try:
            with _redis(secret.get_secret_value()) as redis:
                redis.ping()
        except (RedisError, OSError) as error:
            yield problem(
                FindingCode.BROKER_UNREACHABLE,
                "broker",
                f"broker.{key} cannot be reached ({type(error).__name__})",
                why,
                f"start it, or correct broker.{key}",
            )
        else:
            yield ok("broker", f"broker.{key} answers")


def _redis_facts(redis: Any) -> RedisFacts:
    info = redis.info()
    keys = (key.decode(errors="replace") for key in islice(redis.scan_iter(count=500), KEYS_SAMPLED))
    return RedisFacts(
        version=info["redis_version"],
        cluster=bool(info.get("cluster_enabled")),
        policy=info.get("maxmemory_policy", ""),
        max_memory=info.get("maxmemory", 0),
        used_memory=info.get("used_memory", 0),
        append_only=bool(info.get("aof_enabled")),
        snapshots=_takes_snapshots(redis),
        foreign=foreign_keys(keys),
    )


def _takes_snapshots(redis: Any) -> bool:
    from redis.exceptions import ResponseError

    try:
        return bool(redis.config_get("save").get("save"))
    except ResponseError:  # not allowed, or a hosted Redis that hides its settings has its own way of persisting data
        return True


def foreign_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Return up to three keys that vtsync did not create. Pure."""
    return tuple(islice((key for key in keys if not OURS.match(key)), 3))


def judge_redis(facts: RedisFacts) -> Iterator[Finding]:
    """Judge whether this Redis keeps our jobs. Pure."""
    yield _redis_version(facts)
    if facts.policy != "noeviction":
        level = problem if facts.max_memory else warning
        yield level(
            FindingCode.REDIS_EVICTS,
            "broker",
            f"maxmemory-policy is {facts.policy or 'unknown'}",
            "when memory runs short, Redis deletes queues and the jobs in them",
            "set `maxmemory-policy noeviction` in redis.conf",
        )
    if facts.max_memory and facts.used_memory > FULL * facts.max_memory:
        yield problem(
            FindingCode.REDIS_FULL,
            "broker",
            f"Redis uses {facts.used_memory / facts.max_memory:.0%} of its memory",
            "when it is full, it accepts no jobs and workers get no work",
            "raise maxmemory, or find the long queue (below)",
        )
    if not facts.append_only:
        snapshots = "queued jobs are saved only with each snapshot"
        yield warning(
            FindingCode.REDIS_NOT_PERSISTENT,
            "broker",
            snapshots if facts.snapshots else "queued jobs are not saved to disk",
            "a restart of Redis loses jobs that no worker has taken yet",
            "set `appendonly yes` in redis.conf",
        )
    if facts.foreign:
        yield problem(
            FindingCode.REDIS_SHARED,
            "broker",
            f"other programs use this database too; some of their keys: {', '.join(facts.foreign)}",
            "Celery applications that share a database share the shortest visibility timeout: jobs would run twice",
            "give vtsync its own database: change the number at the end of broker.url",
        )


def _redis_version(facts: RedisFacts) -> Finding:
    name = f"Redis {facts.version}"
    if facts.cluster:
        return problem(
            FindingCode.SERVER_UNSUPPORTED,
            "broker",
            f"{name} in cluster mode",
            "Celery cannot use a cluster as its broker",
            "use a single Redis or Sentinel",
        )
    if _numbers(facts.version) < REDIS_TESTED:
        level = problem if _numbers(facts.version) < REDIS_MINIMUM else warning
        return level(
            FindingCode.SERVER_UNSUPPORTED, "broker", name, "vtsync is tested with Redis 7", "upgrade the server"
        )
    return ok("broker", name)


def _check_rabbitmq() -> Iterator[Finding]:
    from worker.app import app

    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        version = str(connection.connection.server_properties.get("version", ""))
        yield judge_rabbitmq(version)
        yield _permissions(connection)


def judge_rabbitmq(version: str) -> Finding:
    """Judge whether this RabbitMQ is recent enough. Pure."""
    if _numbers(version) < RABBITMQ_TESTED:
        return problem(
            FindingCode.SERVER_UNSUPPORTED,
            "broker",
            f"RabbitMQ {version}",
            "its quorum queues are not reliable",
            "upgrade it to 3.10 or newer",
        )
    return ok("broker", f"RabbitMQ {version}")


def _permissions(connection: Any) -> Finding:
    """Create a queue, write to it and read from it, as workers and services do."""
    name = f"vtsync.doctor.{uuid.uuid4().hex[:8]}"
    try:
        with connection.SimpleQueue(
            name, queue_opts={"exclusive": True, "durable": False}, exchange_opts=_OWN
        ) as queue:
            queue.put("ping", delivery_mode=1)
            queue.get(timeout=5).ack()
    except connection.channel_errors as error:
        return problem(
            FindingCode.BROKER_PERMISSIONS,
            "broker",
            f"this user may not create and use queues ({type(error).__name__})",
            "workers cannot start, or get no work",
            'rabbitmqctl set_permissions -p VHOST USER ".*" ".*" ".*"',
        )
    return ok("broker", "queues can be created, written and read")


_OWN = {"durable": False, "auto_delete": True}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
