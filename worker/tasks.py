"""The Celery tasks. Each is a door to a function elsewhere.

Public, for other services (JSON arguments, results as documented in the README): ``vtsync.send_message``,
``vtsync.record_message``, ``vtsync.sync_connection``. Our own processes send each other the other tasks, which say:
there may be work. A lost one costs a tick, a doubled one does nothing twice. ``worker.work`` declares their kinds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from worker.app import app
from worker.broker.settings import threads
from worker.core.backoff import Backoff
from worker.core.logs import working_on
from worker.fleet.concurrency import once_at_a_time, slot
from worker.fleet.wake import wake
from worker.messages.arguments import RECORD, SEND, Answer, Argument, failure, read_arguments
from worker.messages.arguments import SYNC as SYNC_ARGUMENTS
from worker.runtime import Runtime, open_runtime
from worker.store.db import STORE_AWAY
from worker.work import PUSH, SENDS, SYNC, TICK, WORK, TaskKind, WorkKind

if TYPE_CHECKING:
    from worker.contacts.pull import SyncReport

WAKE_EVERY_SECONDS = 2.0
CALLED_SYNC_SECONDS = 20 * 60
"""The limit of a sync that a service waits for: RabbitMQ takes back what is not acknowledged within half an hour."""
ROOM_AGAIN_SECONDS = 5
KEPT_FREE = 2
"""Threads that only texts and jobs may use."""
STORE_BACKOFF = Backoff(first=1, longest=60)

Done = TypeVar("Done")

log = structlog.get_logger(__name__)

# Acknowledged late: a second delivery is harmless, because the row that these insert is idempotent; a lost one is not.
_public = {"bind": True, "ignore_result": False, "acks_late": True, "reject_on_worker_lost": True, "max_retries": None}


@app.task(name="vtsync.send_message", **_public)  # type: ignore[untyped-decorator]
def send_message(self: Any, *args: Any, **kwargs: Any) -> Answer:
    """Commit a text to be sent, and wake its delivery."""
    from worker.messages.outbox import SendRequest, enqueue_send

    def enqueue(runtime: Runtime, values: dict[str, Any]) -> Answer:
        return _enqueued(enqueue_send(runtime, SendRequest(**values), source="task", actor="task"), values["account"])

    return _intake(self, SEND, args, kwargs, enqueue, "vtsync.deliver_messages")


@app.task(name="vtsync.record_message", **_public)  # type: ignore[untyped-decorator]
def record_message(self: Any, *args: Any, **kwargs: Any) -> Answer:
    """Commit the record of a text that was sent elsewhere, and wake its recording."""
    from worker.messages.outbox import RecordRequest, enqueue_record

    def enqueue(runtime: Runtime, values: dict[str, Any]) -> Answer:
        request = RecordRequest(**values)
        return _enqueued(enqueue_record(runtime, request, source="task", actor="task"), values["account"])

    return _intake(self, RECORD, args, kwargs, enqueue, "vtsync.record_messages")


@app.task(name="vtsync.sync_connection", **_public)  # type: ignore[untyped-decorator]
def sync_connection(self: Any, *args: Any, **kwargs: Any) -> Answer:
    """Read a connection now; the result is its report."""
    values, problems = read_arguments(SYNC_ARGUMENTS, args, kwargs)
    if problems:
        return failure("invalid_arguments", "the arguments of vtsync.sync_connection are wrong", problems)
    runtime = open_runtime()
    name = values["connection"]
    if name not in runtime.settings.connections:
        known = ", ".join(runtime.settings.connections) or "none"
        return failure("unknown_connection", f'there is no connection "{name}"; there are: {known}')
    with _thread_for(runtime, SYNC) as free:
        if not free:
            raise self.retry(countdown=ROOM_AGAIN_SECONDS)
        report = _when_the_store_answers(self, lambda: _sync(runtime, seconds=CALLED_SYNC_SECONDS, **values))
    if report.state in ("failed", "refused"):
        return failure(report.state, report.error) | asdict(report)
    return {"ok": True} | asdict(report)


# The tasks below are acknowledged early (Celery's default), because a tick finds what a lost one was about. Late, Redis
# would give a long sync to a second worker, and RabbitMQ would close the channel under it.


@app.task(name=SYNC.task)  # type: ignore[untyped-decorator]
def run_sync(connection: str, claimed_until: str = "") -> None:
    """Read a connection because its slot is due, or (without a slot) because its worker has vanished."""
    from worker.fleet.schedule import Slot, put_back_slot, start_slot
    from worker.store.db import writing
    from worker.store.models import utcnow

    runtime = open_runtime()
    if connection not in runtime.settings.connections:  # it was removed after the call
        return
    due = Slot(connection, datetime.fromisoformat(claimed_until)) if claimed_until else None
    with _thread_for(runtime, SYNC) as free:
        if due is not None:
            with writing(runtime.engine) as db:
                if not free:
                    put_back_slot(db, due, utcnow())
                elif not start_slot(db, runtime.settings, due, utcnow()):
                    return
        if free:
            _sync(runtime, connection)


@app.task(name=TICK.task)  # type: ignore[untyped-decorator]
def tick() -> None:
    """Start what is due by schedule, and find work that was left behind."""
    from worker.fleet.tick import tick as run
    from worker.monitoring.heartbeats import TICK_ROLE, write_heartbeat
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.upkeep import rollback_guard

    runtime = open_runtime()
    if not rollback_guard.guard(runtime):
        return
    for call in run(runtime):
        wake(call.task, *call.arguments)
    began = utcnow()
    with writing(runtime.engine) as db:
        write_heartbeat(db, TICK_ROLE, TICK_ROLE)
    rollback_guard.remember_tick(runtime, began)


def _register(kind: WorkKind) -> None:
    """Make the Celery task of a kind of work."""

    def of_account(account: str) -> None:
        _work_off(kind, account)

    def of_all() -> None:
        _work_off(kind, "")

    task: Callable[..., None] = of_account if kind.per_account else of_all
    task.__name__ = kind.task.rpartition(".")[2]
    task.__doc__ = f"Run ``{kind.task}``, see ``worker.work``."
    app.task(name=kind.task)(task)


for _kind in WORK:
    _register(_kind)


def _intake(
    task: Any,
    specification: tuple[Argument, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    enqueue: Callable[[Runtime, dict[str, Any]], Answer],
    delivery: str,
) -> Answer:
    """Check, commit, wake. The task's own id is the key of a job without one: delivered twice, it is one message."""
    from worker.messages.outbox import IdempotencyConflict, InvalidRequest

    values, problems = read_arguments(specification, args, kwargs)
    if problems:
        return failure("invalid_arguments", f"the arguments of {task.name} are wrong", problems)
    # A record is keyed on the carrier's id where it has one; only what has no key of its own takes the task's.
    if "carrier_message_id" not in values:
        values.setdefault("idempotency_key", f"task:{task.request.id}")
    try:
        with working_on(account=values["account"]):
            answer = _when_the_store_answers(task, lambda: enqueue(open_runtime(), values))
    except InvalidRequest as error:
        return failure("invalid_request", "the job cannot be done as it stands", error.problems)
    except IdempotencyConflict as error:
        return failure("idempotency_conflict", str(error)) | {"message_id": error.message_id}
    wake(delivery, values["account"])
    return answer


def _when_the_store_answers(task: Any, work: Callable[[], Done]) -> Done:
    """Run ``work``. While the store cannot be used, put the job back into the queue for a moment, so it is not lost."""
    try:
        return work()
    except STORE_AWAY as error:
        wait = STORE_BACKOFF.seconds(task.request.retries + 1)
        log.warning("the store cannot be used; the job waits", task=task.name, seconds=wait, error=type(error).__name__)
        raise task.retry(countdown=wait) from None


def _enqueued(enqueued: Any, account: str) -> Answer:
    return {
        "ok": True,
        "account": account,
        "message_id": enqueued.message_id,
        "state": str(enqueued.state),
        "duplicate": enqueued.duplicate,
        "reason": enqueued.reason,
    }


def _sync(runtime: Runtime, connection: str, accept_removals: bool = False, seconds: float | None = None) -> SyncReport:
    """Read a connection. Wakes pushes while it reads, and deliveries when its texts are released."""
    with working_on(connection=connection):
        return _pull(runtime, connection, accept_removals, seconds)


def _pull(runtime: Runtime, connection: str, accept_removals: bool, seconds: float | None) -> SyncReport:
    from worker.contacts.pull import sync_connection as pull

    account = runtime.settings.connections[connection].account
    woken_at = 0.0

    def wake_push(report: SyncReport) -> None:
        nonlocal woken_at
        if report.unchanged < report.seen and time.monotonic() - woken_at >= WAKE_EVERY_SECONDS:
            wake(PUSH.task, account)
            woken_at = time.monotonic()

    limited = _limited(runtime, seconds)
    report = pull(limited, connection, accept_removals=accept_removals, progress=wake_push)
    log.info(
        "synced",
        run=report.run_id,
        **{key: value for key, value in asdict(report).items() if key != "run_id" and value not in (0, "", None)},
    )
    if report.unchanged < report.seen or report.removed:
        wake(PUSH.task, account)
    if report.messages > report.held:
        wake(SENDS.task, account)
    return report


def _work_off(kind: WorkKind, account: str) -> None:
    """Do what is due of this kind, for one account or ("") for all.

    Does it once more if the task was woken meanwhile. Ends within the time limit, and wakes itself if that came first.
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
    """Take a thread for this kind of work while the block runs; yields False if its share is used up.

    Syncs and pushes, which may run for long, get a quarter of the threads each. All kinds but sending leave two threads
    free. So a back-fill, or a service that is slow to take an event, never keeps a text or a job waiting.
    """
    if kind.share == "all":
        yield True
        return
    most = threads(runtime.settings)
    share = most // 4 if kind.share == "quarter" else most
    with slot("shared", most - KEPT_FREE) as shared, slot(kind.task, share) as own:
        yield shared and own
