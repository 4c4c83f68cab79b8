"""Compares what is wrong with what people know, and commits the alerts and their notices in one transaction.

One process of the fleet does it each minute: a worker, woken by the tick, or `vtsync web`, which also notices when no
tick comes. A notice is a delivery like any other: it is sent again until it is accepted or given up, and a process that
is killed between the commit and the delivery loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

import structlog
from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from config.event_types import EventType
from config.models import Settings
from worker.alerts.decide import Changes, Known, Seen, alerts_of, decide, next_digest, wants
from worker.alerts.sources import SOURCES
from worker.core.findings import Finding
from worker.core.states import DeliveryState
from worker.deliveries.notices import DIGEST, NOTICE, NotedAlert, Notice
from worker.deliveries.targets import ALERTS, CHANNEL, Receiver
from worker.messages.events import publish
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, reading, writing
from worker.store.ids import new_message_id
from worker.store.leases import Lease, LeaseColumns, lease_end, new_lease
from worker.store.models import utcnow
from worker.store.sql import any_of
from worker.store.sql import insert as upsert
from worker.store.tables import alert, delivery, maintenance_lock

EVERY = timedelta(seconds=55)
LEASE_SECONDS = 300.0
DIGEST_DAY = timedelta(days=1)

EVALUATION, DAILY_DIGEST = "alerts", "alert digest"
"""The rows of ``maintenance_lock``, whose ``next_run_at`` says when each is due."""
_lock, _a = maintenance_lock.c, alert.c
_lease = LeaseColumns(maintenance_lock)

log = structlog.get_logger(__name__)


def anybody_listens(settings: Settings) -> bool:
    """Return whether a channel or a subscriber wants alerts."""
    patterns = [pattern for one in settings.subscribers.values() if not one.accounts for pattern in one.events]
    return bool(settings.alerts.channels) or any(fnmatchcase(kind, one) for kind in ALERTS for one in patterns)


def is_due(runtime: Runtime, now: datetime) -> bool:
    """Return whether it is time to evaluate, and no process does."""
    if not anybody_listens(runtime.settings):
        return False
    waits = or_(_lock.next_run_at > now, and_(_lock.lease_until.is_not(None), ~_lease.has_ended(now)))
    with reading(runtime.engine) as db:
        return db.scalar(select(_lock.name).where(_lock.name == EVALUATION, waits)) is None


def evaluate(
    runtime: Runtime, now: datetime, sources: Sequence[Callable[[Runtime], Iterable[Finding]]] = SOURCES
) -> bool:
    """Evaluate if it is due. Return whether there are notices or events to deliver."""
    if not anybody_listens(runtime.settings):
        return False
    lease = new_lease(utcnow(), LEASE_SECONDS)
    due = or_(_lock.next_run_at.is_(None), _lock.next_run_at <= now)
    with writing(runtime.engine) as db:
        for name in (EVALUATION, DAILY_DIGEST):
            db.execute(upsert(db, maintenance_lock).values(name=name).on_conflict_do_nothing())
        if not _lease.take(db, lease, utcnow(), _lock.name == EVALUATION, due):
            return False
    try:
        seen, complete = _look(runtime, sources)
        with writing(runtime.engine) as db:
            still_mine = Lease(lease.owner, lease_end(utcnow(), LEASE_SECONDS))
            if not _lease.renew(db, still_mine, _lock.name == EVALUATION):
                return False  # this process was held up, and another one does it
            return _store(db, runtime.settings, seen, now, complete=complete)
    finally:
        with writing(runtime.engine) as db:
            _lease.release(db, lease.owner, _lock.name == EVALUATION, next_run_at=now + EVERY)


def _look(
    runtime: Runtime, sources: Sequence[Callable[[Runtime], Iterable[Finding]]]
) -> tuple[Mapping[str, Seen], bool]:
    """Return what is wrong, and whether every source could be read: one that fails does not hide the others."""
    findings: list[Finding] = []
    complete = True
    for source in sources:
        try:
            findings += source(runtime)
        except STORE_AWAY:
            raise
        except Exception:
            complete = False
            log.exception("alerts: a check failed; the others continue", check=source.__name__)
    return alerts_of(findings), complete


def _store(db: Connection, settings: Settings, seen: Mapping[str, Seen], now: datetime, *, complete: bool) -> bool:
    _note_seen(db, seen, now)
    changes = decide(seen, _known(db), settings.alerts, now, complete=complete)
    _keep(db, changes, now)
    for type_, group in ((EventType.ALERT_RAISED, changes.raised), (EventType.ALERT_ENDED, changes.ended)):
        for one in group:
            noted = _noted(one, now if type_ is EventType.ALERT_ENDED else None)
            data = {name: getattr(noted, name) for name in NotedAlert.__slots__}
            publish(db, type_, account="", phone="", now=now, data=data)
    over = [replace(one, ended_at=one.ended_at or now, urgent=one.told_urgent) for one in changes.over]
    told = _send(db, settings, Notice(NOTICE, now, *map(_all_noted, (changes.began, changes.lasts, over))), now)
    digest = _send_digest(db, settings, now)
    return bool(told or digest or changes.raised or changes.ended)


def _known(db: Connection) -> list[Known]:
    """Return the alerts that are open, and those whose end people were not told of."""
    columns = [_a[name] for name in Known.__dataclass_fields__]
    untold = and_(_a.told_at.is_not(None), _a.end_told_at.is_(None))
    return [
        Known(*row) for row in db.execute(select(*columns).where(or_(_a.ended_at.is_(None), untold)).order_by(_a.id))
    ]


def _note_seen(db: Connection, seen: Mapping[str, Seen], now: datetime) -> None:
    """Update the alerts whose finding is there, and add those that begin."""
    still_open = set(db.scalars(select(_a.key).where(_a.ended_at.is_(None))))
    for one in seen.values():
        values = {"seen_at": now, "urgent": one.urgent, "found": one.found, "remedy": one.remedy}
        if one.key in still_open:
            db.execute(update(alert).where(_a.key == one.key, _a.ended_at.is_(None)).values(values))
        else:
            db.execute(insert(alert).values(key=one.key, kind=one.kind, since=now, told_urgent=False, **values))


def _keep(db: Connection, changes: Changes, now: datetime) -> None:
    def rows(group: Sequence[Known]) -> Sequence[int]:
        return [one.id for one in group]

    db.execute(update(alert).where(any_of(db, _a.id, rows(changes.raised))).values(raised_at=now))
    told = [*rows(changes.began), *rows(changes.lasts)]
    db.execute(update(alert).where(any_of(db, _a.id, told)).values(told_at=now, told_urgent=_a.urgent))
    db.execute(update(alert).where(any_of(db, _a.id, rows(changes.ended))).values(ended_at=now))
    db.execute(update(alert).where(any_of(db, _a.id, rows(changes.over))).values(end_told_at=now))
    db.execute(delete(alert).where(any_of(db, _a.id, rows(changes.passed))))


def _send_digest(db: Connection, settings: Settings, now: datetime) -> bool:
    """Send the digest if its time has come: what is open, and what ended since the day before."""
    if settings.alerts.digest is None:
        return False
    following = next_digest(settings.alerts.digest, settings.alerts.time_zone, now)
    at = db.scalar(select(_lock.next_run_at).where(_lock.name == DAILY_DIGEST))
    is_now = at is not None and at <= now
    if at is None or is_now or at > following:  # the last: the configured time was changed
        db.execute(update(maintenance_lock).where(_lock.name == DAILY_DIGEST).values(next_run_at=following))
    if not is_now:
        return False
    columns = [_a[name] for name in Known.__dataclass_fields__]
    which = and_(_a.raised_at.is_not(None), or_(_a.ended_at.is_(None), _a.ended_at > now - DIGEST_DAY))
    known = [Known(*row) for row in db.execute(select(*columns).where(which).order_by(_a.since, _a.id))]
    lasts = [one for one in known if one.ended_at is None]
    ended = [one for one in known if one.ended_at is not None]
    return _send(db, settings, Notice(DIGEST, now, (), _all_noted(lasts), _all_noted(ended)), now)


def _send(db: Connection, settings: Settings, notice: Notice, now: datetime) -> bool:
    """Commit one delivery for each channel that wants some of the notice."""
    rows = []
    for name, channel in settings.alerts.channels.items():
        if notice.type == DIGEST and (channel.urgent_only or not channel.digest):
            continue
        began, lasts, ended = (
            [one for one in group if wants(channel, one.kind, urgent=one.urgent)]
            for group in (notice.began, notice.lasts, notice.ended)
        )
        if began or lasts or ended:
            own = replace(notice, began=began, lasts=lasts, ended=ended)
            rows.append(
                {
                    **{"event_id": new_message_id(), "target": str(Receiver(CHANNEL, name)), "url": None},
                    **{"type": notice.type, "payload": own.as_payload(), "created_at": now},
                    **{"state": DeliveryState.DUE, "due_at": now, "attempts": 0, "last_error": ""},
                }
            )
    if rows:
        db.execute(insert(delivery), rows)
    return bool(rows)


def _all_noted(group: Iterable[Known]) -> list[NotedAlert]:
    return [_noted(one, one.ended_at) for one in group]


def _noted(one: Known, ended_at: datetime | None) -> NotedAlert:
    ended = None if ended_at is None else ended_at.isoformat()
    return NotedAlert(one.kind, one.urgent, one.found, one.remedy, one.since.isoformat(), ended)
