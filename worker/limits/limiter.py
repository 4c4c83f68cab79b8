"""How many requests may be made now: rates and requests in flight, counted for the whole fleet.

The counts are in Redis if ``broker.limits_url`` or the broker is a Redis, and otherwise in this process's memory.
While Redis cannot be reached, each process counts only its own requests, so that nothing stops.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from worker.broker.urls import read_broker_url, redis_pool

if TYPE_CHECKING:
    from redis import Redis

PATIENCE_SECONDS = 2.0
"""Longer waits are left to the next tick: a thread that sleeps blocks other work."""
IN_FLIGHT_WAIT_SECONDS = 0.2
"""Wait this long before asking again for a slot for one more request in flight."""
NO_ROOM = "the account {account} already makes as many requests as its limits allow"
SPACING = 1.15
"""Keeps every second within its rate even if some requests take a tenth of a second longer than others."""
OBSERVED_SECONDS = 2
REDIS_SECONDS = 2.0
PREFIX = "vtsync:limits"

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``per_second`` units that share ``name``, such as ``main:text``. A request costs ``cost`` units.

    ``spacing`` widens the gap between two requests, because requests that leave evenly arrive unevenly. After a pause,
    up to ``burst`` units may be used at once.
    """

    name: str
    per_second: float
    spacing: float = SPACING
    cost: int = 1
    burst: int = 1

    @property
    def interval(self) -> float:
        """Seconds between two requests."""
        return self.cost * self.spacing / self.per_second

    @property
    def slack(self) -> float:
        """How many seconds before its even turn a request may be made."""
        return max(self.burst - self.cost, 0) * self.spacing / self.per_second


class Slots(Protocol):
    """Slots for requests in flight. The slots of a process that vanished become free when their time is over."""

    def take(self, name: str, wanted: int, most: int, seconds: float, owner: str) -> int:
        """Take up to ``wanted`` of ``most`` slots. Return how many were taken."""

    def give_back(self, name: str, owner: str) -> None:
        """Free the slots of ``owner``."""


class Turns(Protocol):
    """Evenly spaced moments for requests (the generic cell rate algorithm).

    A counter per window would let all requests of a window start at once. Those that arrive a little late would then
    fall into the next window, which would see twice as many requests as allowed.
    """

    def take(self, rates: Sequence[Rate], patience: float) -> float | None:
        """See ``Limiter.turn``."""


class Observed(Protocol):
    """Counts the requests of the last few seconds."""

    def add(self, name: str, requests: int) -> float:
        """Count ``requests`` more. Return how many were counted within the last ``OBSERVED_SECONDS``."""


class Limiter:
    """Counts requests against limits. Safe for threads; build a new one after a fork."""

    def __init__(self, redis_url: str | None = None) -> None:
        self._local = _Backend(LocalSlots(), LocalTurns(), LocalObserved())
        self._shared = _redis_backend(redis_url) if redis_url else None
        self._away_until = 0.0

    @contextmanager
    def in_flight(self, account: str, *, wanted: int, most: int | None, seconds: float) -> Iterator[int]:
        """Yield how many requests, up to ``wanted``, may be in flight during the block (at most ``seconds`` long).

        ``most``: the limit of the whole fleet; None: no limit.
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
        """Take the next turn that every rate allows. Return the seconds until then.

        None: the turn is more than ``patience`` seconds away and was not taken.
        """
        return self._ask(lambda backend: backend.turns.take(rates, patience)) if rates else 0.0

    def admit(self, name: str, per_minute: int) -> float:
        """Count one request. Return 0 if it is admitted, else the seconds after which to try again.

        Up to ``per_minute`` requests may come at once; the allowance then refills evenly over a minute.
        """
        rate = Rate(name, per_minute / 60, spacing=1.0)
        admitted = self.turn([rate], 60 - rate.interval) is not None
        return 0.0 if admitted else rate.interval

    def note(self, account: str, requests: int) -> None:
        """Count requests that are about to be made, for ``observed_rate``."""
        self._ask(lambda backend: backend.observed.add(f"{account}:seen", requests))

    def observed_rate(self, account: str) -> float:
        """Return the requests a second that the fleet has recently made for ``account``."""
        return self._ask(lambda backend: backend.observed.add(f"{account}:seen", 0)) / OBSERVED_SECONDS

    def _ask(self, question: Callable[[_Backend], T]) -> T:
        from redis.exceptions import RedisError

        if self._shared is None or time.monotonic() < self._away_until:
            return question(self._local)
        try:
            return question(self._shared)
        except RedisError as error:
            self._away_until = time.monotonic() + REDIS_SECONDS
            log.warning(
                "the Redis for rate limits cannot be reached; this process counts only its own requests",
                error=str(error),
            )
            return question(self._local)


@dataclass(frozen=True, slots=True)
class _Backend:
    """The counts of this process, or of the fleet in Redis."""

    slots: Slots
    turns: Turns
    observed: Observed


def _redis_backend(url: str) -> _Backend:
    from redis import Redis

    timeouts = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
    redis = Redis(connection_pool=redis_pool(read_broker_url(url), timeouts))
    return _Backend(RedisSlots(redis), RedisTurns(redis), RedisObserved(redis))


class LocalSlots:
    """Slots of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, dict[str, tuple[int, float]]] = {}

    def take(self, name: str, wanted: int, most: int, seconds: float, owner: str) -> int:
        """See ``Slots``."""
        now = time.monotonic()
        with self._lock:
            held = {key: value for key, value in self._taken.get(name, {}).items() if value[1] > now}
            taken = max(min(wanted, most - sum(slots for slots, _ in held.values())), 0)
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
            even = {rate: self._next.get(rate.name, 0.0) for rate in rates}
            at = max(now, *(turn - rate.slack for rate, turn in even.items()))
            if at - now > patience:
                return None
            self._next.update({rate.name: max(turn, at) + rate.interval for rate, turn in even.items()})
            return at - now


class LocalObserved:
    """Recent requests of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[int, int]] = {}

    def add(self, name: str, requests: int) -> float:
        """See ``Observed``."""
        now = time.monotonic()
        second = int(now)
        with self._lock:
            recent = {at: n for at, n in self._counts.get(name, {}).items() if at >= second - OBSERVED_SECONDS}
            recent[second] = recent.get(second, 0) + requests
            self._counts[name] = recent
        return _sum_of_window(recent, now)


def _sum_of_window(counts: Mapping[int, int], now: float) -> float:
    """Add up the last ``OBSERVED_SECONDS`` from counts per second, the oldest second in proportion."""
    oldest = int(now) - OBSERVED_SECONDS
    part = 1 - (now - int(now))
    return sum(count * (part if second == oldest else second > oldest) for second, count in counts.items())


# The scripts ignore what lies further in the future than anything that they store: somebody has set Redis's clock back,
# and the fleet must not wait until that time has come.

_TAKE_TURN = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local at = now
local even = {}
for i = 1, #KEYS do
  even[i] = tonumber(redis.call('GET', KEYS[i]) or 0)
  if even[i] > now + tonumber(ARGV[2 * i]) + 600000000 then even[i] = 0 end
  at = math.max(at, even[i] - tonumber(ARGV[2 * i + 1]))
end
if at - now > tonumber(ARGV[1]) then return -1 end
for i = 1, #KEYS do
  local following = math.max(even[i], at) + tonumber(ARGV[2 * i])
  redis.call('SET', KEYS[i], string.format('%.0f', following), 'PX', math.ceil((following - now) / 1000) + 1000)
end
return at - now
"""


class RedisTurns:
    """Turns of the fleet, by the clock of Redis. One script reads and takes a turn, so no two requests get the same."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE_TURN)

    def take(self, rates: Sequence[Rate], patience: float) -> float | None:
        """See ``Turns``."""
        keys = [f"{PREFIX}:turn:{rate.name}" for rate in rates]
        times = [patience, *(seconds for rate in rates for seconds in (rate.interval, rate.slack))]
        microseconds = [int(seconds * 1e6) for seconds in times]
        wait = int(self._take(keys=keys, args=microseconds))
        return None if wait < 0 else wait / 1e6


_TAKE_SLOTS = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local free = tonumber(ARGV[2])
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  local slots, ends = string.match(held[i + 1], '(%d+):(%d+)')
  local left = tonumber(ends) - ms
  local taken = left > 0 and left <= tonumber(ARGV[3]) + 600000
  if taken then free = free - tonumber(slots) else redis.call('HDEL', KEYS[1], held[i]) end
end
local taken = math.max(math.min(free, tonumber(ARGV[1])), 0)
if taken > 0 then
  redis.call('HSET', KEYS[1], ARGV[4], string.format('%d:%d', taken, ms + tonumber(ARGV[3])))
  redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[3]) + 60000)
end
return taken
"""


class RedisSlots:
    """Slots of the fleet: a hash of owners. One script counts and takes, so no two take the same slot."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._take = redis.register_script(_TAKE_SLOTS)

    def take(self, name: str, wanted: int, most: int, seconds: float, owner: str) -> int:
        """See ``Slots``."""
        arguments: list[int | str] = [wanted, most, int(seconds * 1000), owner]
        return int(self._take(keys=[f"{PREFIX}:{name}"], args=arguments))

    def give_back(self, name: str, owner: str) -> None:
        """See ``Slots``."""
        self._redis.hdel(f"{PREFIX}:{name}", owner)


_COUNT = """
local time = redis.call('TIME')
local oldest = time[1] - tonumber(ARGV[2])
if tonumber(ARGV[1]) > 0 then
  redis.call('HINCRBY', KEYS[1], time[1], ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[2] + 2)
end
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
  local second = tonumber(counts[i])
  if second < oldest or second > tonumber(time[1]) then redis.call('HDEL', KEYS[1], counts[i]) end
end
return {time[1], time[2], redis.call('HGETALL', KEYS[1])}
"""


class RedisObserved:
    """Recent requests of the fleet: a hash of counts per second, by the clock of Redis."""

    def __init__(self, redis: Redis) -> None:
        self._count = redis.register_script(_COUNT)

    def add(self, name: str, requests: int) -> float:
        """See ``Observed``."""
        seconds, microseconds, flat = self._count(keys=[f"{PREFIX}:{name}"], args=[requests, OBSERVED_SECONDS])
        numbers = [int(value) for value in flat]
        counts = dict(zip(numbers[::2], numbers[1::2], strict=True))
        return _sum_of_window(counts, int(seconds) + int(microseconds) / 1e6)
