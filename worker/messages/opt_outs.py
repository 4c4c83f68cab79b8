"""Numbers that must not be texted, whichever account asks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select

from worker.store.sql import any_of, insert
from worker.store.tables import opt_out


@dataclass(frozen=True, slots=True)
class OptedOut:
    """Since when, and who said so (``virtualtext``, ``relay``, ``crm``, ``cli``)."""

    since: datetime
    source: str
    detail: str = ""


def add_opt_out(connection: Connection, phone: str, *, source: str, detail: str, now: datetime) -> bool:
    """Text ``phone`` (E.164) no more; what waits for it is suppressed in its turn. False: known already."""
    statement = insert(connection, opt_out).values(phone=phone, since=now, source=source, detail=detail)
    added = connection.execute(statement.on_conflict_do_nothing().returning(opt_out.c.phone))
    return added.first() is not None


def remove_opt_out(connection: Connection, phone: str) -> bool:
    """``phone`` may be texted again. What was suppressed stays so."""
    return connection.execute(delete(opt_out).where(opt_out.c.phone == phone)).rowcount == 1


def opted_out(connection: Connection, phones: Collection[str]) -> dict[str, OptedOut]:
    """Those of ``phones`` that have opted out."""
    rows = connection.execute(select(opt_out).where(any_of(connection, opt_out.c.phone, phones)))
    return {row.phone: OptedOut(row.since, row.source, row.detail) for row in rows}
