"""Checks what the user of the broker may do in Redis, without doing any of it.

Redis checks permissions when a command is queued in a transaction. So each command that vtsync uses is queued with the
key that it uses, and then all of them are discarded.
"""

from __future__ import annotations

from typing import Any

from worker.core.findings import Finding, FindingCode, ok, problem

ACL = (
    "~celery* ~vtsync* ~_kombu.* ~unacked* ~*.pidbox &celery-task-meta-* &/*"
    " +@read +@write +@pubsub +@transaction +@scripting +@connection -@dangerous +time +info"
)
"""The permissions that vtsync needs, as docs/operations.md lists them."""
COMMANDS = (
    # queues
    "LPUSH celery x",
    "RPUSH vtsync.messages x",
    "BRPOP celery vtsync.messages 1",
    "LLEN vtsync.intake",
    "LRANGE celery 0 0",
    "DEL vtsync.messages",
    "SADD _kombu.binding.celery x",
    "SREM _kombu.binding.celery x",
    "SMEMBERS _kombu.binding.celery",
    "EXISTS _kombu.binding.celery",
    # jobs that a worker has taken
    "HSET unacked x x",
    "HGET unacked x",
    "HDEL unacked x",
    "HLEN unacked",
    "ZADD unacked_index 0 x",
    "ZREM unacked_index x",
    "ZRANGE unacked_index 0 -1",
    "SET unacked_mutex x",
    "SET vtsync:owner:x 1",
    "PEXPIRE vtsync:owner:x 1",
    "EXISTS vtsync:owner:x",
    # results
    "SETEX celery-task-meta-x 1 x",
    "GET celery-task-meta-x",
    "MGET celery-task-meta-x",
    "PUBLISH celery-task-meta-x x",
    # limits of the fleet, and the time of the last tick
    "EVALSHA 0000000000000000000000000000000000000000 1 vtsync:limits:x",
    "HGETALL vtsync:limits:x",
    "HINCRBY vtsync:limits:x x 1",
    "EXPIRE vtsync:limits:x 1",
    "TIME",
    "GET vtsync:last-tick:x",
)
SHOWN = 3


def refused_commands(redis: Any) -> list[str]:
    """Return the commands, each with its keys, that the user may not run."""
    from redis.exceptions import NoPermissionError, RedisError

    connection = redis.connection_pool.get_connection()
    refused = []
    try:
        _ask(connection, "MULTI")
        for command in COMMANDS:
            try:
                _ask(connection, command)
            except NoPermissionError:
                refused.append(command)
            except RedisError:  # for another reason, such as a full memory, which other checks report
                continue
    except NoPermissionError:
        return ["MULTI"]
    finally:
        connection.disconnect()  # which discards the transaction
    return refused


def _ask(connection: Any, command: str) -> None:
    connection.send_command(*command.split())
    connection.read_response()


def judge_permissions(refused: list[str]) -> Finding:
    """Judge by the commands that are refused whether workers can work. Pure."""
    if not refused:
        return ok("broker", "the Redis user has the permissions that are needed")
    shown = ", ".join(refused[:SHOWN]) + (f" and {len(refused) - SHOWN} more" if len(refused) > SHOWN else "")
    return problem(
        FindingCode.BROKER_PERMISSIONS,
        "broker",
        f"the Redis user may not run: {shown}",
        "workers get no jobs, lose track of them, or ignore the limits of the fleet",
        f"ACL SETUSER NAME {ACL}",
    )
