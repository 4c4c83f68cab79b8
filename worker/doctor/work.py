"""Finds overdue work: late texts, rows whose worker is gone, late syncs, carriers' lists that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, not_, or_, select

from config.alert_kinds import AlertKind
from config.models import Settings
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.states import DeliveryState, InboxState, MessageKind, MessageState, PauseKind, PushState
from worker.core.text import counted, duration
from worker.store.pauses import is_paused
from worker.store.tables import (
    account_state,
    carrier_state,
    connection_state,
    contact,
    delivery,
    inbox_event,
    message,
)
from worker.work.registry import RECORDS, SENDS

LATE, VERY_LATE = timedelta(minutes=5), timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class OverdueWork:
    """``oldest_due``: when the oldest text that may be sent became due. ``abandoned``: rows whose worker is gone."""

    oldest_due: datetime | None
    abandoned: int
    late_syncs: tuple[str, ...]
    queued: int


def read_work(db: Connection, settings: Settings, now: datetime) -> OverdueWork:
    """Read overdue work from the store."""
    m, s, a = message.c, connection_state.c, account_state.c
    idle = select(a.account).where(or_(a.stopped_at.is_not(None), a.paused_until > now))
    active = set(settings.accounts).difference(db.scalars(idle))
    oldest = (
        kind.oldest_due(db, settings, name, now) for kind in (SENDS, RECORDS) if kind.oldest_due for name in active
    )
    waited = or_(s.waits_until.is_(None), s.waits_until < now - LATE)
    unread = or_(s.lease_until.is_(None), s.lease_until < now - LATE)
    late = select(s.connection).where(
        s.next_run_at < now - LATE,
        waited,
        unread,
        s.connection.in_(_scheduled(settings)),
        not_(is_paused(PauseKind.CONNECTION, s.connection)),
    )
    queued = (m.account.in_(list(settings.accounts)), m.kind.in_(list(MessageKind)), m.state == MessageState.QUEUED)
    return OverdueWork(
        oldest_due=min(filter(None, oldest), default=None),
        abandoned=sum(db.scalar(select(func.count()).where(*rows)) or 0 for rows in _abandoned(settings, now - LATE)),
        late_syncs=tuple(db.scalars(late.order_by(s.connection))),
        queued=db.scalar(select(func.count()).where(*queued)) or 0,
    )


def _scheduled(settings: Settings) -> list[str]:
    return [name for name, one in settings.connections.items() if one.enabled and one.schedule]


def _abandoned(settings: Settings, before: datetime) -> Iterator[tuple[ColumnElement[bool], ...]]:
    """Yield, for each table, the conditions for rows whose lease expired before ``before``."""
    mine = contact.c.account.in_(list(settings.accounts))
    in_request = mine & contact.c.push_state.in_((PushState.CREATING, PushState.UPDATING))
    yield message.c.state == MessageState.DISPATCHING, message.c.lease_until < before
    yield in_request, contact.c.lease_until < before
    yield inbox_event.c.state == InboxState.NEW, inbox_event.c.lease_until < before
    yield delivery.c.state == DeliveryState.SENDING, delivery.c.lease_until < before


def judge_work(work: OverdueWork, now: datetime) -> Iterator[Finding]:
    """Judge whether due work gets done. Pure."""
    late = timedelta(0) if work.oldest_due is None else now - work.oldest_due
    if late > LATE:
        level = problem if late > VERY_LATE else warning
        yield level(
            AlertKind.TEXTS_LATE,
            "work",
            f"the oldest due text has been waiting for {duration(late)}",
            "people get their texts late, or not at all once the texts expire",
            "`vtsync doctor` lists what holds them up, such as a paused account; if nothing does, start more workers",
        )
    if work.abandoned:
        yield problem(
            FindingCode.WORK_ABANDONED,
            "work",
            f"{counted(work.abandoned, 'row')} still claimed by workers that are gone",
            "the tick releases such rows, so no tick is carried out",
            "start `vtsync beat` and a worker",
        )
    for name in work.late_syncs:
        yield warning(
            AlertKind.SYNC_LATE,
            f"connection {name}",
            f"its sync is more than {duration(LATE)} late",
            "changes in the CRM arrive late",
            "look at `vtsync status`; if a sync takes longer than its schedule allows, run it less often",
        )
    if late <= LATE and not (work.abandoned or work.late_syncs):
        yield ok("work", "nothing is late")


def stuck_carriers(db: Connection) -> list[Finding]:
    """Find carriers whose list of sent texts could not be read the last time."""
    rows = db.execute(select(carrier_state.c.name, carrier_state.c.last_error).where(carrier_state.c.last_error != ""))
    return [
        warning(
            FindingCode.CARRIER_LIST_UNREADABLE,
            f"carrier {row.name}",
            f"its list of sent texts cannot be read: {row.last_error}",
            "texts whose event was lost do not appear in VirtualText's conversations",
            f"correct [carriers.{row.name}]; vtsync tries again by itself",
        )
        for row in rows
    ]
