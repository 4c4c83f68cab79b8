"""The task names. Each task is a door to a function elsewhere.

Public, for other services (JSON arguments, results as documented in the README): ``vtsync.send_message``,
``vtsync.record_message``, ``vtsync.sync_connection``. The others are hints between our own processes: "there may be
work". Losing one costs a tick; getting one twice does nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, astuple
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from worker.app import app
from worker.broker.settings import threads
from worker.core.logs import working_on
from worker.fleet.concurrency import once_at_a_time, place
from worker.fleet.wake import hint
from worker.messages.arguments import RECORD, SEND, SYNC, Answer, Argument, failure, read_arguments
from worker.runtime import Runtime, open_runtime
from worker.store.db import STORE_AWAY

if TYPE_CHECKING:
    from worker.contacts.pull import SyncReport
    from worker.contacts.push import PushReport

HINT_EVERY_SECONDS = 2.0
EVENTS_A_TASK = 5000
MESSAGES_A_TASK = 2000
"""A delivery gives its thread back after this many, so that no account keeps the others waiting."""
CALLED_SYNC_SECONDS = 20 * 60
"""A sync that a service waits for ends by then: RabbitMQ takes back what is not acknowledged in half an hour."""
PRUNING_SECONDS = 60
"""Pruning gives its thread back after this long, and goes on at the next tick."""
ROOM_AGAIN_SECONDS = 5
TEXTS = "vtsync.deliver_messages"
KEPT_FREE = 2
LONGEST_STORE_WAIT_SECONDS = 60

Done = TypeVar("Done")

log = structlog.get_logger(__name__)

# Late: the row that these insert is idempotent, so a second delivery of the task is harmless and a lost one is not.
_public = {"bind": True, "ignore_result": False, "acks_late": True, "reject_on_worker_lost": True, "max_retries": None}


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
    values, problems = read_arguments(SYNC, args, kwargs)
    if problems:
        return failure("invalid_arguments", "the arguments of vtsync.sync_connection are wrong", problems)
    runtime = open_runtime()
    name = values["connection"]
    if name not in runtime.settings.connections:
        known = ", ".join(runtime.settings.connections) or "none"
        return failure("unknown_connection", f'there is no connection "{name}"; there are: {known}')
    with _room(runtime, "sync") as free:
        if not free:
            raise self.retry(countdown=ROOM_AGAIN_SECONDS)
        report = _when_the_store_answers(self, lambda: _sync(runtime, seconds=CALLED_SYNC_SECONDS, **values))
    if report.state in ("failed", "refused"):
        return failure(report.state, report.error) | asdict(report)
    return {"ok": True} | asdict(report)


# The hints are acknowledged early (Celery's default): what a lost one meant is found by a tick. Late, Redis would give
# a sync that runs for long to a second worker, and RabbitMQ would close the channel under it.


@app.task(name="vtsync.run_sync")  # type: ignore[untyped-decorator]
def run_sync(connection: str, claimed_until: str = "") -> None:
    """Read a connection because its slot is due, or (without a slot) because its worker has vanished."""
    from worker.fleet.schedule import Slot, put_back_slot, start_slot
    from worker.store.db import writing
    from worker.store.models import utcnow

    runtime = open_runtime()
    if connection not in runtime.settings.connections:  # it was removed after the hint
        return
    slot = Slot(connection, datetime.fromisoformat(claimed_until)) if claimed_until else None
    with _room(runtime, "sync") as free:
        if slot is not None:
            with writing(runtime.engine) as db:
                if not free:
                    put_back_slot(db, slot, utcnow())
                elif not start_slot(db, runtime.settings, slot, utcnow()):
                    return
        if free:
            _sync(runtime, connection)


@app.task(name="vtsync.push_contacts")  # type: ignore[untyped-decorator]
def push_contacts(account: str) -> None:
    """Tell VirtualText about an account's contacts that are due."""
    from worker.contacts.push import push_account

    def push(runtime: Runtime) -> bool:
        report = push_account(runtime, account)
        _say_pushed(report)
        return not report.deferred

    _work("vtsync.push_contacts", account, push)


@app.task(name=TEXTS)  # type: ignore[untyped-decorator]
def deliver_messages(account: str) -> None:
    """Send an account's texts that are due."""
    from worker.messages.delivery import deliver_due

    _work(
        TEXTS,
        account,
        lambda runtime: _some(TEXTS, account, deliver_due(runtime, account=account, limit=MESSAGES_A_TASK)),
    )


@app.task(name="vtsync.record_messages")  # type: ignore[untyped-decorator]
def record_messages(account: str) -> None:
    """Record an account's texts that were sent elsewhere."""
    from worker.messages.recording import record_due

    task = "vtsync.record_messages"
    _work(
        task, account, lambda runtime: _some(task, account, record_due(runtime, account=account, limit=MESSAGES_A_TASK))
    )


@app.task(name="vtsync.process_inbox")  # type: ignore[untyped-decorator]
def process_inbox() -> None:
    """Work through what the Relay and the carriers have told us."""
    from worker.inbox.carrier_texts import prepare_carrier
    from worker.inbox.process import process_due
    from worker.inbox.relay import prepare_relay

    task = "vtsync.process_inbox"

    def process(runtime: Runtime) -> bool:
        report = process_due(runtime, {"relay": prepare_relay, "carrier": prepare_carrier}, limit=EVENTS_A_TASK)
        if report.done + report.ignored:
            hint("vtsync.forward_events")
            for account in runtime.settings.accounts:
                hint("vtsync.record_messages", account)
        if report.done + report.ignored + report.failed >= EVENTS_A_TASK:
            hint(task)
        return True

    _work(task, "", process)


@app.task(name="vtsync.poll_carriers")  # type: ignore[untyped-decorator]
def poll_carriers() -> None:
    """Read carriers' lists of sent texts where that is due."""
    from worker.inbox.carrier_lists import poll_due
    from worker.store.models import utcnow

    def poll(runtime: Runtime) -> bool:
        if poll_due(runtime, utcnow()):
            hint("vtsync.process_inbox")
        return False

    _work("vtsync.poll_carriers", "", poll)


@app.task(name="vtsync.forward_events")  # type: ignore[untyped-decorator]
def forward_events() -> None:
    """Hand on what happened to the CRMs and services that want to hear of it."""
    from worker.deliveries.fan_out import fan_out
    from worker.deliveries.run import run_deliveries

    task = "vtsync.forward_events"

    def forward(runtime: Runtime) -> bool:
        while fan_out(runtime) and not runtime.stop.requested:
            pass
        report = run_deliveries(runtime, limit=EVENTS_A_TASK)
        if report.done + report.retried + report.failed >= EVENTS_A_TASK:
            hint(task)
        return True

    _work(task, "", forward)


@app.task(name="vtsync.prune")  # type: ignore[untyped-decorator]
def prune_store() -> None:
    """Forget what is over, see ``[retention]``."""
    from worker.store.models import utcnow
    from worker.upkeep.retention import AlreadyPruning, prune

    try:
        swept = prune(_limited(open_runtime(), PRUNING_SECONDS), utcnow(), only_if_due=True)
    except AlreadyPruning:  # another worker got the same hint
        return
    if counts := {one.what.replace(" ", "_"): one.count for one in swept if one.count}:
        log.info("pruned", **counts)


@app.task(name="vtsync.tick")  # type: ignore[untyped-decorator]
def tick() -> None:
    """Start what is due by schedule, find work that was left behind."""
    from worker.fleet.tick import tick as sweep
    from worker.monitoring.heartbeats import TICK, keep
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.upkeep import rollback_guard

    runtime = open_runtime()
    if not rollback_guard.intact(runtime):
        return
    for task, arguments in sweep(runtime):
        hint(task, *arguments)
    began = utcnow()
    with writing(runtime.engine) as db:
        keep(db, TICK, TICK)
    rollback_guard.remember(runtime, began)


def _intake(
    task: Any,
    specification: tuple[Argument, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    enqueue: Callable[[Runtime, dict[str, Any]], Answer],
    delivery: str,
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
        with working_on(account=values["account"]):
            answer = _when_the_store_answers(task, lambda: enqueue(open_runtime(), values))
    except InvalidRequest as error:
        return failure("invalid_request", "the job cannot be done as it stands", error.problems)
    except IdempotencyConflict as error:
        return failure("idempotency_conflict", str(error)) | {"message_id": error.message_id}
    hint(delivery, values["account"])
    return answer


def _when_the_store_answers(task: Any, work: Callable[[], Done]) -> Done:
    """Do it, or put the job back for a while: a store that restarts must not cost a text."""
    try:
        return work()
    except STORE_AWAY as error:
        wait = min(2**task.request.retries, LONGEST_STORE_WAIT_SECONDS)
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
    """Pull, hinting pushes as it goes, and deliveries when its texts are released."""
    with working_on(connection=connection):
        return _pull(runtime, connection, accept_removals, seconds)


def _pull(runtime: Runtime, connection: str, accept_removals: bool, seconds: float | None) -> SyncReport:
    from worker.contacts.pull import sync_connection as pull

    account = runtime.settings.connections[connection].account
    hinted_at = 0.0

    def hint_push(report: SyncReport) -> None:
        nonlocal hinted_at
        if report.unchanged < report.seen and time.monotonic() - hinted_at >= HINT_EVERY_SECONDS:
            hint("vtsync.push_contacts", account)
            hinted_at = time.monotonic()

    limited = _limited(runtime, seconds)
    report = pull(limited, connection, accept_removals=accept_removals, progress=hint_push)
    log.info(
        "synced",
        run=report.run_id,
        **{key: value for key, value in asdict(report).items() if key != "run_id" and value not in (0, "", None)},
    )
    if report.unchanged < report.seen or report.removed:
        hint("vtsync.push_contacts", account)
    if report.messages > report.held:
        hint("vtsync.deliver_messages", account)
    return report


def _work(task: str, account: str, work: Callable[[Runtime], bool]) -> None:
    """Work off what an account (or "": everything of a kind) has due.

    Once more when a hint comes meanwhile and ``work`` says that it makes sense.

    Ends within the time limit, and hints itself when that cut it short.
    """
    runtime = open_runtime()
    if account and account not in runtime.settings.accounts:  # it was removed after the hint
        return
    limited = _limited(runtime)

    def in_a_place() -> bool:
        with _room(runtime, task) as free:  # without room, the next tick hints again
            return free and work(limited) and not limited.stop.requested

    with working_on(account=account) if account else nullcontext():
        once_at_a_time(task, account, in_a_place)
        if limited.stop.requested and not runtime.stop.requested:
            hint(task, *filter(None, [account]))


def _some(task: str, account: str, report: Any) -> bool:
    """After one portion of messages: hint the next when there may be more. Whether to go round again."""
    if sum(value for value in astuple(report) if isinstance(value, int)) >= MESSAGES_A_TASK:
        hint(task, account)
    return not report.waiting


def _say_pushed(report: PushReport) -> None:
    if came_to := _worth_saying(asdict(report) | {"account": ""}):
        log.info("pushed", **came_to)


def _worth_saying(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (0, "", None)}


def _limited(runtime: Runtime, seconds: float | None = None) -> Runtime:
    """The same runtime, whose stop also goes off when the task's time is up."""
    longest = runtime.settings.worker.time_limit.total_seconds()
    return runtime.but(stop=runtime.stop.child(longest if seconds is None else min(seconds, longest)))


@contextmanager
def _room(runtime: Runtime, kind: str) -> Iterator[bool]:
    """Whether there is a thread for this kind of work, taken while the block runs.

    Syncs and pushes, which may run for long, have a quarter of the threads each; everything but texts together leaves
    two free: a back-fill, or a service that takes its time over each event, never keeps a text or a job waiting.
    """
    if kind == TEXTS:
        yield True
        return
    most = threads(runtime.settings)
    share = most // 4 if kind in ("sync", "vtsync.push_contacts") else most
    with place("all but texts", most - KEPT_FREE) as room, place(kind, share) as free:
        yield room and free
