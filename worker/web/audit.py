"""The audit trail: who did or read what in the pages and over HTTP, and who paused what. It is only added to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from sqlalchemy import Connection, insert, select

from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import audit_event
from worker.web.callers import caller_address
from worker.web.context import WebContext
from worker.web.keys import Key


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the trail. ``about``: a number, an id, or a name."""

    id: int
    at: datetime
    actor: str
    action: str
    about: str
    detail: str
    address: str


def note(
    connection: Connection,
    actor: str,
    action: str,
    *,
    now: datetime,
    about: str = "",
    detail: str = "",
    address: str = "",
) -> None:
    """Add a line."""
    row = {"at": now, "actor": actor[:80], "action": action, "about": about[:200], "detail": detail, "address": address}
    connection.execute(insert(audit_event).values(**row))


def note_request(
    context: WebContext, request: Request, key: Key, action: str, *, about: str = "", detail: str = ""
) -> None:
    """Add the line of a request with an API key."""
    with writing(context.runtime.engine) as connection:
        address = address_of(context, request)
        note(connection, key.actor, action, now=utcnow(), about=about, detail=detail, address=address)


def address_of(context: WebContext, request: Request) -> str:
    """Return the caller's address as the trail has it."""
    return caller_address(request.scope, context.runtime.settings.web.trusted_proxies)


def entries(
    connection: Connection, *, actor: str = "", action: str = "", about: str = "", before: int | None = None, limit: int
) -> list[AuditEntry]:
    """Return the newest lines that match everything given."""
    a = audit_event.c
    chosen = select(audit_event).order_by(a.id.desc()).limit(limit)
    for column, value in ((a.actor, actor), (a.action, action), (a.about, about)):
        if value:
            chosen = chosen.where(column == value)
    if before is not None:
        chosen = chosen.where(a.id < before)
    rows = connection.execute(chosen)
    return [AuditEntry(row.id, row.at, row.actor, row.action, row.about, row.detail, row.address) for row in rows]
