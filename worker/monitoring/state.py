"""The state of the fleet for metrics, read from the store in one transaction.

Every query has an index. Rows that only accumulate, such as sent texts, are not counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, not_, select

from worker.contacts.remote_list import ListState, list_state
from worker.core.states import DeliveryState, InboxState, MessageKind, MessageState, PauseKind, PushState, RunState
from worker.limits.adaptive_rate import ceiling_now
from worker.monitoring.heartbeats import ALIVE_SECONDS, TICK_ROLE
from worker.runtime import Runtime
from worker.store.db import is_postgres, reading
from worker.store.models import utcnow
from worker.store.pauses import is_paused
from worker.store.tables import (
    account_state,
    connection_state,
    contact,
    delivery,
    heartbeat,
    inbox_event,
    message,
    number_review,
    rejected_record,
    sync_run,
)
from worker.work.registry import DELIVERIES, INBOX, PUSH, RECORDS, SENDS, WORK

FRESH_SECONDS = 10.0
WAITING = (MessageState.QUEUED, MessageState.HELD, MessageState.DISPATCHING, MessageState.UNKNOWN)
UNSYNCED = tuple(state for state in PushState if state is not PushState.SYNCED)


@dataclass(frozen=True, slots=True)
class AccountNow:
    """The state of an account. ``ceiling`` is in requests a second; None if nothing slows the account down."""

    stopped: bool
    paused: bool
    breaker_open: bool
    ceiling: float | None
    reason: str
    """Why it is stopped, else why it is paused."""
    paused_until: datetime | None = None
    pause_reason: str = ""
    contact_list: ListState = field(default_factory=ListState)
    test_mode: bool = False
    stopped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FleetState:
    """Counts and ages. A lag is the age of the oldest due row in seconds; 0 if nothing is due."""

    at: datetime
    messages: Mapping[tuple[str, str, str], int]
    """Unfinished ones, by (account, kind, state)."""
    held: Mapping[tuple[str, str], int]
    """By (account, reason)."""
    lags: Mapping[tuple[str, str], float]
    """By (task, account), for each kind of work that has due times; account "" if it is not divided by account."""
    outbox_lag: Mapping[str, float]
    contacts: Mapping[tuple[str, str], int]
    """Those not in sync, by (account, state)."""
    contacts_lag: Mapping[str, float]
    rejected: Mapping[str, int]
    last_success: Mapping[str, datetime]
    next_run: Mapping[str, datetime]
    accounts: Mapping[str, AccountNow]
    inbox: Mapping[str, int]
    inbox_lag: float
    forwards: Mapping[str, int]
    forwards_lag: float
    reviews: int
    processes: Mapping[str, int]
    """Those that are alive, by role."""
    last_tick: datetime | None


def read_state(runtime: Runtime) -> FleetState:
    """Read everything in one consistent view."""
    now, accounts, connections = utcnow(), list(runtime.settings.accounts), list(runtime.settings.connections)
    m, c, e, f = message.c, contact.c, inbox_event.c, delivery.c
    with reading(runtime.engine) as db:
        lags = {
            (kind.task, name): kind.lag(db, runtime.settings, name, now)
            for kind in WORK
            if kind.oldest_due is not None
            for name in kind.names(runtime.settings)
        }
        beats = db.execute(select(heartbeat.c.role, heartbeat.c.seen_at)).all()
        roles = [b.role for b in beats if b.role != TICK_ROLE and (now - b.seen_at).total_seconds() < ALIVE_SECONDS]
        # A connection that is paused is not late.
        states = select(connection_state.c.connection, connection_state.c.next_run_at).where(
            not_(is_paused(PauseKind.CONNECTION, connection_state.c.connection))
        )
        return FleetState(
            at=now,
            messages={
                (name, kind, state): count
                for name in accounts
                for kind, state, count in db.execute(
                    select(m.kind, m.state, func.count())
                    .where(m.account == name, m.kind.in_(tuple(MessageKind)), m.state.in_(WAITING))
                    .group_by(m.kind, m.state)
                )
            },
            held={(name, reason): count for name in accounts for reason, count in db.execute(_held(db, name))},
            lags=lags,
            outbox_lag={name: max(lags[kind.task, name] for kind in (SENDS, RECORDS)) for name in accounts},
            contacts={
                (name, state): count
                for name in accounts
                for state, count in db.execute(
                    select(c.push_state, func.count())
                    .where(c.account == name, c.push_state.in_(UNSYNCED))
                    .group_by(c.push_state)
                )
            },
            contacts_lag={name: lags[PUSH.task, name] for name in accounts},
            rejected=_all(
                db.execute(select(rejected_record.c.connection, func.count()).group_by(rejected_record.c.connection)),
                connections,
            ),
            last_success={name: found for name in connections if (found := _last_success(db, name)) is not None},
            next_run={row[0]: row[1] for row in db.execute(states) if row[0] in connections and row[1] is not None},
            accounts={
                name: replace(read_account(db, name, now), test_mode=runtime.settings.accounts[name].mode == "test")
                for name in accounts
            },
            inbox=_all(
                db.execute(
                    select(e.state, func.count())
                    .where(e.state.in_((InboxState.NEW, InboxState.FAILED)))
                    .group_by(e.state)
                ),
                (InboxState.NEW, InboxState.FAILED),
            ),
            inbox_lag=lags[INBOX.task, ""],
            forwards=_all(
                db.execute(select(f.state, func.count()).where(f.state != DeliveryState.DONE).group_by(f.state)),
                (DeliveryState.DUE, DeliveryState.SENDING, DeliveryState.FAILED),
            ),
            forwards_lag=lags[DELIVERIES.task, ""],
            reviews=db.scalar(select(func.count()).select_from(number_review)) or 0,
            processes={role: roles.count(role) for role in ("worker", "beat", "web")},
            last_tick=next((b.seen_at for b in beats if b.role == TICK_ROLE), None),
        )


class StateCache:
    """The state, read again only when it is older than ten seconds, so that frequent scrapes are cheap."""

    def __init__(self, current: Callable[[], Runtime]) -> None:
        self._current = current
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._last: FleetState | None = None

    def __call__(self) -> FleetState:
        """Return the state. Raises the errors of the store."""
        with self._lock:
            if self._last is None or time.monotonic() - self._read_at > FRESH_SECONDS:
                self._last, self._read_at = read_state(self._current()), time.monotonic()
            return self._last


def _held(db: Connection, account: str) -> Select[Any]:
    """Count held texts by the code before the colon of their reason; there are few codes."""
    m = message.c
    find = func.strpos if is_postgres(db) else func.instr
    code = func.substr(m.reason, 1, find(m.reason + ":", ":") - 1)
    held = (m.account == account, m.kind == MessageKind.SEND, m.state == MessageState.HELD)
    return select(code, func.count()).where(*held).group_by(code)


def _last_success(db: Connection, connection: str) -> datetime | None:
    r = sync_run.c
    done = select(r.finished_at).where(r.connection == connection, r.state == RunState.DONE)
    found: datetime | None = db.scalar(done.order_by(r.id.desc()).limit(1))
    return found


def read_account(db: Connection, name: str, now: datetime) -> AccountNow:
    """Read the state of an account."""
    row = db.execute(select(account_state).where(account_state.c.account == name)).first()
    if row is None:
        return AccountNow(False, False, False, None, "")
    return AccountNow(
        stopped=row.stopped_at is not None,
        paused=row.paused_until is not None and row.paused_until > now,
        breaker_open=row.trips > 0,
        ceiling=ceiling_now(row.rate_ceiling, row.rate_lowered_at, now),
        reason=row.stopped_reason or row.pause_reason,
        paused_until=row.paused_until,
        pause_reason=row.pause_reason,
        contact_list=list_state(db, name),
        stopped_at=row.stopped_at,
    )


def _all(rows: Iterable[Any], names: Iterable[str]) -> dict[str, int]:
    """Return counts by name, with 0 for missing rows, because an alert cannot watch a series that disappears."""
    found = {str(row[0]): int(row[1]) for row in rows}
    return {str(name): found.get(str(name), 0) for name in names}
