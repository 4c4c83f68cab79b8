"""Connections as the store knows them: paused, stopped, waiting, without a credential. No CRM is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from config.alert_kinds import AlertKind
from config.models import Settings
from worker.contacts.budgets import BudgetState, budget_states
from worker.contacts.consent import needs_consent
from worker.contacts.grants import GrantState, grant_states
from worker.contacts.pull_rows import live_count
from worker.contacts.services import connection_limits
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.states import PauseKind, RunState
from worker.doctor.pauses import judge_pause
from worker.store.pauses import Pause, all_pauses
from worker.store.tables import connection_state, rejected_record, sync_run

NOT_SYNCED = "changes in this CRM do not arrive"
_FAILURES = {RunState.FAILED: "failed", RunState.REFUSED: "was refused"}
_ALERTS = {"failed": AlertKind.SYNC_FAILED, "was refused": AlertKind.SYNC_REFUSED}
NEW_REJECTS = timedelta(days=1)
FEWEST_REJECTS, REJECT_SHARE = 5, 0.05
"""Many records were rejected in a day: at least this many, and at least this share of the connection's records."""


@dataclass(frozen=True, slots=True)
class ConnectionNow:
    """The stored state of a connection. ``needs_consent``: its credential comes from `vtsync connect`."""

    name: str
    stopped: str = ""
    """Why it is stopped; "" if it is not."""
    waits_until: datetime | None = None
    waits_reason: str = ""
    needs_consent: bool = False
    grant: GrantState | None = None
    budgets: Sequence[BudgetState] = ()
    failure: str = ""
    """What became of its last run, if that was not completed: "failed", "was refused"; "" if it was."""
    error: str = ""
    """Why the last run failed or was refused."""
    rejected_lately: int = 0
    """How many of its records were rejected within ``NEW_REJECTS`` and still are."""
    records: int = 0
    """How many records it has, apart from rejected ones; 0 if none were rejected lately."""
    since: datetime | None = None
    """When it was stopped, or when its last run ended, if that was not completed."""
    pause: Pause | None = None
    """The pause that keeps it from being read; None: it is not paused."""

    @property
    def note(self) -> str:
        """Why no run starts at the moment, for a person; "" if one may."""
        if self.pause is not None:
            return f"is {self.pause}; `vtsync resume connection {self.name}` lets it be read again"
        if self.stopped:
            return f"is stopped: {self.stopped}"
        if self.waits_until is None:
            return ""
        return f"waits until {self.waits_until:%Y-%m-%d %H:%M} UTC: {self.waits_reason}"


def read_connections(db: Connection, settings: Settings, now: datetime) -> list[ConnectionNow]:
    """Return the state of every configured connection."""
    rows = {row.connection: row for row in db.execute(select(connection_state))}
    grants = {state.connection: state for state in grant_states(db, now)}
    failures = _failures(db)
    lately = _rejected_lately(db, now)
    pauses = all_pauses(db, PauseKind.CONNECTION)
    found = []
    for name in settings.connections:
        row = rows.get(name)
        waits = row.waits_until if row is not None and row.waits_until is not None and row.waits_until > now else None
        stopped = row.stopped_reason if row is not None and row.stopped_at is not None else ""
        budgets = budget_states(db, name, connection_limits(settings, name), now)
        reason = row.waits_reason if row is not None and waits is not None else ""
        consent = needs_consent(settings, name)
        failure, error, failed_at = failures.get(name, ("", "", None))
        rejected = lately.get(name, 0)
        records = live_count(db, name) if rejected else 0
        found.append(
            ConnectionNow(
                *(name, stopped, waits, reason, consent, grants.get(name), budgets, failure, error, rejected, records),
                since=row.stopped_at if row is not None and stopped else failed_at,
                pause=pauses.get(name),
            )
        )
    return found


def _rejected_lately(db: Connection, now: datetime) -> dict[str, int]:
    r = rejected_record.c
    counts = select(r.connection, func.count()).where(r.since > now - NEW_REJECTS).group_by(r.connection)
    return {str(row[0]): int(row[1]) for row in db.execute(counts)}


def _failures(db: Connection) -> dict[str, tuple[str, str, datetime | None]]:
    """Return what became of the last run, why, and when it ended, for each connection whose last run failed or was
    refused.
    """
    newest = select(func.max(sync_run.c.id)).group_by(sync_run.c.connection)
    rows = db.execute(select(sync_run).where(sync_run.c.id.in_(newest), sync_run.c.state.in_(_FAILURES)))
    return {row.connection: (_FAILURES[row.state], row.error, row.finished_at) for row in rows}


def check_connections(
    db: Connection, settings: Settings, now: datetime, connections: Sequence[ConnectionNow] | None = None
) -> Iterator[Finding]:
    """Judge every connection by its stored state, and find credentials that nothing uses.

    ``connections``: what ``read_connections`` returned, if it was called before.
    """
    for connection in read_connections(db, settings, now) if connections is None else connections:
        yield from judge_connection_now(connection, now)
    for state in grant_states(db, now):
        if state.connection not in settings.connections:
            yield judge_unused_grant(state)


def judge_connection_now(connection: ConnectionNow, now: datetime) -> Iterator[Finding]:
    """Judge a connection by its pause, or by its stored state. What is wrong besides shows after the pause. Pure."""
    if connection.pause is not None:
        yield judge_pause(PauseKind.CONNECTION, connection.name, connection.pause, now)
    else:
        yield from judge_connection(connection)


def judge_connection(connection: ConnectionNow) -> Iterator[Finding]:
    """Judge a connection that is not paused by its stored state. Pure."""
    what, connect = f"connection {connection.name}", f"vtsync connect {connection.name}"
    grant = connection.grant
    if connection.needs_consent and grant is None:
        yield problem(
            FindingCode.CREDENTIAL_MISSING,
            what,
            "has no credential yet",
            NOT_SYNCED,
            f"run `{connect}`",
            command=connect,
        )
    elif connection.stopped:
        yield problem(
            AlertKind.CONNECTION_STOPPED,
            what,
            f"is stopped: {connection.stopped}",
            NOT_SYNCED,
            f"run `{connect}`" if connection.needs_consent else "correct the credential, then run `vtsync check`",
            command=connect if connection.needs_consent else "vtsync check",
            since=connection.since,
        )
    elif connection.failure and not connection.note:
        yield warning(
            _ALERTS[connection.failure],
            what,
            f"its last sync {connection.failure}: {connection.error}",
            NOT_SYNCED,
            f"do what it says; `vtsync sync {connection.name}` tries again at once",
            command=f"vtsync sync {connection.name}",
            since=connection.since,
        )
    else:
        yield ok(what, connection.note or "may be read")
    for budget in connection.budgets:
        if budget.used >= budget.amount:
            yield warning(
                AlertKind.BUDGET_USED_UP,
                what,
                f"{budget.text}; it is full again at {budget.full_again_at:%Y-%m-%d %H:%M} UTC",
                "no sync reads this CRM until then",
                "wait, run it less often, or ask the CRM's vendor for more calls",
            )
    if connection.rejected_lately:
        yield from judge_rejects(what, connection.rejected_lately, connection.records)
    if connection.needs_consent and grant is not None and grant.unfinished_since is not None:
        yield warning(
            FindingCode.CREDENTIAL_UNCERTAIN,
            what,
            f"its credential may be used up: a renewal began at {grant.unfinished_since:%Y-%m-%d %H:%M} UTC and its"
            " result was not stored, because the process ended or the CRM did not answer",
            "many CRMs accept an old credential only once; if this one does, the connection will stop",
            f"wait for the next sync, which tries the old one once more, or run `{connect}` now",
            command=connect,
        )


def judge_rejects(what: str, rejected: int, records: int) -> Iterator[Finding]:
    """Judge whether many more records than before cannot be used. Pure."""
    if rejected >= FEWEST_REJECTS and rejected >= REJECT_SHARE * (records + rejected):
        yield warning(
            AlertKind.REJECTS_UP,
            what,
            f"{rejected:,} of its {records + rejected:,} records were rejected within a day",
            "these people are not in VirtualText, and get no texts",
            "a field may have been renamed, or an import may have gone wrong",
            command="vtsync status --rejected",
        )


def judge_unused_grant(state: GrantState) -> Finding:
    """Report the credential of a connection that is not configured. Pure."""
    disconnect = f"vtsync disconnect {state.connection}"
    return warning(
        FindingCode.CREDENTIAL_UNUSED,
        f"connection {state.connection}",
        "is not configured, but its credential is still stored",
        "whoever has the store and the key can use it",
        f"run `{disconnect}`, and remove the app in the CRM",
        command=disconnect,
    )


def describe_webhook(settings: Settings, name: str) -> Iterator[Finding]:
    """Say which URL to enter in the CRM, if it may report changes. Pure."""
    if settings.connections[name].webhook_secret is None:
        return
    public = settings.web.public_url
    url = f"{(public or '').rstrip('/')}/crm/{name}/SECRET"
    hint = "" if public is not None else "; set web.public_url to see the whole URL"
    found = f"the CRM reports changes at {url}, with webhook_secret in place of SECRET{hint}"
    yield ok(f"events of connection {name}", found)
