"""How many requests may be made now: rates and requests in flight, counted for the whole fleet.

The counts live in Redis where ``broker.limits_url`` or the broker is one, and in this process's memory otherwise.
A Redis that is away stops nobody: meanwhile each process counts for itself.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from worker.broker.urls import read_broker_url, redis_pool

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.storage import Storage
    from redis import Redis

PATIENCE_SECONDS = 2.0
"""Longer waits are left to the next tick: a thread that sleeps does nothing for anybody else."""
SPACING = 1.15
"""With this, requests that take up to a tenth of a second longer than others make no second fuller than its rate."""
SEEN_SECONDS = 2
REDIS_SECONDS = 2.0
PREFIX = "vtsync:limits"

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``per_second`` requests for what is called ``name``, such as ``main:text``."""

    name: str
    per_second: float

    @property
    def apart(self) -> float:
        """Seconds between two requests. A little more than the rate says: what is on its way arrives unevenly."""
        return SPACING / self.per_second


class Slots(Protocol):
    """Places for requests in flight. A place whose process vanished is free again after its time."""

    def take(self, name: str, wanted: int, most: int, seconds: float, owner: str) -> int:
        """Take up to ``wanted`` of ``most`` places; returns how many were free."""

    def give_back(self, name: str, owner: str) -> None:
        """Free the places of ``owner``."""


class Turns(Protocol):
    """Gives out moments for requests, spaced evenly (the generic cell rate algorithm).

    A count a window would let all of a window's requests start at once; those that arrive a little late are then
    among those of the next window, twice as many as allowed.
    """

    def take(self, rates: Sequence[Rate], patience: float) -> float | None:
        """See ``Limiter.turn``."""


class Limiter:
    """Counts requests against limits. Safe for threads; made anew after a fork."""

    def __init__(self, redis_url: str | None = None) -> None:
        self._local = _Backend.in_memory()
        self._shared = _Backend.on_redis(redis_url) if redis_url else None
        self._away_until = 0.0

    @contextmanager
    def places(self, account: str, *, wanted: int, most: int | None, seconds: float) -> Iterator[int]:
        """How many requests, up to ``wanted``, may be in flight while the block runs, which takes at most ``seconds``.

        ``most``: in the whole fleet; None: no limit.
        """
        if most is None:
            yield wanted
            return
        owner, name = uuid.uuid4().hex, f"{account}:in-flight"
        taken = self._ask(lambda backend: backend.slots.take(name, wanted, most, seconds, owner))
        try:
            yield taken
        finally:
            if taken:
                self._ask(lambda backend: backend.slots.give_back(name, owner))

    def turn(self, rates: Sequence[Rate], patience: float) -> float | None:
        """The next turn that every rate leaves for one request: in how many seconds it is.

        None: it would be later than ``patience`` seconds from now, and was not taken.
        """
        return self._ask(lambda backend: backend.turns.take(rates, patience)) if rates else 0.0

    def note(self, account: str, requests: int) -> None:
        """Count requests that are about to be made, for ``seen``."""
        self._ask(lambda backend: backend.note(account, requests))

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

    def __init__(self, storage: Storage, slots: Slots, turns: Turns) -> None:
        from limits.strategies import SlidingWindowCounterRateLimiter

        self.slots, self.turns = slots, turns
        self._counts = SlidingWindowCounterRateLimiter(storage)

    @classmethod
    def in_memory(cls) -> _Backend:
        from limits.storage import MemoryStorage

        return cls(MemoryStorage(), LocalSlots(), LocalTurns())

    @classmethod
    def on_redis(cls, url: str) -> _Backend:
        from limits.storage import RedisStorage
        from redis import Redis

        quick = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
        pool = redis_pool(read_broker_url(url), quick)
        redis = Redis(connection_pool=pool)
        storage = RedisStorage("redis://", connection_pool=pool, key_prefix=PREFIX)
        return cls(storage, RedisSlots(redis), RedisTurns(redis))

    def admit(self, name: str, per_minute: int) -> float:
        """See ``Limiter``."""
        from limits import RateLimitItemPerMinute

        item = RateLimitItemPerMinute(per_minute)
        if self._counts.hit(item, name):
            return 0.0
        return max(self._counts.get_window_stats(item, name).reset_time - time.time(), 1.0)

    def note(self, account: str, requests: int) -> None:
        """See ``Limiter``."""
        self._counts.hit(_seen_item(), f"{account}:seen", cost=requests)

    def seen(self, account: str) -> float:
        """Requests a second, from the count of the last few seconds."""
        item = _seen_item()
        return (item.amount - self._counts.get_window_stats(item, f"{account}:seen").remaining) / SEEN_SECONDS


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


class LocalTurns:
    """Turns of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}

    def take(self, rates: Sequence[Rate], patience: float) -> float | None:
        """See ``Turns``."""
        now = time.monotonic()
        with self._lock:
            at = max(now, *(self._next.get(rate.name, 0.0) for rate in rates))
            if at - now > patience:
                return None
            self._next.update({rate.name: at + rate.apart for rate in rates})
            return at - now


_TURN = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local at = now
for i = 1, #KEYS do at = math.max(at, tonumber(redis.call('GET', KEYS[i]) or 0)) end
if at - now > tonumber(ARGV[1]) then return -1 end
for i = 1, #KEYS do
  local following = at + tonumber(ARGV[i + 1])
  redis.call('SET', KEYS[i], string.format('%.0f', following), 'PX', math.ceil((following - now) / 1000) + 1000)
end
return at - now
"""


class RedisTurns:
    """Turns of the fleet, by Redis' clock. One script looks and takes, so no two take the same turn."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TURN)

    def take(self, rates: Sequence[Rate], patience: float) -> float | None:
        """See ``Turns``."""
        keys = [f"{PREFIX}:turn:{rate.name}" for rate in rates]
        microseconds = [int(seconds * 1e6) for seconds in (patience, *(rate.apart for rate in rates))]
        wait = int(self._take(keys=keys, args=microseconds))
        return None if wait < 0 else wait / 1e6


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
