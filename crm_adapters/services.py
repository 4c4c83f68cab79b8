"""What the engine gives to an adapter: rates and budgets, a changing credential, a memory.

Adapters get ``Services`` when they are built. ``LocalServices`` keeps everything in this process, for tests and for
commands that try an adapter.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TypeAlias

from crm_adapters.errors import SourceUnavailable

Values: TypeAlias = Mapping[str, Any]
"""The values of a grant, such as ``access_token``, ``refresh_token`` and ``expires_at``. JSON."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``amount`` units in ``per``, for all workers together. ``name``: for which calls; "" for all.

    A limit over an hour or longer is a budget: it is counted in the store, and when it is spent, the connection waits
    until it is full again. ``by_call``: each call is one unit, whatever it costs in the units of the other limits.
    """

    name: str
    amount: int
    per: timedelta
    by_call: bool = False

    def units(self, cost: int) -> int:
        """Return the units of this limit that a call with this cost uses."""
        return 1 if self.by_call else cost

    @property
    def is_budget(self) -> bool:
        """True if the limit is counted in the store."""
        return self.per >= timedelta(hours=1)


class Grant(Protocol):
    """A credential that changes, such as an OAuth token. It is encrypted in the store."""

    def current(self) -> Values | None:
        """Return the stored values; None before `vtsync connect`."""

    def renewed(self, used: Values, renew: Callable[[Values], Values]) -> Values:
        """Replace the values ``used``, which have expired or soon will.

        One worker at a time: whoever waited for another worker gets that worker's values, and ``renew`` is not called.
        Otherwise ``renew`` makes the request, and its result is committed before it is returned.
        """


class Services(Protocol):
    """What an adapter can use. ``grant`` is None if the adapter's credentials do not change.

    ``wanted`` names the fields that the configuration uses; None: all. ``memory`` is a JSON mapping that is kept from
    run to run; what the adapter puts into it is committed with the next page.
    """

    wanted: frozenset[str] | None
    memory: MutableMapping[str, Any]
    grant: Grant | None

    def pace(self, name: str = "", cost: int = 1) -> None:
        """Wait until the adapter's limits allow a call. Call it before each request.

        ``name`` says which of the limits apply, besides those without a name; ``cost`` is in the units of the limits.
        Raises SourceUnavailable with ``retry_after`` if that would take longer than a minute.
        """


@dataclass
class LocalGrant:
    """A grant in this process's memory."""

    values: Values | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def current(self) -> Values | None:
        """See ``Grant.current``."""
        return self.values

    def renewed(self, used: Values, renew: Callable[[Values], Values]) -> Values:
        """See ``Grant.renewed``."""
        with self._lock:
            if self.values is None or self.values == used:
                self.values = renew(used)
            return self.values


@dataclass
class LocalServices:
    """Services in this process's memory."""

    limits: tuple[Limit, ...] = ()
    wanted: frozenset[str] | None = None
    memory: MutableMapping[str, Any] = field(default_factory=dict)
    grant: Grant | None = None
    _calls: dict[Limit, deque[tuple[float, int]]] = field(default_factory=dict, repr=False)

    def pace(self, name: str = "", cost: int = 1) -> None:
        """See ``Services.pace``. Budgets are counted from the first call on."""
        for limit in self.limits:
            if limit.name not in ("", name):
                continue
            calls = self._calls.setdefault(limit, deque())
            window, taken = limit.per.total_seconds(), limit.units(cost)
            while sum(units for _, units in calls) + taken > limit.amount and calls:
                wait = calls[0][0] + window - time.monotonic()
                if wait > 60:
                    raise SourceUnavailable(f"the budget of {limit.amount} calls is spent", retry_after=wait)
                if wait > 0:
                    time.sleep(wait)
                calls.popleft()
            calls.append((time.monotonic(), taken))
