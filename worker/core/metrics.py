"""What is counted while work is done, for Prometheus. Names and labels are promised in docs/monitoring.md.

No label holds what has no bound: no number, no id. ``worker.monitoring.state`` adds what the store knows.

With PROMETHEUS_MULTIPROC_DIR the processes that share that folder are shown together, whichever of them is asked.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

if _shared := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):  # before the import, which chooses how values are kept
    Path(_shared).mkdir(parents=True, exist_ok=True)

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call] # a line more for each series, which nobody reads

REGISTRY = CollectorRegistry()

REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TASK_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800)
WAIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600)
RUN_BUCKETS = (0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)

_requests = Counter(
    "vtsync_virtualtext_requests",
    "Requests to VirtualText, by what they came to.",
    ["account", "endpoint", "outcome"],
    registry=REGISTRY,
)
_request_seconds = Histogram(
    "vtsync_virtualtext_request_duration_seconds",
    "How long VirtualText took to answer.",
    ["account", "endpoint"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
_messages = Counter(
    "vtsync_message_transitions",
    "Moves of texts and records from state to state. `from` is `new` for those that are made.",
    ["account", "kind", "from", "to"],
    registry=REGISTRY,
)
_pushes = Counter(
    "vtsync_contact_pushes", "What came of telling VirtualText of contacts.", ["account", "result"], registry=REGISTRY
)
_runs = Counter("vtsync_sync_runs", "Sync runs that ended.", ["connection", "outcome"], registry=REGISTRY)
_run_seconds = Histogram(
    "vtsync_sync_run_duration_seconds",
    "How long sync runs took.",
    ["connection"],
    buckets=RUN_BUCKETS,
    registry=REGISTRY,
)
_records = Counter("vtsync_sync_records", "CRM records that were read.", ["connection", "outcome"], registry=REGISTRY)
_tasks = Counter("vtsync_tasks", "Celery tasks that ended.", ["task", "outcome"], registry=REGISTRY)
_task_seconds = Histogram(
    "vtsync_task_duration_seconds", "How long tasks ran.", ["task"], buckets=TASK_BUCKETS, registry=REGISTRY
)
_task_wait = Histogram(
    "vtsync_task_queue_wait_seconds",
    "From a task's enqueuing by vtsync to its start, by the clocks of two machines.",
    ["task"],
    buckets=WAIT_BUCKETS,
    registry=REGISTRY,
)
_http = Counter("vtsync_http_requests", "HTTP requests taken.", ["method", "route", "status"], registry=REGISTRY)
_http_seconds = Histogram(
    "vtsync_http_request_duration_seconds",
    "How long answers took.",
    ["method", "route"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
_inbox = Counter(
    "vtsync_inbox_events",
    "Events of the Relay and of carriers that were worked off.",
    ["source", "outcome"],
    registry=REGISTRY,
)
_forwards = Counter(
    "vtsync_forward_attempts",
    "Deliveries to CRMs and services, by what each attempt came to.",
    ["receiver", "outcome"],
    registry=REGISTRY,
)

PushCount: TypeAlias = Literal["created", "updated", "adopted", "settled", "rejected", "unknown", "retrying"]

_answered = 0


def answered() -> int:
    """Grows with each request that ended: the threads of this process get something done."""
    return _answered


# Looking a child up by its labels costs as much as counting does.
_request_children = lru_cache(1000)(lambda *labels: (_requests.labels(*labels), _request_seconds.labels(*labels[:2])))
_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())


def request_ended(account: str, endpoint: str, outcome: str, seconds: float) -> None:
    """A request to VirtualText."""
    global _answered
    _answered += 1
    count, duration = _request_children(account, endpoint, outcome)
    count.inc()
    duration.observe(seconds)


def messages_moved(account: str, kind: str, before: str | None, after: str, count: int) -> None:
    """Messages of one account went from state to state, and that is committed."""
    _messages.labels(account, kind, before or "new", after).inc(count)


def contacts_pushed(account: str, result: PushCount, count: int) -> None:
    """What came of a batch."""
    if count:
        _pushes.labels(account, result).inc(count)


def records_read(connection: str, outcome: str, count: int) -> None:
    """CRM records of a page."""
    if count:
        _records.labels(connection, outcome).inc(count)


def run_ended(connection: str, outcome: str, seconds: float) -> None:
    """A sync run."""
    _runs.labels(connection, outcome).inc()
    _run_seconds.labels(connection).observe(seconds)


def task_started(task: str, waited: float | None) -> None:
    """A task began; ``waited`` seconds after it was enqueued, where that is known."""
    if waited is not None:
        _task_wait.labels(task).observe(max(waited, 0.0))


def task_ended(task: str, outcome: str, seconds: float) -> None:
    """A task ended."""
    _tasks.labels(task, outcome).inc()
    _task_seconds.labels(task).observe(seconds)


def http_answered(method: str, route: str, status: int, seconds: float) -> None:
    """An HTTP request was answered; ``status`` 0: its caller had gone."""
    method = method if method in _METHODS else "other"
    _http.labels(method, route, str(status)).inc()
    _http_seconds.labels(method, route).observe(seconds)


def inbox_worked_off(source: str, outcome: str, count: int = 1) -> None:
    """Events that came in."""
    _inbox.labels(source, outcome).inc(count)


def forward_tried(receiver: str, outcome: str, count: int = 1) -> None:
    """Deliveries to one receiver."""
    _forwards.labels(receiver, outcome).inc(count)
