"""Exposes metrics: the counters of this process; the scheduler and the HTTP API also expose the fleet's gauges."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from worker.core.metrics import REGISTRY
from worker.core.version import installed_version
from worker.monitoring.liveness import Role
from worker.monitoring.state import FleetState, StateCache
from worker.runtime import Runtime, open_runtime
from worker.store.migrate import StoreOutdated

log = structlog.get_logger(__name__)

Values = Mapping[Any, float]


class StateCollector(Collector):
    """The gauges of the fleet. Every process that exposes them reports the same values, so queries use `max`."""

    def __init__(self, cache: StateCache) -> None:
        self._cache = cache

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges, or only ``vtsync_store_up`` if the store cannot be read."""
        try:
            state = self._cache()
        except (SQLAlchemyError, StoreOutdated) as error:
            log.warning("the store cannot be read for metrics", error=type(error).__name__)
            yield _gauge("vtsync_store_up", "1 if the store could be read.", (), {(): 0})
            return
        yield _gauge("vtsync_store_up", "1 if the store could be read.", (), {(): 1})
        yield from gauges(state)


def gauges(state: FleetState) -> Iterator[Metric]:
    """Yield the metrics of a state. Pure."""
    accounts = state.accounts
    yield _gauge(
        "vtsync_messages_waiting",
        "Unfinished texts and records: queued, held, dispatching, unknown.",
        ("account", "kind", "state"),
        {(name, "send", "unknown"): 0 for name in accounts} | dict(state.messages),
    )
    yield _gauge("vtsync_messages_held", "Held texts, by reason.", ("account", "reason"), state.held)
    yield _gauge(
        "vtsync_work_lag_seconds",
        "Age of the oldest due row of each kind of background work; account empty: not divided by account.",
        ("task", "account"),
        state.lags,
    )
    yield _gauge("vtsync_outbox_lag_seconds", "Age of the oldest due text or record.", ("account",), state.outbox_lag)
    yield _gauge(
        "vtsync_contacts_waiting",
        "Contacts that are not in sync with VirtualText: due, creating, updating, unknown, rejected.",
        ("account", "state"),
        state.contacts,
    )
    yield _gauge(
        "vtsync_contacts_lag_seconds",
        "Age of the oldest due contact.",
        ("account",),
        state.contacts_lag,
    )
    yield _gauge("vtsync_rejected_records", "Rejected CRM records.", ("connection",), state.rejected)
    yield _gauge(
        "vtsync_sync_last_success_timestamp_seconds",
        "When a connection was last read completely.",
        ("connection",),
        {name: at.timestamp() for name, at in state.last_success.items()},
    )
    yield _gauge(
        "vtsync_sync_next_run_timestamp_seconds",
        "When a connection is due next. In the past: it is late.",
        ("connection",),
        {name: at.timestamp() for name, at in state.next_run.items()},
    )
    for name, help_text, field in (
        ("stopped", "1 if VirtualText refuses the credential or address of an account.", "stopped"),
        ("paused", "1 if vtsync makes no requests for an account at the moment.", "paused"),
        ("breaker_open", "1 if VirtualText keeps failing for an account.", "breaker_open"),
        ("test_mode", "1 if an account is in test mode: texts are simulated.", "test_mode"),
    ):
        values = {account: float(getattr(one, field)) for account, one in accounts.items()}
        yield _gauge(f"vtsync_account_{name}", help_text, ("account",), values)
    yield _gauge(
        "vtsync_account_rate_ceiling",
        "Requests a second that responses 429 have limited an account to; absent if there is no limit.",
        ("account",),
        {name: one.ceiling for name, one in accounts.items() if one.ceiling is not None},
    )
    yield _gauge(
        "vtsync_inbox_waiting",
        "Incoming events: new, and failed (could not be processed).",
        ("state",),
        state.inbox,
    )
    yield _gauge("vtsync_inbox_lag_seconds", "Age of the oldest due event.", (), {(): state.inbox_lag})
    yield _gauge(
        "vtsync_forwards_waiting",
        "Deliveries to CRMs and services: due, sending, and failed (given up).",
        ("state",),
        state.forwards,
    )
    yield _gauge("vtsync_forwards_lag_seconds", "Age of the oldest due delivery.", (), {(): state.forwards_lag})
    yield _gauge("vtsync_reviews_waiting", "Replies that may mean STOP and need a decision.", (), {(): state.reviews})
    yield _gauge("vtsync_processes", "Running processes of the fleet.", ("role",), state.processes)
    ticked = {} if state.last_tick is None else {(): state.last_tick.timestamp()}
    yield _gauge("vtsync_last_tick_timestamp_seconds", "When a worker last carried out a tick.", (), ticked)


class _Build(Collector):
    def __init__(self, role: Role) -> None:
        self._role = role

    def collect(self) -> Iterator[Metric]:
        yield _gauge(
            "vtsync_build_info",
            "The version that runs; always 1.",
            ("role", "version"),
            {(self._role, installed_version()): 1},
        )


def registry_of(role: Role, state: StateCache | None = None) -> CollectorRegistry:
    """Return the registry of all metrics that a process of this role exposes."""
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # prometheus_client is only partly typed
    else:
        registry.register(REGISTRY)  # a registry can be collected like a collector
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
    registry.register(_Build(role))
    if state is not None:
        registry.register(StateCollector(state))
    return registry


def render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return (the page, its content type) in the format that ``accept`` prefers."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def serve_metrics(runtime: Runtime, role: Role, port: int | None) -> None:
    """Serve metrics from a thread, unless ``port`` is None. If the port is taken, log an error and continue."""
    if port is None:
        return
    host = runtime.settings.metrics.host
    try:
        start_http_server(port, host, registry_of(role, StateCache(open_runtime) if role == "beat" else None))
    except OSError as error:
        reason = error.strerror
        log.error("metrics are not served", host=host, port=port, error=reason, do="choose another port")  # noqa: TRY400
    else:
        log.info(f"metrics on http://{host}:{port}/metrics")


def _gauge(name: str, help_text: str, labels: tuple[str, ...], values: Values) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for key, value in values.items():
        family.add_metric([str(part) for part in (key if isinstance(key, tuple) else (key,))], value)
    return family
