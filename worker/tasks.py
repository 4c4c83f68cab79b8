"""The Celery tasks. Each calls a function of another module.

``vtsync.send_message``, ``vtsync.record_message`` and ``vtsync.sync_connection`` are public: other services call them
with JSON arguments, and docs/enqueue.md documents their results. All other tasks are sent by our own processes and only
say that there may be work. If one is lost, the next tick finds the work. If one is delivered twice, nothing happens
twice. ``worker.work.registry`` declares them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import structlog
from celery.exceptions import Reject

from worker.app import app
from worker.broker.job_messages import readable
from worker.broker.settings import threads
from worker.core.backoff import Backoff
from worker.core.log_lines import masked
from worker.core.logs import working_on
from worker.fleet.concurrency import once_at_a_time, slot
from worker.fleet.wake import wake
from worker.inbox.dead_letters import RefusedMessage
from worker.messages.requests import (
    IdempotencyConflict,
    InvalidRequest,
    JobRequest,
    RecordRequest,
    SendRequest,
    SyncRequest,
)
from worker.monitoring.consumer import SET_ASIDE
from worker.runtime import Runtime, open_runtime
from worker.store.db import STORE_AWAY
from worker.work.registry import ALERTS, DELIVERIES, PUSH, SENDS, SYNC, TICK, WORK, TaskKind, WorkKind

if TYPE_CHECKING:
    from worker.contacts.pull import SyncReport
    from worker.messages.outbox import Enqueued

WAKE_EVERY_SECONDS = 2.0
CALLED_SYNC_SECONDS = 20 * 60
"""The time limit of a sync that a service asked for: RabbitMQ takes back tasks unacknowledged for 30 minutes."""
NO_THREAD_RETRY_SECONDS = 5
KEPT_FREE = 2
"""Threads that only texts and jobs may use."""
STORE_BACKOFF = Backoff(first=1, longest=60)

Done = TypeVar("Done")
Job = TypeVar("Job", bound=JobRequest)
SendOrRecord = TypeVar("SendOrRecord", SendRequest, RecordRequest)
Answer: TypeAlias = dict[str, Any]
"""The result of a public task."""

log = structlog.get_logger(__name__)

# Acknowledged after the work: a lost job would be gone, but a repeated one is harmless, because its row is idempotent.
_public = {"bind": True, "ignore_result": False, "acks_late": True, "reject_on_worker_lost": True, "max_retries": None}


@app.task(name="vtsync.send_message", **_public)  # type: ignore[untyped-decorator]
def send_message(self: Any, *args: Any, **kwargs: Any) -> Answer:
    """Commit a text to send, and wake the task that sends it."""
    from worker.messages.outbox import enqueue_send

    waited = partial(enqueue_send, may_be_late=True)  # in the broker, while no worker ran
    return _intake(self, SendRequest, args, kwargs, waited, "vtsync.deliver_messages")


@app.task(name="vtsync.record_message", **_public)  # type: ignore[untyped-decorator]
def record_message(self: Any, *args: Any, **kwargs: Any) -> Answer:
    """Commit the record of a text that was sent elsewhere, and wake the task that records it."""
    from worker.messages.outbox import enqueue_record

    return _intake(self, RecordRequest, args, kwargs, enqueue_record, "vtsync.record_messages")


@app.task(name="vtsync.sync_connection", **_public)  # type: ignore[untyped-decorator]
def sync_connection(self: Any, *args: Any, **kwargs: Any) -> Answer:
    """Read a connection now, and return the report."""
    request = _read_request(self, SyncRequest, args, kwargs)
    if isinstance(request, dict):
        return request
    runtime = open_runtime()
    name = request.connection
    if name not in runtime.settings.connections:
        known = ", ".join(runtime.settings.connections) or "none"
        _keep_dead_letter(self, "unknown_connection", args, kwargs)
        return _failure("unknown_connection", f'there is no connection "{name}"; there are: {known}')
    with _thread_for(runtime, SYNC) as free:
        if not free:
            raise self.retry(countdown=NO_THREAD_RETRY_SECONDS)
        report = _with_store_retry(
            self, lambda: _sync(runtime, name, request.accept_removals, request.full, CALLED_SYNC_SECONDS)
        )
    if report.state in ("failed", "refused"):
        return _failure(report.state, report.error) | asdict(report)
    return {"ok": True} | asdict(report)


@app.task(name=SET_ASIDE, **(_public | {"ignore_result": True}))  # type: ignore[untyped-decorator]
def set_aside(self: Any, key: str, queue: str, asked_for: str, message_id: str, reason: str, size: str) -> None:
    """Store the dead letter of a message that the consumer refused."""
    _refuse(self, RefusedMessage(key[:32], queue, asked_for, message_id, reason, int(size) if size.isdecimal() else 0))


# The tasks below are acknowledged before the work (Celery's default). If one is lost, the next tick finds its work.
# If they were acknowledged after the work, Redis would give a long sync to a second worker, and RabbitMQ would close
# the channel.
# What a task ``throws`` is logged in one line instead of with a traceback; see broker/task_signals.py.


@app.task(name=SYNC.task, bind=True, throws=STORE_AWAY)  # type: ignore[untyped-decorator]
def run_sync(self: Any, connection: str, claimed_until: str = "") -> None:
    """Read a connection because its slot is due, or, without a slot, because the worker that read it has vanished."""
    from worker.fleet.crm_events import make_due
    from worker.fleet.schedule import Slot, put_back_slot, start_slot
    from worker.store.db import writing
    from worker.store.models import utcnow

    runtime = open_runtime()
    if connection not in runtime.settings.connections:  # it was removed after the call
        return
    try:
        due = Slot(connection, datetime.fromisoformat(claimed_until)) if claimed_until else None
    except ValueError:
        _keep_dead_letter(self, "invalid_arguments: the slot is no time", (connection, claimed_until), {})
        return
    with _thread_for(runtime, SYNC) as free:
        if due is not None:
            with writing(runtime.engine) as db:
                if not free:
                    put_back_slot(db, due, utcnow())
                elif not start_slot(db, runtime.settings, due, utcnow()):
                    return
        if free:
            report = _sync(runtime, connection)
            if due is not None and report.state == "paused":  # since its slot was started: it stays due
                make_due(runtime.engine, runtime.settings, connection, utcnow())


@app.task(name=TICK.task, throws=STORE_AWAY)  # type: ignore[untyped-decorator]
def tick() -> None:
    """Start what is due by schedule, and find work that was left behind."""
    from worker.alerts.evaluate import is_due
    from worker.fleet.tick import begin_tick
    from worker.fleet.tick import tick as run
    from worker.monitoring.heartbeats import TICK_ROLE, write_heartbeat
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.upkeep import rollback_guard

    runtime = open_runtime()
    if not rollback_guard.guard(runtime):
        return
    with writing(runtime.engine) as db:
        if not begin_tick(db, runtime.settings.worker.tick_every, utcnow()):
            return
    for call in run(runtime):
        wake(call.task, *call.arguments)
    if is_due(runtime, utcnow()):
        wake(ALERTS.task)
    began = utcnow()
    with writing(runtime.engine) as db:
        write_heartbeat(db, TICK_ROLE, TICK_ROLE)
    rollback_guard.remember_tick(runtime, began)


@app.task(name=ALERTS.task, throws=STORE_AWAY)  # type: ignore[untyped-decorator]
def check_alerts() -> None:
    """Compare what is wrong with what people know, and commit the notices to send."""
    from worker.alerts.evaluate import evaluate
    from worker.store.models import utcnow

    runtime = open_runtime()
    with _thread_for(runtime, ALERTS) as free:
        if free and evaluate(runtime, utcnow()):
            wake(DELIVERIES.task)


def _register(kind: WorkKind) -> None:
    """Create the Celery task of a kind of work."""

    def of_account(account: str) -> None:
        _run_work(kind, account)

    def of_all() -> None:
        _run_work(kind, "")

    task: Callable[..., None] = of_account if kind.per_account else of_all
    task.__name__ = kind.task.rpartition(".")[2]
    task.__doc__ = f"Run ``{kind.task}``, see ``worker.work.registry``."
    app.task(name=kind.task, throws=STORE_AWAY)(task)


for _kind in WORK:
    _register(_kind)


def _intake(
    task: Any,
    model: type[SendOrRecord],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    enqueue: Callable[..., Enqueued],
    delivery: str,
) -> Answer:
    """Validate a job, commit it and wake its delivery.

    The idempotency key defaults to the task's id, so a task that is delivered twice makes one message.
    """
    request = _read_request(task, model, args, kwargs, idempotency_key=f"task:{task.request.id}")
    if isinstance(request, dict):
        return request
    try:
        with working_on(account=request.account):
            enqueued = _with_store_retry(task, lambda: enqueue(open_runtime(), request, source="task", actor="task"))
    except InvalidRequest as error:
        return _invalid(task, args, kwargs, error)
    except IdempotencyConflict as error:
        _keep_dead_letter(task, "idempotency_conflict", args, kwargs)
        return _failure("idempotency_conflict", str(error)) | {"message_id": error.message_id}
    wake(delivery, request.account)
    return _enqueued(enqueued, request.account)


def _read_request(
    task: Any, model: type[Job], args: tuple[Any, ...], kwargs: dict[str, Any], **defaults: object
) -> Job | Answer:
    """Parse a task's arguments. Return the request, or the answer that says what is wrong."""
    try:
        return model.from_call(args, kwargs, **defaults)
    except InvalidRequest as error:
        return _invalid(task, args, kwargs, error)


def _invalid(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: InvalidRequest) -> Answer:
    problems = [problem.sentence for problem in error.problems]
    code = "invalid_arguments" if error.malformed else "invalid_request"
    _keep_dead_letter(task, code, args, kwargs, [str(problem.path[0]) for problem in error.problems if problem.path])
    if error.malformed:
        return _failure("invalid_arguments", f"the arguments of {task.name} are wrong", problems)
    return _failure("invalid_request", "the job cannot be done as it stands", problems)


def _failure(code: str, message: str, problems: Sequence[str] = ()) -> Answer:
    """Return the result for a job that cannot be done. The caller reads it; the worker raises no exception."""
    return {"ok": False, "error": {"code": code, "message": message, "problems": list(problems)}}


def _keep_dead_letter(
    task: Any, code: str, args: tuple[Any, ...], kwargs: dict[str, Any], fields: Sequence[str] = ()
) -> None:
    """Show a job that was answered with an error to the operator too: the caller may not read the answer.

    The reason names the arguments that are wrong and no value. A name that is none of ours could be content.
    """
    known = {name for model in (SendRequest, RecordRequest, SyncRequest) for name in model.model_fields}
    named = ", ".join(dict.fromkeys(name if name in known else "an unknown argument" for name in fields))
    content = repr((task.name, task.request.id, args, sorted(kwargs.items())))
    refused = RefusedMessage(
        hashlib.blake2b(content.encode(errors="replace"), digest_size=16).hexdigest(),
        readable((task.request.delivery_info or {}).get("routing_key")),
        task.name,
        masked(readable(task.request.id)),
        code + (f": {named}" if named else ""),
        len(content),
    )
    _refuse(task, refused)


def _refuse(task: Any, refused: RefusedMessage) -> None:
    from worker.inbox.dead_letters import set_message_aside

    _with_store_retry(task, lambda: set_message_aside(open_runtime(), refused))
    log.warning(
        "a message was refused; see `vtsync dead-letters`",
        queue=refused.queue,
        asked_for=refused.task,
        id=refused.message_id,
        reason=refused.reason,
        bytes=refused.size,
    )


def _with_store_retry(task: Any, work: Callable[[], Done]) -> Done:
    """Run ``work``. If the store cannot be used, retry the task later, so that the job is not lost."""
    try:
        return work()
    except STORE_AWAY as error:
        wait = STORE_BACKOFF.seconds(task.request.retries + 1)
        log.warning("the store cannot be used; the job waits", task=task.name, seconds=wait, error=type(error).__name__)
        try:
            raise task.retry(countdown=wait) from None
        except Reject:  # the broker cannot be used either, and Celery would drop the job
            raise Reject("the store and the broker cannot be used", requeue=True) from None


def _enqueued(enqueued: Enqueued, account: str) -> Answer:
    return {
        "ok": True,
        "account": account,
        "message_id": enqueued.message_id,
        "state": str(enqueued.state),
        "duplicate": enqueued.duplicate,
        "reason": enqueued.reason,
        "test": enqueued.test,
        "expected_at": None if enqueued.expected_at is None else enqueued.expected_at.isoformat(),
    }


def _sync(
    runtime: Runtime,
    connection: str,
    accept_removals: bool = False,
    full: bool = False,
    seconds: float | None = None,
) -> SyncReport:
    """Read a connection. Wake pushes while it reads, and deliveries once its texts are released."""
    from worker.contacts.pull import sync_connection as pull

    account = runtime.settings.connections[connection].account
    woken_at = 0.0

    def wake_push(report: SyncReport, _total: int) -> None:
        nonlocal woken_at
        if report.unchanged < report.seen and time.monotonic() - woken_at >= WAKE_EVERY_SECONDS:
            wake(PUSH.task, account)
            woken_at = time.monotonic()

    with working_on(connection=connection):
        report = pull(
            _limited(runtime, seconds), connection, accept_removals=accept_removals, full=full, after_page=wake_push
        )
        counts = asdict(report) | {"run_id": None, "notes": None}  # notes may quote records
        values = {key: value for key, value in counts.items() if value not in (0, "", None, ())}
        log.info("synced", run=report.run_id, **values)
        if report.unchanged < report.seen or report.removed:
            wake(PUSH.task, account)
        if report.messages > report.held:
            wake(SENDS.task, account)
        return report


def _run_work(kind: WorkKind, account: str) -> None:
    """Do the due work of one kind, for one account, or for all if ``account`` is "".

    Run again if the task was woken meanwhile. Stop at the time limit, and wake the task again to continue.
    """
    runtime = open_runtime()
    if account and account not in runtime.settings.accounts:  # it was removed after the call
        return
    limited = _limited(runtime)
    again = kind.call(account)

    def run() -> bool:
        with _thread_for(runtime, kind) as free:
            if not free:  # the next tick wakes it again
                return False
            ran = kind.run(limited, account)
        for call in ran.then:
            wake(call.task, *call.arguments)
        if ran.more:
            wake(again.task, *again.arguments)
        return ran.again and not limited.stop.requested

    with working_on(account=account) if account else nullcontext():
        once_at_a_time(kind.task, account, run)
        if limited.stop.requested and not runtime.stop.requested:
            wake(again.task, *again.arguments)


def _limited(runtime: Runtime, seconds: float | None = None) -> Runtime:
    """Return the same runtime with a stop that is also requested when the task's time is up."""
    longest = runtime.settings.worker.time_limit.total_seconds()
    return runtime.but(stop=runtime.stop.child(longest if seconds is None else min(seconds, longest)))


@contextmanager
def _thread_for(runtime: Runtime, kind: TaskKind) -> Iterator[bool]:
    """Reserve a thread for this kind of work while the block runs. Yield False if its share is used up.

    Syncs and pushes can take long, so each may use a quarter of the threads. Every kind except sending leaves two
    threads free, so that neither a back-fill nor a slow receiver of events delays a text or a job.
    """
    if kind.share == "all":
        yield True
        return
    most = threads(runtime.settings)
    share = most // 4 if kind.share == "quarter" else most
    with slot("shared", most - KEPT_FREE) as shared, slot(kind.task, share) as own:
        yield shared and own
