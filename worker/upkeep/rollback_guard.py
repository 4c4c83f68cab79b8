"""The rollback guard: detects that the store lost commits, by a restore or a failover.

In such a store, texts that were already sent are still queued. So each tick also writes its time outside the store: to
Redis if there is one, else to ``data_dir``. If the store's last tick is older than that time, nothing is sent
until a person runs ``vtsync restored``.
"""

from __future__ import annotations

import contextlib
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import Connection, select, update

from worker.core.private_files import private_file
from worker.limits.account_gate import pause_account
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import account_state, heartbeat, maintenance_lock

MARGIN = timedelta(seconds=60)
"""Overlapping ticks and differing clocks explain a difference of up to this."""
FOR_LONG = timedelta(days=3650)
REASON = (
    "the store has gone back in time, as after restoring a backup: texts sent since then would be sent again;"
    " stop every process, then run `vtsync restored`"
)
PREFIX = "vtsync:last-tick"
REDIS_SECONDS = 2.0
_TICK = "tick"
_NAME = "lineage"
"""The row of the maintenance locks whose ``lease_owner`` is the random name of this store."""

log = structlog.get_logger(__name__)


class TickMark(Protocol):
    """The time of the last tick, kept outside the store. Errors of Redis or the file are ignored."""

    def read(self) -> datetime | None:
        """Return the time of the last tick; None: unknown."""

    def write(self, at: datetime | None) -> None:
        """Store the time, or remove it (None)."""


def went_back(mark: datetime | None, last_tick: datetime | None) -> bool:
    """Return whether a store whose last tick is ``last_tick`` lost commits. Pure. A new store has lost nothing."""
    return mark is not None and last_tick is not None and mark - last_tick > MARGIN


def guard(runtime: Runtime) -> bool:
    """Pause every account if the store has gone back in time. Return whether it is safe to continue."""
    if not lost_ticks(runtime):
        _forget_the_future(runtime)
        return True
    with writing(runtime.engine) as connection:
        for account in runtime.settings.accounts:
            pause_account(connection, account, utcnow() + FOR_LONG, REASON)
    log.error("nothing is sent", why=REASON)
    return False


def _forget_the_future(runtime: Runtime) -> None:
    """Move back a mark that is later than now, because somebody has set the store's clock back.

    Otherwise the next tick, whose time in the store is earlier than the mark, would look like a lost commit.
    """
    now = utcnow()
    with reading(runtime.engine) as connection:
        name = _store_name(connection)
    if name is not None and (mark := tick_mark(runtime, name).read()) is not None and mark > now:
        tick_mark(runtime, name).write(now)


def lost_ticks(runtime: Runtime) -> bool:
    """Return whether ticks have run that the store does not know about. Change nothing."""
    with reading(runtime.engine) as connection:
        last = connection.scalar(select(heartbeat.c.seen_at).where(heartbeat.c.id == _TICK))
        name = _store_name(connection)
    return name is not None and went_back(tick_mark(runtime, name).read(), last)


def remember_tick(runtime: Runtime, at: datetime) -> None:
    """Write the time of a tick outside the store. ``at`` must not be later than the time in the store."""
    with reading(runtime.engine) as connection:
        name = _store_name(connection)
    if name is None:
        with writing(runtime.engine) as connection:
            row = {maintenance_lock.c.name.name: _NAME, maintenance_lock.c.lease_owner.name: uuid.uuid4().hex}
            named = insert(connection, maintenance_lock).values(row)
            connection.execute(named.on_conflict_do_nothing())
            name = _store_name(connection)
    if name is not None:
        tick_mark(runtime, name).write(at)


def resume_accounts(connection: Connection) -> None:
    """End the pauses of ``guard``, once a person has confirmed the store. Call ``forget_tick`` after the commit."""
    ours = update(account_state).where(account_state.c.pause_reason == REASON)
    connection.execute(ours.values(paused_until=None, pause_reason=""))


def forget_tick(runtime: Runtime) -> None:
    """Remove the time that is kept outside the store; the next tick writes another."""
    with reading(runtime.engine) as connection:
        name = _store_name(connection)
    if name is not None:
        tick_mark(runtime, name).write(None)


def _store_name(connection: Connection) -> str | None:
    """Return the random name of this store, which its copies share: several stores may use one Redis.

    None before the first tick.
    """
    lock = maintenance_lock.c
    name: str | None = connection.scalar(select(lock.lease_owner).where(lock.name == _NAME))
    return name


def tick_mark(runtime: Runtime, store: str) -> TickMark:
    """Return the mark outside the store in which this fleet keeps the time of the last tick."""
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
            return _parse_time(redis.get(self._key))
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
            return _parse_time(self._path.read_bytes())
        return None

    def write(self, at: datetime | None) -> None:
        with contextlib.suppress(OSError):
            if at is None:
                self._path.unlink(missing_ok=True)
            else:
                private_file(self._path).write_text(at.isoformat())


def _parse_time(text: object) -> datetime | None:
    if isinstance(text, bytes):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(text.decode())
    return None
