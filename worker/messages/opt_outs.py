"""Numbers that must not be texted, whichever account asks, and the proof of who said so when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy import insert as plain_insert

from worker.messages.events import EventType, announce
from worker.policy.decide import OptedOut
from worker.store.sql import any_of, insert
from worker.store.tables import number_review, opt_out, opt_out_event


def add_opt_out(
    connection: Connection,
    phone: str,
    *,
    source: str,
    detail: str,
    now: datetime,
    actor: str = "worker",
    account: str = "",
) -> bool:
    """Text ``phone`` (E.164) no more; what waits for it is suppressed in its turn. False: known already.

    ``account`` is the one through which it became known, "" where that is none.
    """
    statement = insert(connection, opt_out).values(phone=phone, since=now, source=source, detail=detail)
    added = connection.execute(statement.on_conflict_do_nothing().returning(opt_out.c.phone)).first() is not None
    if added:
        _keep(connection, phone, True, source=source, detail=detail, now=now, actor=actor, account=account)
    return added


def remove_opt_out(
    connection: Connection,
    phone: str,
    *,
    source: str,
    detail: str,
    now: datetime,
    actor: str = "worker",
    account: str = "",
) -> bool:
    """``phone`` may be texted again. What was suppressed stays so. False: it had not opted out."""
    removed = connection.execute(delete(opt_out).where(opt_out.c.phone == phone)).rowcount == 1
    if removed:
        _keep(connection, phone, False, source=source, detail=detail, now=now, actor=actor, account=account)
    return removed


def opted_out(connection: Connection, phones: Collection[str]) -> dict[str, OptedOut]:
    """Those of ``phones`` that have opted out."""
    rows = connection.execute(select(opt_out).where(any_of(connection, opt_out.c.phone, phones)))
    return {row.phone: OptedOut(row.since, row.source, row.detail) for row in rows}


def newest_opt_outs(connection: Connection, limit: int) -> list[tuple[str, OptedOut]]:
    """The numbers that opted out last, with when and how."""
    rows = connection.execute(select(opt_out).order_by(opt_out.c.since.desc(), opt_out.c.phone).limit(limit))
    return [(row.phone, OptedOut(row.since, row.source, row.detail)) for row in rows]


@dataclass(frozen=True, slots=True)
class Review:
    """A number whose owner may have asked to be left alone. ``excerpt`` is what they wrote."""

    phone: str
    since: datetime
    excerpt: str


def open_reviews(connection: Connection) -> list[Review]:
    """The numbers that wait for a person's decision, oldest first."""
    rows = connection.execute(select(number_review).order_by(number_review.c.since, number_review.c.phone))
    return [Review(row.phone, row.since, row.excerpt) for row in rows]


def _keep(
    connection: Connection, phone: str, out: bool, *, source: str, detail: str, now: datetime, actor: str, account: str
) -> None:
    row = {
        "phone": phone,
        "at": now,
        "opted_out": out,
        "source": source,
        "detail": detail,
        "actor": actor[:80],
    }
    connection.execute(plain_insert(opt_out_event), row)
    announce(
        connection,
        EventType.CONTACT_OPTED_OUT if out else EventType.CONTACT_OPTED_IN,
        account=account,
        phone=phone,
        now=now,
        data={"source": source, "detail": detail},
    )
