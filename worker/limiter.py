"""How many requests may be made now: rates and requests in flight, counted for the whole fleet.

The counts live in Redis where ``broker.limits_url`` or the broker is one, and in this process's memory otherwise.
A Redis that is away stops nobody: meanwhile each process counts for itself.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from worker.broker_urls import read_broker_url, redis_pool

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.storage import Storage
    from redis import Redis

PATIENCE_SECONDS = 2.0
"""Longer waits are left to the next tick: a thread that sleeps does nothing for anybody else."""
SEEN_SECONDS = 2
REDIS_SECONDS = 2.0
PREFIX = "vtsync:limits"

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``per_second`` requests for what is called ``name``, such as ``main:texts``."""

    name: str
    per_second: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """``requests`` may be made, ``at_once`` of them at a time. None of them: ask again in ``wait`` seconds.

    The caller says with ``use`` how many it is about to make.
    """

    requests: int
    at_once: int
    wait: float = 0.0
    use: Callable[[int], None] = lambda _: None

    def __bool__(self) -> bool:
        return self.requests > 0 and self.at_once > 0


class Slots(Protocol):
    """Places for requests in flight. A place whose process vanished is free again after its time."""

    def take(self, name: str, wanted: int, most: int, seconds: float, owner: str) -> int:
        """Take up to ``wanted`` of ``most`` places; returns how many were free."""

    def give_back(self, name: str, owner: str) -> None:
        """Free the places of ``owner``."""


class Limiter:
    """Counts requests against limits. Safe for threads; made anew after a fork."""

    def __init__(self, redis_url: str | None = None) -> None:
        self._local = _Backend.in_memory()
        self._shared = _Backend.on_redis(redis_url) if redis_url else None
        self._away_until = 0.0

    @contextmanager
    def allow(
        self,
        account: str,
        rates: Sequence[Rate],
        *,
        wanted: int,
        at_once: int,
        most_in_flight: int | None,
        seconds: float,
    ) -> Iterator[Allowance]:
        """What may be asked of ``account`` while the block runs, which takes at most ``seconds``.

        What is granted and then not used counts against the rates all the same, so ``wanted`` should be what is due.
        ``at_once`` is how many requests this process would have in flight, ``most_in_flight`` how many the fleet may.
        """
        owner = uuid.uuid4().hex
        name = f"{account}:in-flight"
        taken = at_once
        if most_in_flight is not None:
            most = most_in_flight
            taken = self._ask(lambda backend: backend.slots.take(name, at_once, most, seconds, owner))
        try:
            if not taken:
                yield Allowance(0, 0, 0.2)
                return
            requests, wait = self._ask(lambda backend: backend.requests(rates, wanted))
            yield Allowance(requests, taken, wait, lambda used: self._ask(lambda backend: backend.note(account, used)))
        finally:
            if most_in_flight is not None and taken:
                self._ask(lambda backend: backend.slots.give_back(name, owner))

    def admit(self, name: str, per_minute: int) -> float:
        """Count one request against a limit a minute. Returns 0, or the seconds after which there is room again."""
        return self._ask(lambda backend: backend.admit(name, per_minute))

    def seen(self, account: str) -> float:
        """Requests a second that the fleet made for ``account`` of late."""
        return self._ask(lambda backend: backend.seen(account))

    def _ask(self, question: Callable[[_Backend], T]) -> T:
        from redis.exceptions import RedisError

        if self._shared is None or time.monotonic() < self._away_until:
            return question(self._local)
        try:
            return question(self._shared)
        except RedisError as error:
            self._away_until = time.monotonic() + REDIS_SECONDS
            log.warning("the limits' Redis is away; this process counts for itself meanwhile", error=str(error))
            return question(self._local)


class _Backend:
    """The limits over one storage."""

    def __init__(self, storage: Storage, slots: Slots) -> None:
        from limits.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

        self.slots = slots
        self._limits = MovingWindowRateLimiter(storage)
        self._counts = SlidingWindowCounterRateLimiter(storage)

    @classmethod
    def in_memory(cls) -> _Backend:
        from limits.storage import MemoryStorage

        return cls(MemoryStorage(), LocalSlots())

    @classmethod
    def on_redis(cls, url: str) -> _Backend:
        from limits.storage import RedisStorage
        from redis import Redis

        quick = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
        pool = redis_pool(read_broker_url(url), quick)
        storage = RedisStorage("redis://", connection_pool=pool, key_prefix=PREFIX)
        return cls(storage, RedisSlots(Redis(connection_pool=pool)))

    def requests(self, rates: Sequence[Rate], wanted: int) -> tuple[int, float]:
        """(how many requests of ``wanted`` every rate leaves room for, seconds until there is room when none does)."""
        items = [(window(rate.per_second), rate.name) for rate in rates]
        granted = wanted
        for item, name in items:
            stats = self._limits.get_window_stats(item, name)
            granted = min(granted, stats.remaining)
            if granted <= 0:
                return 0, max(stats.reset_time - time.time(), 0.01)
        for item, name in items:  # others may have been faster since
            if not self._limits.hit(item, name, cost=granted):
                return 0, 0.05
        return granted, 0.0

    def admit(self, name: str, per_minute: int) -> float:
        """See ``Limiter``."""
        from limits import RateLimitItemPerMinute

        item = RateLimitItemPerMinute(per_minute)
        if self._counts.hit(item, name):
            return 0.0
        return max(self._counts.get_window_stats(item, name).reset_time - time.time(), 1.0)

    def note(self, account: str, requests: int) -> None:
        """Count requests that are about to be made."""
        self._counts.hit(_seen_item(), f"{account}:seen", cost=requests)

    def seen(self, account: str) -> float:
        """Requests a second, from the count of the last few seconds."""
        item = _seen_item()
        return (item.amount - self._counts.get_window_stats(item, f"{account}:seen").remaining) / SEEN_SECONDS


def window(per_second: float) -> RateLimitItem:
    """The shortest whole number of seconds in which that rate makes a whole request, and how many it makes then."""
    from limits import RateLimitItemPerSecond

    seconds = max(math.ceil(1 / per_second), 1)
    return RateLimitItemPerSecond(max(math.floor(per_second * seconds), 1), seconds)


def _seen_item() -> RateLimitItem:
    from limits import RateLimitItemPerSecond

    return RateLimitItemPerSecond(1 << 40, SEEN_SECONDS)


class LocalSlots:
    """Places of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, dict[str, tuple[int, float]]] = {}

    def take(self, name: str, wanted: int, most: int, seconds: float, owner: str) -> int:
        """See ``Slots``."""
        now = time.monotonic()
        with self._lock:
            held = {key: value for key, value in self._taken.get(name, {}).items() if value[1] > now}
            taken = max(min(wanted, most - sum(places for places, _ in held.values())), 0)
            self._taken[name] = held | {owner: (taken, now + seconds)}
            return taken

    def give_back(self, name: str, owner: str) -> None:
        """See ``Slots``."""
        with self._lock:
            self._taken.get(name, {}).pop(owner, None)


_TAKE = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local free = tonumber(ARGV[2])
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  local places, ends = string.match(held[i + 1], '(%d+):(%d+)')
  if tonumber(ends) <= ms then redis.call('HDEL', KEYS[1], held[i]) else free = free - tonumber(places) end
end
local taken = math.max(math.min(free, tonumber(ARGV[1])), 0)
if taken > 0 then
  redis.call('HSET', KEYS[1], ARGV[4], string.format('%d:%d', taken, ms + tonumber(ARGV[3])))
  redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[3]) + 60000)
end
return taken
"""


class RedisSlots:
    """Places of the fleet: a hash of owners. One script counts and takes, so no two take the same place."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._take = redis.register_script(_TAKE)

    def take(self, name: str, wanted: int, most: int, seconds: float, owner: str) -> int:
        """See ``Slots``."""
        arguments: list[int | str] = [wanted, most, int(seconds * 1000), owner]
        return int(self._take(keys=[f"{PREFIX}:{name}"], args=arguments))

    def give_back(self, name: str, owner: str) -> None:
        """See ``Slots``."""
        self._redis.hdel(f"{PREFIX}:{name}", owner)
