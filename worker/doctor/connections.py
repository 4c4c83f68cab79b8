"""Connections as the store knows them: stopped, waiting, without a credential. No CRM is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from config.models import Settings
from worker.contacts.budgets import BudgetState, budget_states
from worker.contacts.consent import needs_consent
from worker.contacts.grants import GrantState, grant_states
from worker.contacts.services import connection_limits
from worker.core.findings import Finding, ok, problem, warning
from worker.store.tables import connection_state

NOT_SYNCED = "changes in this CRM do not arrive"


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

    @property
    def note(self) -> str:
        """Why no run starts at the moment, for a person; "" if one may."""
        if self.stopped:
            return f"is stopped: {self.stopped}"
        if self.waits_until is None:
            return ""
        return f"waits until {self.waits_until:%Y-%m-%d %H:%M} UTC: {self.waits_reason}"


def read_connections(db: Connection, settings: Settings, now: datetime) -> list[ConnectionNow]:
    """Return the state of every configured connection."""
    rows = {row.connection: row for row in db.execute(select(connection_state))}
    grants = {state.connection: state for state in grant_states(db, now)}
    found = []
    for name in settings.connections:
        row = rows.get(name)
        waits = row.waits_until if row is not None and row.waits_until is not None and row.waits_until > now else None
        stopped = row.stopped_reason if row is not None and row.stopped_at is not None else ""
        budgets = budget_states(db, name, connection_limits(settings, name), now)
        reason = row.waits_reason if row is not None and waits is not None else ""
        consent = needs_consent(settings, name)
        found.append(ConnectionNow(name, stopped, waits, reason, consent, grants.get(name), budgets))
    return found


def check_connections(db: Connection, settings: Settings, now: datetime) -> Iterator[Finding]:
    """Judge every connection by its stored state, and find credentials that nothing uses."""
    for connection in read_connections(db, settings, now):
        yield from judge_connection(connection)
    for state in grant_states(db, now):
        if state.connection not in settings.connections:
            yield judge_unused_grant(state)


def judge_connection(connection: ConnectionNow) -> Iterator[Finding]:
    """Judge a connection by its stored state. Pure."""
    what, connect = f"connection {connection.name}", f"vtsync connect {connection.name}"
    grant = connection.grant
    if connection.needs_consent and grant is None:
        yield problem(what, "has no credential yet", NOT_SYNCED, f"run `{connect}`", command=connect)
    elif connection.stopped:
        yield problem(
            what,
            f"is stopped: {connection.stopped}",
            NOT_SYNCED,
            f"run `{connect}`" if connection.needs_consent else "correct the credential, then run `vtsync check`",
            command=connect if connection.needs_consent else "vtsync check",
        )
    else:
        yield ok(what, connection.note or "may be read")
    if connection.needs_consent and grant is not None and grant.unfinished_since is not None:
        yield warning(
            what,
            f"its credential may be used up: a renewal began at {grant.unfinished_since:%Y-%m-%d %H:%M} UTC and its"
            " result was not stored, because the process ended or the CRM did not answer",
            "many CRMs accept an old credential only once; if this one does, the connection will stop",
            f"wait for the next sync, which tries the old one once more, or run `{connect}` now",
            command=connect,
        )


def judge_unused_grant(state: GrantState) -> Finding:
    """Report the credential of a connection that is not configured. Pure."""
    disconnect = f"vtsync disconnect {state.connection}"
    return warning(
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
