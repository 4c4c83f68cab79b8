"""What the engine gives to an adapter: the fleet's rates, budgets, a stored credential, a memory."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError

from config.models import Settings
from crm_adapters.base import Adapter, CredentialsRejected, Limit, SourceUnavailable
from crm_adapters.registry import BrokenAdapter, UnknownAdapter, adapter_class
from crm_adapters.services import Grant
from worker.contacts.adapters import build_adapter
from worker.contacts.budgets import spend
from worker.contacts.connection_gate import stored_or_new
from worker.contacts.grants import StoredGrant, not_connected
from worker.limits.limiter import Rate
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow

PACE_SECONDS = 60.0
"""Longer waits end the run; see ``Services.pace``."""
SHARE_AT_ONCE = 5
"""After a pause, a fifth of a limit may be used at once. The rest is spread evenly, so no window exceeds the limit."""


class EngineServices:
    """The services of a connection. See ``crm_adapters.services.Services``.

    All connections count their calls separately, also if two of them use the same credential.
    """

    def __init__(
        self,
        runtime: Runtime,
        connection: str,
        *,
        limits: Sequence[Limit] = (),
        grant: Grant | None = None,
        wanted: frozenset[str] | None = None,
        memory: str = "{}",
    ) -> None:
        self.wanted = wanted
        self.memory: MutableMapping[str, Any] = orjson.loads(memory)
        self.grant = grant
        self._runtime = runtime
        self._connection = connection
        self._limits = limits

    def pace(self, name: str = "", cost: int = 1) -> None:
        """See ``Services.pace``. The budgets are in the store; shorter limits are counted by the fleet's limiter."""
        limits = [limit for limit in self._limits if limit.name in ("", name)]
        budgets = [limit for limit in limits if limit.is_budget]
        if budgets:
            with writing(self._runtime.engine) as db:
                spend(db, self._connection, budgets, cost, utcnow())
        rates = [as_rate(self._connection, limit, cost) for limit in limits if not limit.is_budget]
        wait = self._runtime.limiter.turn(rates, PACE_SECONDS)
        if wait is None:
            raise SourceUnavailable(
                "other calls have used what the CRM's rate limits allow; the next run continues",
                retry_after=PACE_SECONDS,
            )
        if wait and not self._runtime.stop.wait(wait):
            raise SourceUnavailable("this process was asked to stop; the next run continues", retry_after=0.0)


def as_rate(connection: str, limit: Limit, cost: int) -> Rate:
    """Return a limit as a rate of the limiter.

    In no window of the limit's length, more than ``amount`` units are used: a share at once, the rest spread over it.
    """
    seconds = limit.per.total_seconds()
    burst = max(limit.amount // SHARE_AT_ONCE, 1)
    name = f"crm:{connection}:{limit.name}/{seconds:g}"
    return Rate(name, (limit.amount - burst + 1) / seconds, cost=limit.units(cost), burst=burst)


def engine_services(
    runtime: Runtime, connection: str, wanted: frozenset[str] | None = None, memory: str = "{}"
) -> EngineServices:
    """Return the services of a connection's adapter. ``memory`` is what is stored of it."""
    try:
        cls = adapter_class(runtime.settings.connections[connection].adapter)
    except (UnknownAdapter, BrokenAdapter):  # building the adapter says what is wrong
        return EngineServices(runtime, connection)
    grant = StoredGrant(runtime, connection) if _connects_by_oauth(cls) else None
    limits = connection_limits(runtime.settings, connection)
    return EngineServices(runtime, connection, limits=limits, grant=grant, wanted=wanted, memory=memory)


def connection_limits(settings: Settings, connection: str) -> Sequence[Limit]:
    """Return the limits of a connection's API; none if its adapter cannot be used with its options."""
    try:
        cls = adapter_class(settings.connections[connection].adapter)
        return cls.limits_for(settings.adapter_options(connection, cls.Options))
    except (UnknownAdapter, BrokenAdapter, ValidationError):  # building the adapter says what is wrong
        return ()


def open_adapter(runtime: Runtime, connection: str) -> Adapter:
    """Return the connection's adapter, to check it or to write with it.

    Raises SourceInvalid, see ``build_adapter``, and CredentialsRejected, see ``require_consent``.
    """
    memory = stored_or_new(runtime.engine, connection)["memory"]
    services = engine_services(runtime, connection, memory=memory)
    adapter = build_adapter(runtime.settings, connection, services)
    try:
        require_consent(adapter, connection)
    except BaseException:
        adapter.close()
        raise
    return adapter


def require_consent(adapter: Adapter, connection: str) -> None:
    """Raise CredentialsRejected if the adapter needs a consent that nobody has given yet."""
    grant = adapter.services.grant
    needs_it = _connects_by_oauth(type(adapter)) and adapter.oauth() is not None  # type: ignore[attr-defined]
    if needs_it and grant is not None and grant.current() is None:
        raise CredentialsRejected(not_connected(connection))


def _connects_by_oauth(cls: type[Adapter]) -> bool:
    """Return True for a ``ConnectsByOAuth``.

    Its module and the HTTP client take 8 MB. An adapter that needs them has loaded them; a CSV file does without.
    """
    if "crm_adapters.oauth" not in sys.modules:
        return False
    from crm_adapters.oauth import ConnectsByOAuth  # waits for another thread that imports it at this moment

    return issubclass(cls, ConnectsByOAuth)
