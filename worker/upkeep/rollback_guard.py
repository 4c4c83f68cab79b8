"""Notices that the store has gone back in time: restored from a backup, or a replica that missed the last commits.

What was sent in between is queued in it once more. So each tick leaves a mark outside of the store: in Redis where
there is one, else in ``data_dir``. A store whose last tick is older than the mark sends nothing before a person has run
``vtsync restored``.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import Connection, select, update

from worker.limits.account_gate import pause_account
from worker.runtime import Runtime
from worker.store.db import new_lease_owner, reading, writing
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import account_state, chore, heartbeat

MARGIN = timedelta(seconds=60)
"""Two ticks that overlap, and clocks that differ, explain this much."""
FOR_LONG = timedelta(days=3650)
REASON = (
    "the store has gone back in time, as after a restored backup: what was sent since would be sent again;"
    " stop every process, then run `vtsync restored`"
)
PREFIX = "vtsync:last-tick"
REDIS_SECONDS = 2.0
_TICK = "tick"
_NAME = "lineage"

log = structlog.get_logger(__name__)


class Mark(Protocol):
    """When the last tick was, remembered outside of the store. What cannot be reached says nothing."""

    def read(self) -> datetime | None:
        """The last tick; None: nobody knows."""

    def write(self, at: datetime | None) -> None:
        """Remember it, or (None) forget it."""


def went_back(mark: datetime | None, last_tick: datetime | None) -> bool:
    """Whether a store that knows of ``last_tick`` has lost what came after it. Pure. A new store has lost nothing."""
    return mark is not None and last_tick is not None and mark - last_tick > MARGIN


def intact(runtime: Runtime) -> bool:
    """Whether the store knows of the last tick; else no account is called any more."""
    if not lost_ticks(runtime):
        return True
    with writing(runtime.engine) as connection:
        for account in runtime.settings.accounts:
            pause_account(connection, account, utcnow() + FOR_LONG, REASON)
    log.error("nothing is sent", why=REASON)
    return False


def lost_ticks(runtime: Runtime) -> bool:
    """Whether ticks were carried out that the store does not know of. Changes nothing."""
    with reading(runtime.engine) as connection:
        last = connection.scalar(select(heartbeat.c.seen_at).where(heartbeat.c.id == _TICK))
        name = _name(connection)
    return name is not None and went_back(mark_of(runtime, name).read(), last)


def remember(runtime: Runtime, at: datetime) -> None:
    """A tick that the store knows of was carried out; ``at`` is not later than what is stored."""
    with reading(runtime.engine) as connection:
        name = _name(connection)
    if name is None:
        with writing(runtime.engine) as connection:
            named = insert(connection, chore).values(name=_NAME, lease_owner=new_lease_owner())
            connection.execute(named.on_conflict_do_nothing())
            name = _name(connection)
    if name is not None:
        mark_of(runtime, name).write(at)


def let_go(connection: Connection) -> None:
    """A person has said what the store is now: accounts may be called again. Then ``forget`` the mark."""
    ours = update(account_state).where(account_state.c.pause_reason == REASON)
    connection.execute(ours.values(paused_until=None, pause_reason=""))


def forget(runtime: Runtime) -> None:
    """Remove the mark; the next tick leaves another."""
    with reading(runtime.engine) as connection:
        name = _name(connection)
    if name is not None:
        mark_of(runtime, name).write(None)


def _name(connection: Connection) -> str | None:
    """What tells this store, and every copy of it, from others that may use the same Redis; None before a tick."""
    name: str | None = connection.scalar(select(chore.c.lease_owner).where(chore.c.name == _NAME))
    return name


def mark_of(runtime: Runtime, store: str) -> Mark:
    """Where this fleet keeps the mark of its ``store``."""
    from worker.broker.urls import read_broker_url

    broker = runtime.settings.broker
    for secret in (broker.url, broker.limits_url):
        if secret is not None and read_broker_url(secret.get_secret_value()).is_redis:
            return _InRedis(secret.get_secret_value(), f"{PREFIX}:{store}")
    return _InFile(runtime.settings.data_dir / f"last-tick-{store}")


class _InRedis:
    def __init__(self, url: str, key: str) -> None:
        from redis import Redis

        from worker.broker.urls import read_broker_url, redis_pool

        quick = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
        self._key = key
        self._redis = Redis.from_pool(redis_pool(read_broker_url(url), quick))

    def read(self) -> datetime | None:
        from redis.exceptions import RedisError

        with contextlib.suppress(RedisError), self._redis as redis:
            return _moment(redis.get(self._key))
        return None

    def write(self, at: datetime | None) -> None:
        from redis.exceptions import RedisError

        with contextlib.suppress(RedisError), self._redis as redis:
            if at is None:
                redis.delete(self._key)
            else:
                redis.set(self._key, at.isoformat())


class _InFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> datetime | None:
        with contextlib.suppress(OSError):
            return _moment(self._path.read_bytes())
        return None

    def write(self, at: datetime | None) -> None:
        with contextlib.suppress(OSError):
            if at is None:
                self._path.unlink(missing_ok=True)
            else:
                self._path.write_text(at.isoformat())


def _moment(text: object) -> datetime | None:
    if isinstance(text, bytes):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(text.decode())
    return None
