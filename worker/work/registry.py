"""The kinds of background work, each declared once: task, queue, share of the threads, when it is due, what to run.

The Celery tasks, their routes, the tick and the metrics are derived from ``WORK``. A new kind needs one entry here, and
the functions that the entry names, in the package that owns the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import structlog
from sqlalchemy import Connection

from config.models import Settings
from worker.broker import settings as queues
from worker.contacts import push_rows
from worker.core.states import MessageKind
from worker.deliveries import claims as deliveries
from worker.inbox import carrier_lists
from worker.inbox import events as inbox
from worker.messages import claims as messages
from worker.runtime import Runtime
from worker.store.models import utcnow
from worker.upkeep import retention

EVENTS_PER_TASK = 5000
MESSAGES_PER_TASK = 2000
"""A task ends after this many, so that no account holds a thread while others wait."""
PRUNING_SECONDS = 60
"""Pruning releases its thread after this time and continues at the next tick."""

Share: TypeAlias = Literal["all", "shared", "quarter"]
"""How many threads of a process one kind may use: all, all except those kept free for texts, or a quarter."""

log = structlog.get_logger(__name__)


class TaskCall(NamedTuple):
    """A task to wake, with its arguments: an account, or a connection and its slot."""

    task: str
    arguments: tuple[str, ...] = ()


class Ran(NamedTuple):
    """The result of one run.

    ``again``: run once more if the task was woken meanwhile. ``more``: the run reached its limit, so wake the task
    again. ``then``: the tasks that have work now.
    """

    again: bool = True
    more: bool = False
    then: tuple[TaskCall, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskKind:
    """A task between our own processes: its queue, and its share of the threads."""

    task: str
    queue: str
    share: Share = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkKind(TaskKind):
    """A kind of background work. ``account`` is "" for a kind that is not ``per_account``.

    ``has_due`` returns whether there is something to do, and ``run`` does it. ``oldest_due`` returns when the oldest
    row became due, for the metrics; it is None if the kind has no such time.
    """

    has_due: Callable[[Connection, Settings, str, datetime], bool]
    run: Callable[[Runtime, str], Ran]
    oldest_due: Callable[[Connection, Settings, str, datetime], datetime | None] | None = None
    per_account: bool = False

    def names(self, settings: Settings) -> Iterable[str]:
        """Return the accounts that can have work of this kind; only "" if it is not divided by account."""
        return settings.accounts if self.per_account else ("",)

    def waiting(self, db: Connection, settings: Settings, now: datetime) -> list[TaskCall]:
        """Return a call for each account that has something due."""
        due = (name for name in self.names(settings) if self.has_due(db, settings, name, now))
        return [self.call(name) for name in due]

    def lag(self, db: Connection, settings: Settings, account: str, now: datetime) -> float:
        """Return for how many seconds the oldest row has been due; 0 if nothing is due."""
        oldest = self.oldest_due(db, settings, account, now) if self.oldest_due else None
        return 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0)

    def call(self, account: str = "") -> TaskCall:
        """Return the call that wakes this kind of work."""
        return TaskCall(self.task, (account,) if account else ())


def _push(runtime: Runtime, account: str) -> Ran:
    from worker.contacts.push import push_account

    report = push_account(runtime, account)
    values = {key: value for key, value in (asdict(report) | {"account": ""}).items() if value not in (0, "", None)}
    if values:
        log.info("pushed", **values)
    return Ran(again=not report.deferred)


def _send(runtime: Runtime, account: str) -> Ran:
    from worker.messages.delivery import deliver_due

    return _messages(deliver_due(runtime, account=account, limit=MESSAGES_PER_TASK))


def _record(runtime: Runtime, account: str) -> Ran:
    from worker.messages.recording import record_due

    return _messages(record_due(runtime, account=account, limit=MESSAGES_PER_TASK))


def _messages(report: Any) -> Ran:
    done = sum(value for value in astuple(report) if isinstance(value, int))
    return Ran(again=not report.waiting, more=done >= MESSAGES_PER_TASK)


def _process_inbox(runtime: Runtime, _: str) -> Ran:
    from worker.inbox.carrier_texts import prepare_carrier
    from worker.inbox.process import process_due
    from worker.inbox.relay import prepare_relay

    report = process_due(runtime, {"relay": prepare_relay, "carrier": prepare_carrier}, limit=EVENTS_PER_TASK)
    done = report.done + report.ignored
    then = (DELIVERIES.call(), *map(RECORDS.call, runtime.settings.accounts)) if done else ()
    return Ran(more=done + report.failed >= EVENTS_PER_TASK, then=then)


def _poll_carriers(runtime: Runtime, _: str) -> Ran:
    found = carrier_lists.poll_due(runtime, utcnow())
    return Ran(again=False, then=(INBOX.call(),) if found else ())


def _deliver(runtime: Runtime, _: str) -> Ran:
    from worker.deliveries.fan_out import fan_out
    from worker.deliveries.run import run_deliveries

    while fan_out(runtime) and not runtime.stop.requested:
        pass
    report = run_deliveries(runtime, limit=EVENTS_PER_TASK)
    return Ran(more=report.done + report.retried + report.failed >= EVENTS_PER_TASK)


def _prune(runtime: Runtime, _: str) -> Ran:
    try:
        limited = runtime.but(stop=runtime.stop.child(PRUNING_SECONDS))
        pruned = retention.prune(limited, utcnow(), only_if_due=True)
    except retention.AlreadyPruning:  # another worker was woken too
        return Ran(again=False)
    if counts := {one.what.replace(" ", "_"): one.count for one in pruned if one.count}:
        log.info("pruned", **counts)
    return Ran(again=False)


def _messages_of(
    task: str, queue: str, kind: MessageKind, run: Callable[[Runtime, str], Ran], share: Share
) -> WorkKind:
    return WorkKind(
        task,
        queue,
        share,
        has_due=lambda db, _, account, now: messages.has_due(db, account, kind, now),
        oldest_due=lambda db, _, account, now: messages.oldest_due(db, account, kind, now),
        run=run,
        per_account=True,
    )


SYNC = TaskKind("vtsync.run_sync", queues.SYNC, share="quarter")
"""Not in ``WORK``: ``fleet.schedule`` finds due connections, because each sync has a slot that the tick claims."""
TICK = TaskKind("vtsync.tick", queues.TICK)
"""It has its own queue, because it would expire behind thousands of jobs."""
ALERTS = TaskKind("vtsync.check_alerts", queues.FORWARD)
"""Not in ``WORK``: it looks at the work of all kinds, so it is above them. ``worker.alerts`` says when it is due."""
PUSH = WorkKind(
    "vtsync.push_contacts",
    queues.PUSH,
    share="quarter",
    has_due=lambda db, settings, account, now: push_rows.has_due(
        db, account, now, settings.accounts[account].only_numbers
    ),
    oldest_due=lambda db, settings, account, now: push_rows.oldest_due(
        db, account, now, settings.accounts[account].only_numbers
    ),
    run=_push,
    per_account=True,
)
SENDS = _messages_of("vtsync.deliver_messages", queues.MESSAGES, MessageKind.SEND, _send, "all")
RECORDS = _messages_of("vtsync.record_messages", queues.RECORDS, MessageKind.RECORD, _record, "shared")
INBOX = WorkKind(
    "vtsync.process_inbox",
    queues.INBOX,
    has_due=lambda db, _, __, now: inbox.has_due(db, now),
    oldest_due=lambda db, _, __, now: inbox.oldest_due(db, now),
    run=_process_inbox,
)
POLLS = WorkKind(
    "vtsync.poll_carriers",
    queues.INBOX,
    has_due=lambda db, settings, _, now: carrier_lists.has_due(db, settings, now),
    run=_poll_carriers,
)
DELIVERIES = WorkKind(
    "vtsync.forward_events",
    queues.FORWARD,
    has_due=lambda db, _, __, now: deliveries.has_due(db, now),
    oldest_due=lambda db, _, __, now: deliveries.oldest_due(db, now),
    run=_deliver,
)
PRUNING = WorkKind("vtsync.prune", queues.SYNC, has_due=lambda db, _, __, now: retention.has_due(db, now), run=_prune)

WORK = (PUSH, SENDS, RECORDS, INBOX, DELIVERIES, POLLS, PRUNING)
_QUEUES = {kind.task: kind.queue for kind in (*WORK, SYNC, TICK, ALERTS)}


def route(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
    """Return the queue of one of our own tasks, for Celery. Public tasks go to Celery's default queue."""
    return {"queue": _QUEUES[name]} if name in _QUEUES else None
