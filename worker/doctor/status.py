"""The overview of `vtsync status`: connections, accounts, contacts, messages, and what waits for a person."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select, type_coerce
from sqlalchemy.sql import Select

from config.models import Settings
from worker.broker.jobs import count_jobs
from worker.core.findings import Finding, FindingCode, Level, warning
from worker.core.states import PauseKind, PushState
from worker.doctor.accounts import judge_account_state, judge_contact_list, judge_test_mode, list_note
from worker.doctor.clocks import check_clocks
from worker.doctor.connections import ConnectionNow, check_connections, judge_connection_now, read_connections
from worker.doctor.encryption import pending_rewrite
from worker.doctor.pauses import judge_pause
from worker.doctor.waiting import KEEPS_FAILING, WAITING, missing_fields, not_linked, unread_values, waiting_rows
from worker.messages.simulation import notes_on_test_mode
from worker.monitoring.state import AccountNow, read_account
from worker.runtime import Runtime
from worker.store.configuration import UnusedConfiguration, unused_files
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.pauses import Pause, all_pauses
from worker.store.tables import (
    connection_state,
    contact,
    message,
    rejected_record,
    sync_run,
)


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """A connection's last and next run."""

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
    note: str = ""
    """Why no run starts at the moment: it is paused or stopped, or waits."""
    budgets: Sequence[str] = ()
    account: str = ""
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """An account's contacts and messages by state. ``stopped`` is the reason, or empty if it is not stopped."""

    name: str
    contacts: dict[str, int]
    messages: dict[str, int]
    stopped: str
    paused_until: datetime | None
    pause_reason: str = ""
    contact_list: str = ""
    """Why VirtualText's contact list cannot be read, or empty."""
    mode: str = "live"


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that `vtsync status` shows. ``findings`` are also part of `vtsync doctor` and ``/health/fleet``."""

    connections: Sequence[ConnectionStatus]
    accounts: Sequence[AccountStatus]
    configuration: Sequence[UnusedConfiguration]
    test_mode: Sequence[str]
    """A sentence for each account in test mode."""
    findings: Sequence[Finding]
    paused_triggers: Mapping[str, Pause] = field(default_factory=dict)

    @property
    def attention(self) -> list[Finding]:
        """Return the findings that wait for a person and have a command to begin with."""
        return [one for one in self.findings if one.level is not Level.OK and one.command]

    def as_json(self) -> dict[str, Any]:
        """Return what `vtsync status --json` prints."""
        return {
            "connections": self.connections,
            "accounts": self.accounts,
            "test_mode": self.test_mode,
            "attention": [
                {
                    "what": attention_text(one),
                    "count": one.count,
                    "oldest": one.since,
                    "command": one.command,
                    "code": one.code,
                    "docs": one.docs,
                }
                for one in self.attention
            ],
            "configuration": self.configuration,
            "paused_triggers": self.paused_triggers,
        }


def attention_text(finding: Finding) -> str:
    """Describe in one line what waits for a person: ``3 texts of one sync waiting for approval``."""
    if finding.what == WAITING:
        return finding.found
    # Some findings continue the name of what they are about ("is stopped"); the others are sentences of their own.
    return f"{finding.what}{'' if finding.found.startswith(('is ', 'has ')) else ':'} {finding.found}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected CRM record."""

    connection: str
    key: str
    where: str
    reason: str
    excerpt: str
    since: datetime


def jobs_in_broker(settings: Settings) -> dict[str, Any]:
    """Return how many jobs are in the broker. None: it does not tell, or it cannot be used (``error``)."""
    try:
        jobs = count_jobs(settings)
    except Exception as error:  # noqa: BLE001 - clients of brokers raise errors of many kinds; the rest is shown
        found: dict[str, Any] = dict.fromkeys(("waiting", "in_progress", "left_behind"))
        return found | {"error": type(error).__name__}
    taken = jobs.taken._asdict() if jobs.taken else {"in_progress": None, "left_behind": None}
    return {"waiting": jobs.waiting, **taken, "error": ""}


def settings_of(settings: Settings, accounts: Collection[str]) -> Settings:
    """Return the settings with these accounts, their connections, and the triggers that watch these. Empty: all."""
    if not accounts:
        return settings
    connections = {name: one for name, one in settings.connections.items() if one.account in accounts}
    triggers = {name: one for name, one in settings.triggers.items() if connections.keys() & set(one.connections)}
    mine = {name: one for name, one in settings.accounts.items() if name in accounts}
    return settings.model_copy(update={"accounts": mine, "connections": connections, "triggers": triggers})


def overview(
    runtime: Runtime, *, count_rows: bool = False, brief: bool = False, accounts: Collection[str] = ()
) -> Overview:
    """Read the state of everything, in one consistent view.

    ``count_rows``: while content is stored in several ways, count its rows, which reads whole tables.
    ``brief``: leave out what takes long where there are millions of messages: how many each account has in each state,
    and how many people the triggers whose texts wait have texted today. ``accounts``: only what belongs to these, and
    nothing about the fleet, which all accounts share; empty: everything.
    """
    now, settings = utcnow(), settings_of(runtime.settings, accounts)
    with reading(runtime.engine) as db:
        connected = read_connections(db, settings, now)
        connections = [_connection(db, settings, state) for state in connected]
        states = {name: read_account(db, name, now) for name in settings.accounts}
        statuses = [
            replace(_account(db, name, state, now, brief), mode=settings.accounts[name].mode)
            for name, state in states.items()
        ]
        unused = [] if accounts else unused_files(db, now)
        missing = missing_fields(db, settings)
        unread = unread_values(db, settings)
        clocks = [] if accounts else list(check_clocks(db, now))
        rewrite = list(pending_rewrite(db)) if count_rows else []
        unlinked = [one for name in states for one in not_linked(db, name)]
        # Credentials that nothing uses belong to no account.
        judged = (
            [finding for one in connected for finding in judge_connection_now(one, now)]
            if accounts
            else check_connections(db, settings, now, connected)
        )
        found = all_pauses(db, PauseKind.TRIGGER)
        paused = {name: found[name] for name in settings.triggers if name in found}
        waiting = [
            *judged,
            *(judge_pause(PauseKind.TRIGGER, name, one, now) for name, one in paused.items()),
            *unlinked,
            *waiting_rows(
                db, {one.name: one.contacts for one in statuses}, found, settings, now, brief, only=bool(accounts)
            ),
        ]
    findings = [
        *judge_test_mode(settings),
        *(judge_account_state(name, state) for name, state in states.items()),
        *(one for name, state in states.items() for one in judge_contact_list(name, state.contact_list, now)),
        *map(judge_unused_configuration, unused),
        *missing,
        *unread,
        *clocks,
        *rewrite,
        *waiting,
    ]
    return Overview(connections, statuses, unused, notes_on_test_mode(settings), findings, paused)


def judge_unused_configuration(file: UnusedConfiguration) -> Finding:
    """Describe a changed configuration file that the running processes cannot use."""
    return warning(
        FindingCode.CONFIGURATION_MISTAKE,
        "configuration",
        f"{file.place} was changed and cannot be used: {' '.join(file.problem.split())}",
        "running processes keep the configuration that they had; new ones do not start",
        "correct the file; `vtsync check` lists every mistake",
    )


def rejected_records(runtime: Runtime, connections: Sequence[str], limit: int) -> list[Rejected]:
    """Return the rejected records of these connections, oldest first."""
    r = rejected_record.c
    with reading(runtime.engine) as db:
        rows = db.execute(
            select(r.connection, r.key, r.where, r.reason, r.excerpt, r.since)
            .where(r.connection.in_(connections))
            .order_by(r.since, r.id)
            .limit(limit)
        )
        return [Rejected(*row) for row in rows]


def rejected_by_code(db: Connection, connection: str) -> dict[str, int]:
    """Count the rejected records of a connection by what is wrong with them, the most frequent first."""
    r = rejected_record.c
    found = db.execute(select(r.code, func.count()).where(r.connection == connection).group_by(r.code)).all()
    return {str(code): int(count) for code, count in sorted(found, key=lambda row: (-row[1], row[0]))}


def _connection(db: Connection, settings: Settings, state: ConnectionNow) -> ConnectionStatus:
    name = state.name
    configured = settings.connections[name]
    run = db.execute(
        select(sync_run).where(sync_run.c.connection == name).order_by(sync_run.c.id.desc()).limit(1)
    ).first()
    next_run_at = db.scalar(select(connection_state.c.next_run_at).where(connection_state.c.connection == name))
    rejected = db.scalar(select(func.count()).where(rejected_record.c.connection == name)) or 0
    schedule = configured.schedule or "by hand"
    if not configured.enabled:
        schedule = "disabled"
    return ConnectionStatus(
        name,
        configured.adapter,
        schedule,
        "never run" if run is None else run.state,
        None if run is None else run.started_at,
        0 if run is None else run.seen,
        0 if run is None else run.added + run.changed + run.removed,
        rejected,
        next_run_at,
        "" if run is None else run.error,
        state.note,
        [budget.text for budget in state.budgets],
        configured.account,
        state.pause,
    )


def connection_statuses(runtime: Runtime, accounts: Collection[str] = ()) -> list[ConnectionStatus]:
    """Read the state of the connections alone. ``accounts``: only of these; empty: of all."""
    settings = settings_of(runtime.settings, accounts)
    with reading(runtime.engine) as db:
        return [_connection(db, settings, state) for state in read_connections(db, settings, utcnow())]


def _account(db: Connection, name: str, state: AccountNow, now: datetime, brief: bool) -> AccountStatus:
    contacts = _grouped(
        db, select(contact.c.push_state, func.count()).where(contact.c.account == name).group_by(contact.c.push_state)
    )
    by_state = select(message.c.state, func.count()).where(message.c.account == name).group_by(message.c.state)
    messages = {} if brief else _grouped(db, by_state)
    stopped = state.reason if state.stopped else ""
    note = list_note(state.contact_list, now)
    return AccountStatus(name, contacts, messages, stopped, state.paused_until, state.pause_reason, note)


def _grouped(db: Connection, statement: Select[Any]) -> dict[str, int]:
    return {str(row[0]): int(row[1]) for row in db.execute(statement)}


@dataclass(frozen=True, slots=True)
class StuckContact:
    """A contact that is not in sync with VirtualText, and the reason."""

    account: str
    phone: str
    full_name: str
    state: str
    error: str
    attempts: int
    attempted_at: datetime | None
    next_attempt_at: datetime | None
    """When it is tried again. None: a change, a look-up or a person must come first."""
    id: int


def contacts_in(
    runtime: Runtime,
    state: str,
    limit: int,
    *,
    failing: bool = False,
    accounts: Collection[str] = (),
    after: int = 0,
) -> list[StuckContact]:
    """Return the contacts in one push state, in the order of their ids.

    ``failing``: only those whose updates fail again and again. ``accounts``: only of these; empty: of all that are
    configured. ``after``: only those with a larger id.
    """
    c = contact.c
    next_attempt_at = case((c.push_state == PushState.DUE, c.next_attempt_at), else_=None)
    columns = (c.account, c.phone, c.full_name, c.push_state, c.last_error, c.attempts, c.attempted_at)
    with reading(runtime.engine) as db:
        rows = db.execute(
            select(*columns, type_coerce(next_attempt_at, c.next_attempt_at.type), c.id)
            .where(c.account.in_(list(accounts or runtime.settings.accounts)), c.push_state == state, c.id > after)
            .where(*(KEEPS_FAILING if failing else ()))
            .order_by(c.id)
            .limit(limit)
        )
        return [StuckContact(*row) for row in rows]
