"""Shows the metrics: what this process counted, and on the scheduler and the HTTP side how the fleet stands."""

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
from worker.monitoring.heartbeats import release
from worker.monitoring.pulse import Role
from worker.monitoring.state import FleetState, StateCache
from worker.runtime import Runtime, open_runtime
from worker.store.migrate import StoreOutdated

log = structlog.get_logger(__name__)

Values = Mapping[Any, float]


class StateCollector(Collector):
    """How the fleet stands, as gauges. The same wherever it is asked, so queries take the `max`."""

    def __init__(self, cache: StateCache) -> None:
        self._cache = cache

    def describe(self) -> Iterable[Metric]:
        """Names are not asked of the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges; where the store cannot be read, only that."""
        try:
            state = self._cache()
        except (SQLAlchemyError, StoreOutdated) as error:
            log.warning("the store cannot be read for metrics", error=type(error).__name__)
            yield _gauge("vtsync_store_up", "Whether the store could be read.", (), {(): 0})
            return
        yield _gauge("vtsync_store_up", "Whether the store could be read.", (), {(): 1})
        yield from gauges(state)


def gauges(state: FleetState) -> Iterator[Metric]:
    """The state's metrics. Pure."""
    accounts = state.accounts
    yield _gauge(
        "vtsync_messages_waiting",
        "Texts and records that are not at their end: queued, held, dispatching, unknown.",
        ("account", "kind", "state"),
        {(name, "send", "unknown"): 0 for name in accounts} | dict(state.messages),
    )
    yield _gauge("vtsync_messages_held", "Texts that are held, by reason.", ("account", "reason"), state.held)
    yield _gauge(
        "vtsync_work_lag_seconds",
        "How long the oldest due row of each kind of background work has been due; account empty: all accounts.",
        ("task", "account"),
        state.lags,
    )
    yield _gauge(
        "vtsync_outbox_lag_seconds", "How long the oldest due text has been due.", ("account",), state.outbox_lag
    )
    yield _gauge(
        "vtsync_contacts_waiting",
        "Contacts that differ from what VirtualText was told: due, creating, updating, unknown, rejected.",
        ("account", "state"),
        state.contacts,
    )
    yield _gauge(
        "vtsync_contacts_lag_seconds",
        "How long the oldest due contact has been due.",
        ("account",),
        state.contacts_lag,
    )
    yield _gauge("vtsync_rejected_records", "CRM records that cannot be used.", ("connection",), state.rejected)
    yield _gauge(
        "vtsync_sync_last_success_timestamp_seconds",
        "When a connection was last read to its end.",
        ("connection",),
        {name: at.timestamp() for name, at in state.last_success.items()},
    )
    yield _gauge(
        "vtsync_sync_next_run_timestamp_seconds",
        "When a connection is due next; long past: nobody reads it.",
        ("connection",),
        {name: at.timestamp() for name, at in state.next_run.items()},
    )
    for name, words, field in (
        ("stopped", "The credential or address of an account is refused: 1.", "stopped"),
        ("paused", "Nothing is asked of an account just now: 1.", "paused"),
        ("breaker_open", "VirtualText fails again and again for an account: 1.", "breaker_open"),
    ):
        values = {account: float(getattr(one, field)) for account, one in accounts.items()}
        yield _gauge(f"vtsync_account_{name}", words, ("account",), values)
    yield _gauge(
        "vtsync_account_rate_ceiling",
        "Requests a second that answers 429 brought an account down to; absent: nothing slows it down.",
        ("account",),
        {name: one.ceiling for name, one in accounts.items() if one.ceiling is not None},
    )
    yield _gauge(
        "vtsync_inbox_waiting",
        "Events that came in: new ones, and failed ones that were not understood.",
        ("state",),
        state.inbox,
    )
    yield _gauge("vtsync_inbox_lag_seconds", "How long the oldest due event has been due.", (), {(): state.inbox_lag})
    yield _gauge(
        "vtsync_forwards_waiting",
        "Deliveries to CRMs and services; failed ones were given up.",
        ("state",),
        state.forwards,
    )
    yield _gauge(
        "vtsync_forwards_lag_seconds", "How long the oldest due delivery has been due.", (), {(): state.forwards_lag}
    )
    yield _gauge("vtsync_reviews_waiting", "People who may have asked to be left alone.", (), {(): state.reviews})
    yield _gauge("vtsync_processes", "Processes of the fleet that live.", ("role",), state.processes)
    ticked = {} if state.last_tick is None else {(): state.last_tick.timestamp()}
    yield _gauge("vtsync_last_tick_timestamp_seconds", "When a worker last carried out a tick.", (), ticked)


class _Build(Collector):
    def __init__(self, role: Role) -> None:
        self._role = role

    def collect(self) -> Iterator[Metric]:
        words = "What runs here; always 1."
        yield _gauge("vtsync_build_info", words, ("role", "version"), {(self._role, release()): 1})


def registry_of(role: Role, state: StateCache | None = None) -> CollectorRegistry:
    """All that a process of this role shows."""
    shown = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(shown)  # type: ignore[no-untyped-call] # so are all of its functions
    else:
        shown.register(REGISTRY)  # it collects as a collector does
        ProcessCollector(registry=shown)
        GCCollector(registry=shown)
    shown.register(_Build(role))
    if state is not None:
        shown.register(StateCollector(state))
    return shown


def render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """(the page, its content type) in the format that ``accept`` prefers."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def serve_metrics(runtime: Runtime, role: Role, port: int | None) -> None:
    """Listen for scrapes from a thread of its own; None: not at all. A taken port stops nobody's work."""
    if port is None:
        return
    host = runtime.settings.metrics.host
    try:
        start_http_server(port, host, registry_of(role, StateCache(open_runtime) if role == "beat" else None))
    except OSError as error:
        log.error("metrics are not served", host=host, port=port, error=error.strerror, do="choose another port")  # noqa: TRY400
    else:
        log.info(f"metrics on http://{host}:{port}/metrics")


def _gauge(name: str, words: str, labels: tuple[str, ...], values: Values) -> Metric:
    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values.items():
        family.add_metric([str(part) for part in (key if isinstance(key, tuple) else (key,))], value)
    return family
