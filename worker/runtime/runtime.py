"""The runtime of a process: the settings, the store, the clients, and the stop signal.

``open_runtime`` returns it to the tasks, the command line and the web server. Work keeps the runtime with which it
began. When the configuration file changes, new work gets another one, which shares the connections. No connection is
opened before it is needed.
"""

from __future__ import annotations

import copy
import math
import time
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from config.models import Settings
from crm_adapters.clock import use_clock
from worker.core.clock import utcnow
from worker.limits.adaptive_rate import FailureCounter
from worker.virtualtext.outcomes import Endpoint

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.limits.limiter import Limiter, Rate
    from worker.virtualtext.client import VirtualTextClient

# A claim lasts longer than the slowest request that it covers: no request starts later than this before the lease ends.
LEASE_SLACK_SECONDS = 5.0

Kind: TypeAlias = Literal["create", "update", "text"]
"""The kind of a request to VirtualText. Texts and records of texts use the same endpoint."""
SHARE_OF_CONTACTS = 0.9
"""The share of the requests in flight, so that a back-fill of contacts always leaves room for a text."""
CONTACTS_AHEAD_SECONDS = 0.2


LOOK_EVERY_SECONDS = 0.2
"""How often a wait looks if it should end."""


class StopSignal:
    """Asks long work to stop at its next safe point: on SIGTERM, or when its time is up."""

    def __init__(self, seconds: float | None = None, parent: StopSignal | None = None) -> None:
        self._set = False
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._parent = parent

    def set(self) -> None:
        """Request the stop. Safe in a signal handler: it takes no lock that this thread may hold already."""
        self._set = True

    @property
    def requested(self) -> bool:
        """True if the work should stop now."""
        if self._set or (self._parent is not None and self._parent.requested):
            return True
        return self._deadline is not None and time.monotonic() >= self._deadline

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds``, or until a stop is requested. Return False if one is."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_EVERY_SECONDS))
        return not self.requested

    def child(self, seconds: float) -> StopSignal:
        """Return a signal that is also requested after ``seconds``."""
        return StopSignal(seconds, parent=self)


class Runtime:
    """The settings and connections of a process. ``engine``: the store, if the caller has already opened it."""

    def __init__(self, settings: Settings, stop: StopSignal | None = None, engine: Engine | None = None) -> None:
        use_clock(utcnow)
        self.settings = settings
        self.stop = stop or StopSignal()
        self._engine = engine
        self._failures: dict[str, FailureCounter] = {}
        self._newest = [settings]
        """The settings of the newest of the runtimes that ``but`` has made of this one; they share the list."""

    def but(self, *, settings: Settings | None = None, stop: StopSignal | None = None) -> Self:
        """Return a runtime with other settings or another stop signal, on the same store and limits."""
        _ = self.engine, self.limiter  # opened first, so that the copy shares them
        other = copy.copy(self)
        other.settings, other.stop = settings or self.settings, stop or self.stop
        if settings is not None:
            self._newest[:] = [settings]
            from worker.store.number_keys import use_number_keys

            use_number_keys(other.engine, settings)
        return other

    @cached_property
    def engine(self) -> Engine:
        """Return the store."""
        from worker.core.content_cipher import content_cipher
        from worker.store.db import open_engine
        from worker.store.number_keys import use_number_keys

        engine = self._engine or open_engine(self.settings.database_url(), cipher=content_cipher(self.settings))
        use_number_keys(engine, self.settings)
        return engine

    def only_numbers(self, account: str) -> frozenset[str] | None:
        """Return the only numbers that VirtualText may be told about; None: all, because the account is live.

        Work keeps the settings with which it began, except here: a switch to test mode counts at once. A switch back
        counts for work that begins after it.
        """
        mine = self.settings.accounts[account].only_numbers
        newest = self._newest[0].accounts.get(account)
        return mine if mine is not None or newest is None else newest.only_numbers

    def endpoint(self, account: str) -> Endpoint:
        """Return the address and credential of an account."""
        found = self.settings.accounts[account]
        return Endpoint(
            uid=found.uid.get_secret_value(),
            token=found.token.get_secret_value(),
            api_url=found.api_url,
            create_url=found.create_url,
            connect_timeout=found.connect_timeout,
            read_timeout=found.read_timeout,
            concurrency=found.concurrency,
            account=account,
            only_numbers=self.only_numbers(account),
        )

    def client(self, account: str) -> VirtualTextClient:
        """Return this process's client for an account."""
        from worker.virtualtext.client import client_for

        return client_for(self.endpoint(account))

    @cached_property
    def limiter(self) -> Limiter:
        """Return the limiter, which counts the requests of the whole fleet."""
        from worker.broker.urls import read_broker_url
        from worker.limits.limiter import Limiter

        broker = self.settings.broker
        urls = (url.get_secret_value() for url in (broker.limits_url, broker.url) if url is not None)
        return Limiter(next((url for url in urls if read_broker_url(url).is_redis), None))

    def failures(self, account: str) -> FailureCounter:
        """Return this process's failure counter of ``account``."""
        return self._failures.setdefault(account, FailureCounter())

    def in_flight(self, account: str, kind: Kind) -> AbstractContextManager[int]:
        """Yield how many requests may be in flight during the block, which takes at most ``lease_seconds``."""
        found = self.settings.accounts[account]
        most = found.max_in_flight
        if most is not None and kind != "text":
            most = max(1, math.floor(most * SHARE_OF_CONTACTS))
        return self.limiter.in_flight(account, wanted=found.concurrency, most=most, seconds=self.lease_seconds(account))

    def turn(self, account: str, kind: Kind, ceiling: float | None, stop: StopSignal) -> bool:
        """Wait for a turn within the account's rates, and return True if the request may be made.

        ``ceiling``: requests per second, see ``Permit``.
        """
        from worker.limits import limiter

        rates = self._rates(account, kind, ceiling)
        # Contacts take only near turns, and ask again otherwise, so a text always finds a near one.
        ahead = limiter.PATIENCE_SECONDS if kind == "text" else min(CONTACTS_AHEAD_SECONDS, limiter.PATIENCE_SECONDS)
        patient_until = time.monotonic() + limiter.PATIENCE_SECONDS
        while (wait := self.limiter.turn(rates, ahead)) is None:
            if time.monotonic() >= patient_until or not stop.wait(ahead):
                return False
        return stop.wait(wait) if wait else True

    def _rates(self, account: str, kind: Kind, ceiling: float | None) -> list[Rate]:
        from worker.limits.limiter import Rate

        found = self.settings.accounts[account]
        own = {
            "create": found.creates_per_second,
            "update": found.updates_per_second,
            "text": found.texts_per_second,
        }
        limits = {"requests": found.requests_per_second, "ceiling": ceiling, kind: own[kind]}
        return [Rate(f"{account}:{name}", rate) for name, rate in limits.items() if rate is not None]

    def request_seconds(self, account: str) -> float:
        """Return the longest time that one request may take."""
        found = self.settings.accounts[account]
        return found.connect_timeout + found.read_timeout

    def lease_seconds(self, account: str) -> float:
        """Return how long a claim on this account's rows lasts: two requests and some slack."""
        return 2 * self.request_seconds(account) + LEASE_SLACK_SECONDS
