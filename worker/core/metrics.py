"""Prometheus counters and histograms. docs/monitoring.md documents their names and labels.

No label has unlimited values: no phone numbers, no ids. ``worker.monitoring.state`` adds gauges from the store.

With PROMETHEUS_MULTIPROC_DIR, each process that shares that folder reports the sum of all of them.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

if _shared := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):  # before the import, which decides how values are stored
    Path(_shared).mkdir(parents=True, exist_ok=True)

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call] # they add a line to each series that nobody reads

REGISTRY = CollectorRegistry()

REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TASK_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800)
WAIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600)
RUN_BUCKETS = (0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)

_requests = Counter(
    "vtsync_virtualtext_requests",
    "Requests to VirtualText, by outcome.",
    ["account", "endpoint", "outcome"],
    registry=REGISTRY,
)
_request_seconds = Histogram(
    "vtsync_virtualtext_request_duration_seconds",
    "Response time of VirtualText.",
    ["account", "endpoint"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
_messages = Counter(
    "vtsync_message_transitions",
    "State transitions of texts and records. `from` is `new` for new ones.",
    ["account", "kind", "from", "to"],
    registry=REGISTRY,
)
_pushes = Counter(
    "vtsync_contact_pushes", "Contacts pushed to VirtualText, by result.", ["account", "result"], registry=REGISTRY
)
_runs = Counter("vtsync_sync_runs", "Finished sync runs.", ["connection", "outcome"], registry=REGISTRY)
_run_seconds = Histogram(
    "vtsync_sync_run_duration_seconds",
    "Duration of sync runs.",
    ["connection"],
    buckets=RUN_BUCKETS,
    registry=REGISTRY,
)
_records = Counter("vtsync_sync_records", "CRM records read.", ["connection", "outcome"], registry=REGISTRY)
_tasks = Counter("vtsync_tasks", "Finished Celery tasks.", ["task", "outcome"], registry=REGISTRY)
_task_seconds = Histogram(
    "vtsync_task_duration_seconds", "Duration of tasks.", ["task"], buckets=TASK_BUCKETS, registry=REGISTRY
)
_task_wait = Histogram(
    "vtsync_task_queue_wait_seconds",
    "Time from enqueuing a task to its start, measured with the clocks of two machines.",
    ["task"],
    buckets=WAIT_BUCKETS,
    registry=REGISTRY,
)
_http = Counter("vtsync_http_requests", "HTTP requests served.", ["method", "route", "status"], registry=REGISTRY)
_http_seconds = Histogram(
    "vtsync_http_request_duration_seconds",
    "Response time of the HTTP server.",
    ["method", "route"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
_inbox = Counter(
    "vtsync_inbox_events",
    "Processed events of the Relay and of carriers.",
    ["source", "outcome"],
    registry=REGISTRY,
)
_forwards = Counter(
    "vtsync_forward_attempts",
    "Delivery attempts to CRMs and services, by outcome.",
    ["receiver", "outcome"],
    registry=REGISTRY,
)

PushCount: TypeAlias = Literal["created", "updated", "adopted", "settled", "rejected", "unknown", "retrying"]

_answered = 0


def answered() -> int:
    """Return how many requests have ended. A growing number shows that this process makes progress."""
    return _answered


# Looking a child up by its labels costs as much as counting does.
_request_children = lru_cache(1000)(lambda *labels: (_requests.labels(*labels), _request_seconds.labels(*labels[:2])))
_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())


def request_ended(account: str, endpoint: str, outcome: str, seconds: float) -> None:
    """Count a finished request to VirtualText."""
    global _answered
    _answered += 1
    count, duration = _request_children(account, endpoint, outcome)
    count.inc()
    duration.observe(seconds)


def messages_moved(account: str, kind: str, before: str | None, after: str, count: int) -> None:
    """Count messages of one account whose change of state was committed."""
    _messages.labels(account, kind, before or "new", after).inc(count)


def contacts_pushed(account: str, result: PushCount, count: int) -> None:
    """Count the contacts of a pushed batch that had this result."""
    if count:
        _pushes.labels(account, result).inc(count)


def records_read(connection: str, outcome: str, count: int) -> None:
    """Count the CRM records of a page."""
    if count:
        _records.labels(connection, outcome).inc(count)


def run_ended(connection: str, outcome: str, seconds: float) -> None:
    """Count a finished sync run."""
    _runs.labels(connection, outcome).inc()
    _run_seconds.labels(connection).observe(seconds)


def task_started(task: str, waited: float | None) -> None:
    """Observe how many seconds a task waited in its queue, if that is known."""
    if waited is not None:
        _task_wait.labels(task).observe(max(waited, 0.0))


def task_ended(task: str, outcome: str, seconds: float) -> None:
    """Count a finished task."""
    _tasks.labels(task, outcome).inc()
    _task_seconds.labels(task).observe(seconds)


def http_answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count a served HTTP request. ``status`` is 0 if the caller had disconnected."""
    method = method if method in _METHODS else "other"
    _http.labels(method, route, str(status)).inc()
    _http_seconds.labels(method, route).observe(seconds)


def inbox_worked_off(source: str, outcome: str, count: int = 1) -> None:
    """Count processed events."""
    _inbox.labels(source, outcome).inc(count)


def forward_tried(receiver: str, outcome: str, count: int = 1) -> None:
    """Count delivery attempts to one receiver."""
    _forwards.labels(receiver, outcome).inc(count)
