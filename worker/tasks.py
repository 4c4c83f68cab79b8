"""The task names. Each task is a door to a function elsewhere.

Public, for other services (JSON arguments, results as documented in the README): ``vtsync.send_message``,
``vtsync.record_message``, ``vtsync.sync_connection``. The others are hints between our own processes: "there may be
work". Losing one costs a tick; getting one twice does nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog

from worker.app import app
from worker.arguments import RECORD, SEND, SYNC, Answer, Argument, failure, read_arguments
from worker.exclusive import once_at_a_time
from worker.runtime import Runtime, open_runtime

if TYPE_CHECKING:
    from worker.sync.engine import SyncReport

HINT_EVERY_SECONDS = 2.0
MESSAGES_A_TASK = 2000
"""A delivery gives its thread back after this many, so that no account keeps the others waiting."""

log = structlog.get_logger(__name__)

# Late: the row that these insert is idempotent, so a second delivery of the task is harmless and a lost one is not.
_public = {"bind": True, "ignore_result": False, "acks_late": True, "reject_on_worker_lost": True}


@app.task(name="vtsync.send_message", **_public)  # type: ignore[untyped-decorator]
def send_message(self: Any, *args: Any, **kwargs: Any) -> Answer:
    """Commit a text to be sent, and hint its delivery."""
    from worker.messages.outbox import SendRequest, enqueue_send

    def enqueue(runtime: Runtime, values: dict[str, Any]) -> Answer:
        return _enqueued(enqueue_send(runtime, SendRequest(**values), source="task", actor="task"), values["account"])

    return _intake(self, SEND, args, kwargs, enqueue, "vtsync.deliver_messages")


@app.task(name="vtsync.record_message", **_public)  # type: ignore[untyped-decorator]
def record_message(self: Any, *args: Any, **kwargs: Any) -> Answer:
    """Commit the record of a text that was sent elsewhere, and hint its recording."""
    from worker.messages.outbox import RecordRequest, enqueue_record

    def enqueue(runtime: Runtime, values: dict[str, Any]) -> Answer:
        request = RecordRequest(**values)
        return _enqueued(enqueue_record(runtime, request, source="task", actor="task"), values["account"])

    return _intake(self, RECORD, args, kwargs, enqueue, "vtsync.record_messages")


@app.task(name="vtsync.sync_connection", **_public)  # type: ignore[untyped-decorator]
def sync_connection(self: Any, *args: Any, **kwargs: Any) -> Answer:
    """Read a connection now; the result is its report."""
    del self
    values, problems = read_arguments(SYNC, args, kwargs)
    if problems:
        return failure("invalid_arguments", "the arguments of vtsync.sync_connection are wrong", problems)
    runtime = open_runtime()
    name = values["connection"]
    if name not in runtime.settings.connections:
        known = ", ".join(runtime.settings.connections) or "none"
        return failure("unknown_connection", f'there is no connection "{name}"; there are: {known}')
    report = _sync(runtime, **values)
    if report.state in ("failed", "refused"):
        return failure(report.state, report.error) | asdict(report)
    return {"ok": True} | asdict(report)


@app.task(name="vtsync.run_sync", acks_late=True, reject_on_worker_lost=True)  # type: ignore[untyped-decorator]
def run_sync(connection: str) -> None:
    """Read a connection because it is due."""
    _sync(open_runtime(), connection)


# Early acknowledged (Celery's default): what a lost hint meant is found by the next tick.


@app.task(name="vtsync.push_contacts")  # type: ignore[untyped-decorator]
def push_contacts(account: str) -> None:
    """Tell VirtualText about an account's contacts that are due."""
    from worker.sync.push import push_account

    runtime = open_runtime()
    stop = runtime.stop.child(runtime.settings.worker.time_limit.total_seconds())
    once_at_a_time(
        "push", account, lambda: not push_account(runtime, account, stop=stop).deferred and not stop.requested
    )


@app.task(name="vtsync.deliver_messages")  # type: ignore[untyped-decorator]
def deliver_messages(account: str) -> None:
    """Send an account's texts that are due."""
    from worker.messages.delivery import deliver_due

    runtime = open_runtime()
    _work("deliver", account, lambda: deliver_due(runtime, account=account, limit=MESSAGES_A_TASK))


@app.task(name="vtsync.record_messages")  # type: ignore[untyped-decorator]
def record_messages(account: str) -> None:
    """Record an account's texts that were sent elsewhere."""
    from worker.messages.recording import record_due

    runtime = open_runtime()
    _work("record", account, lambda: record_due(runtime, account=account, limit=MESSAGES_A_TASK))


@app.task(name="vtsync.tick")  # type: ignore[untyped-decorator]
def tick() -> None:
    """Start what is due by schedule, find work that was left behind."""
    from worker.sweeper import tick as sweep

    for task, name in sweep(open_runtime()):
        app.send_task(task, args=(name,))


def _intake(
    task: Any,
    specification: tuple[Argument, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    enqueue: Callable[[Runtime, dict[str, Any]], Answer],
    hint: str,
) -> Answer:
    """Check, commit, hint. The task's own id is the key of a job without one: delivered twice, it is one message."""
    from worker.messages.outbox import IdempotencyConflict, InvalidRequest

    values, problems = read_arguments(specification, args, kwargs)
    if problems:
        return failure("invalid_arguments", f"the arguments of {task.name} are wrong", problems)
    # A record is keyed on the carrier's id where it has one; only what has no key of its own takes the task's.
    if "carrier_message_id" not in values:
        values.setdefault("idempotency_key", f"task:{task.request.id}")
    try:
        answer = enqueue(open_runtime(), values)
    except InvalidRequest as error:
        return failure("invalid_request", "the job cannot be done as it stands", error.problems)
    except IdempotencyConflict as error:
        return failure("idempotency_conflict", str(error)) | {"message_id": error.message_id}
    app.send_task(hint, args=(values["account"],))
    return answer


def _enqueued(enqueued: Any, account: str) -> Answer:
    return {
        "ok": True,
        "account": account,
        "message_id": enqueued.message_id,
        "state": str(enqueued.state),
        "duplicate": enqueued.duplicate,
        "reason": enqueued.reason,
    }


def _sync(runtime: Runtime, connection: str, accept_removals: bool = False) -> SyncReport:
    """Pull, hinting pushes as it goes, and deliveries when its texts are released."""
    from worker.sync.engine import sync_connection as pull

    if connection not in runtime.settings.connections:  # it was removed after the hint
        from worker.sync.engine import SyncReport

        return SyncReport(connection, "failed", error="the connection is not configured any more")
    account = runtime.settings.connections[connection].account
    hinted_at = 0.0

    def hint_push(report: SyncReport) -> None:
        nonlocal hinted_at
        if report.unchanged < report.seen and time.monotonic() - hinted_at >= HINT_EVERY_SECONDS:
            hinted_at = time.monotonic()
            app.send_task("vtsync.push_contacts", args=(account,))

    stop = runtime.stop.child(runtime.settings.worker.time_limit.total_seconds())
    report = pull(runtime, connection, accept_removals=accept_removals, progress=hint_push, stop=stop)
    log.info("synced", **{key: value for key, value in asdict(report).items() if value not in (0, "", None)})
    if report.unchanged < report.seen or report.removed:
        app.send_task("vtsync.push_contacts", args=(account,))
    if report.messages > report.held:
        app.send_task("vtsync.deliver_messages", args=(account,))
    return report


def _work(kind: str, account: str, work: Callable[[], Any]) -> None:
    """Work off an account's due messages, once more when a hint comes meanwhile."""
    once_at_a_time(kind, account, lambda: not work().waiting)
