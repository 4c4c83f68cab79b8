"""How things stand: connections, contacts, messages, and what waits for a person. For `vtsync status`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.sql import Select

from worker.core.states import DeliveryState, InboxState, MessageState, PushState
from worker.core.text import counted
from worker.runtime import Runtime
from worker.store.configuration import UnusedConfiguration, unused_files
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.tables import (
    account_state,
    connection_state,
    contact,
    delivery,
    inbox_event,
    message,
    number_review,
    rejected_record,
    sync_run,
)


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """A connection's last run and its next."""

    name: str
    adapter: str
    schedule: str
    state: str
    started_at: datetime | None
    seen: int
    changed: int
    rejected_now: int
    next_run_at: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """An account's contacts and messages by state; ``stopped`` says why nothing is sent, if so."""

    name: str
    contacts: dict[str, int]
    messages: dict[str, int]
    stopped: str
    paused_until: datetime | None
    pause_reason: str = ""


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that waits for a person: what, how many, and the command that deals with it."""

    what: str
    count: int
    command: str
    one: str = ""
    """``what`` of a single one; "": ``what`` is no number of things."""

    @property
    def words(self) -> str:
        """``3 texts wait``."""
        return counted(self.count, self.one, self.what) if self.one else self.what


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything `vtsync status` shows."""

    connections: Sequence[ConnectionStatus]
    accounts: Sequence[AccountStatus]
    attention: Sequence[Attention]
    configuration: Sequence[UnusedConfiguration] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected CRM record."""

    connection: str
    key: str
    where: str
    reason: str
    excerpt: str
    since: datetime


def overview(runtime: Runtime) -> Overview:
    """Read how things stand, in one consistent view."""
    with reading(runtime.engine) as db:
        connections = [_connection(db, runtime, name) for name in runtime.settings.connections]
        accounts = [_account(db, name) for name in runtime.settings.accounts]
        return Overview(connections, accounts, _attention(db, accounts), unused_files(db, utcnow()))


def rejected_records(runtime: Runtime, connections: Sequence[str], limit: int) -> list[Rejected]:
    """The rejected records of these connections, oldest first."""
    r = rejected_record.c
    with reading(runtime.engine) as db:
        rows = db.execute(
            select(r.connection, r.key, r.where, r.reason, r.excerpt, r.since)
            .where(r.connection.in_(connections))
            .order_by(r.since, r.id)
            .limit(limit)
        )
        return [Rejected(*row) for row in rows]


def _connection(db: Connection, runtime: Runtime, name: str) -> ConnectionStatus:
    configured = runtime.settings.connections[name]
    run = db.execute(
        select(sync_run).where(sync_run.c.connection == name).order_by(sync_run.c.id.desc()).limit(1)
    ).first()
    next_run_at = db.scalar(select(connection_state.c.next_run_at).where(connection_state.c.connection == name))
    rejected = db.scalar(select(func.count()).where(rejected_record.c.connection == name)) or 0
    schedule = configured.schedule or "by hand"
    if not configured.enabled:
        schedule = "disabled"
    if run is None:
        return ConnectionStatus(name, configured.adapter, schedule, "never run", None, 0, 0, rejected, next_run_at, "")
    changed = run.added + run.changed + run.removed
    return ConnectionStatus(
        name,
        configured.adapter,
        schedule,
        run.state,
        run.started_at,
        run.seen,
        changed,
        rejected,
        next_run_at,
        run.error,
    )


def _account(db: Connection, name: str) -> AccountStatus:
    row = db.execute(
        select(account_state.c.stopped_reason, account_state.c.paused_until, account_state.c.pause_reason).where(
            account_state.c.account == name
        )
    ).first()
    contacts = _grouped(
        db, select(contact.c.push_state, func.count()).where(contact.c.account == name).group_by(contact.c.push_state)
    )
    messages = _grouped(
        db, select(message.c.state, func.count()).where(message.c.account == name).group_by(message.c.state)
    )
    if row is None:
        return AccountStatus(name, contacts, messages, "", None)
    return AccountStatus(name, contacts, messages, row.stopped_reason, row.paused_until, row.pause_reason)


def _grouped(db: Connection, statement: Select[Any]) -> dict[str, int]:
    return {str(row[0]): int(row[1]) for row in db.execute(statement)}


def _attention(db: Connection, accounts: Sequence[AccountStatus]) -> list[Attention]:
    found = [
        Attention(f"account {account.name} is stopped: {account.stopped}", 1, "vtsync check")
        for account in accounts
        if account.stopped
    ]
    approvals = db.execute(
        select(message.c.batch_id, func.count())
        .where(message.c.state == MessageState.HELD, message.c.reason.startswith("approval"))
        .group_by(message.c.batch_id)
    )
    found += [
        Attention(
            "texts of one sync wait for approval",
            count,
            f"vtsync approve {batch_id}",
            "text of a sync waits for approval",
        )
        for batch_id, count in approvals
    ]
    broken = db.execute(
        select(message.c.trigger, func.count())
        .where(message.c.state == MessageState.HELD, message.c.reason.startswith("breaker"))
        .group_by(message.c.trigger)
    )
    found += [
        Attention(
            f"texts wait: the trigger {name} fires more than it used to",
            count,
            f"vtsync approve --trigger {name}",
            f"text waits: the trigger {name} fires more than it used to",
        )
        for name, count in broken
    ]
    unknown = sum(account.messages.get(MessageState.UNKNOWN, 0) for account in accounts)
    lost = sum(account.contacts.get(PushState.UNKNOWN, 0) for account in accounts)
    refused = sum(account.contacts.get(PushState.REJECTED, 0) for account in accounts)
    rejected = db.scalar(select(func.count()).select_from(rejected_record)) or 0
    reviews = db.scalar(select(func.count()).select_from(number_review)) or 0
    nowhere = select(func.count()).where(message.c.state == MessageState.HELD, message.c.reason.startswith("time_zone"))
    unread = select(func.count()).where(inbox_event.c.state == InboxState.FAILED)
    untold = select(func.count()).where(delivery.c.state == DeliveryState.FAILED)
    found += [
        Attention(
            "texts may or may not have been sent",
            unknown,
            "vtsync messages --state unknown",
            "text may or may not have been sent",
        ),
        Attention(
            "creates without an answer; looked up by themselves",
            lost,
            "vtsync status --contacts unknown",
            "create without an answer; looked up by itself",
        ),
        Attention(
            "contacts were refused by VirtualText",
            refused,
            "vtsync status --contacts rejected",
            "contact was refused by VirtualText",
        ),
        Attention("CRM records were rejected", rejected, "vtsync status --rejected", "CRM record was rejected"),
        Attention(
            "people may have asked to be left alone", reviews, "vtsync review", "person may have asked to be left alone"
        ),
        Attention(
            "texts wait for a time zone to be known",
            db.scalar(nowhere) or 0,
            "vtsync messages --state held",
            "text waits for a time zone to be known",
        ),
        Attention(
            "events that came in were not understood",
            db.scalar(unread) or 0,
            "vtsync relay show",
            "event that came in was not understood",
        ),
        Attention(
            "deliveries to CRMs and services were given up",
            db.scalar(untold) or 0,
            "vtsync forwards list --failed",
            "delivery to a CRM or service was given up",
        ),
    ]
    return [one for one in found if one.count]


@dataclass(frozen=True, slots=True)
class StuckContact:
    """A contact that is not in step with VirtualText, and why."""

    account: str
    phone: str
    full_name: str
    state: str
    error: str
    attempts: int
    attempted_at: datetime | None


def contacts_in(runtime: Runtime, state: str, limit: int) -> list[StuckContact]:
    """Contacts in one push state."""
    c = contact.c
    with reading(runtime.engine) as db:
        rows = db.execute(
            select(c.account, c.phone, c.full_name, c.push_state, c.last_error, c.attempts, c.attempted_at)
            .where(c.push_state == state)
            .order_by(c.id)
            .limit(limit)
        )
        return [StuckContact(*row) for row in rows]
