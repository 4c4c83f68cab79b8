"""Lists alerts, and what channels were told of them, for people. It reads what is stored and evaluates nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, func, select

from worker.alerts.decide import next_digest
from worker.alerts.evaluate import DAILY_DIGEST, EVALUATION, EVERY, anybody_listens
from worker.deliveries.targets import CHANNEL, Receiver
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.tables import alert, delivery, maintenance_lock

ENDED, NOTICES = 20, 5
"""How many alerts that ended, and how many notices of each channel, are listed."""

_a = alert.c
_IS_OPEN = (_a.raised_at.is_not(None), _a.ended_at.is_(None))


@dataclass(frozen=True, slots=True)
class ListedAlert:
    """One open alert, as the command line shows it."""

    kind: str
    urgent: bool
    found: str
    remedy: str
    since: datetime
    told_at: datetime | None


@dataclass(frozen=True, slots=True)
class EndedAlert:
    """One alert that has ended. ``end_told_at``: when people were told; None: they knew nothing of it, or wait."""

    kind: str
    found: str
    since: datetime
    ended_at: datetime
    told_at: datetime | None
    end_told_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedNotice:
    """What a channel was told, and with what result."""

    title: str
    at: datetime
    state: str
    attempts: int
    due_at: datetime
    last_error: str


@dataclass(frozen=True, slots=True)
class AlertOverview:
    """Everything about alerts. ``looked_at``: when the fleet last looked for them; None: not yet, or nobody listens."""

    listens: bool
    looked_at: datetime | None
    digest_at: datetime | None
    open: Sequence[ListedAlert]
    ended: Sequence[EndedAlert]
    told: Mapping[str, Sequence[ListedNotice]]
    """The newest notices of each channel."""


def open_alerts(runtime: Runtime) -> list[ListedAlert]:
    """Return the open alerts that count, oldest first."""
    with reading(runtime.engine) as db:
        return _open(db)


def count_open(db: Connection) -> int:
    """Return how many alerts are open and count."""
    return db.scalar(select(func.count()).where(*_IS_OPEN)) or 0


def alert_overview(runtime: Runtime) -> AlertOverview:
    """Read what is open, what ended lately, and what each channel was told."""
    alerts, listens = runtime.settings.alerts, anybody_listens(runtime.settings)
    ended = [_a[name] for name in EndedAlert.__dataclass_fields__]
    was_known = (_a.raised_at.is_not(None), _a.ended_at.is_not(None))
    lock = maintenance_lock.c
    with reading(runtime.engine) as db:
        due = {row.name: row.next_run_at for row in db.execute(select(lock.name, lock.next_run_at))}
        looked, digest = due.get(EVALUATION), due.get(DAILY_DIGEST)
        if alerts.digest is None:
            digest = None
        elif digest is None:
            digest = next_digest(alerts.digest, alerts.time_zone, utcnow())
        return AlertOverview(
            listens,
            None if looked is None or not listens else looked - EVERY,
            digest,
            _open(db),
            [
                EndedAlert(*row)
                for row in db.execute(select(*ended).where(*was_known).order_by(_a.ended_at.desc()).limit(ENDED))
            ],
            {name: _notices(db, name) for name in alerts.channels},
        )


def _open(db: Connection) -> list[ListedAlert]:
    columns = [_a[name] for name in ListedAlert.__dataclass_fields__]
    return [ListedAlert(*row) for row in db.execute(select(*columns).where(*_IS_OPEN).order_by(_a.since, _a.id))]


def _notices(db: Connection, channel: str) -> list[ListedNotice]:
    d = delivery.c
    columns = (d.payload, d.created_at, d.state, d.attempts, d.due_at, d.last_error)
    mine = d.target == str(Receiver(CHANNEL, channel))
    rows = db.execute(select(*columns).where(mine).order_by(d.id.desc()).limit(NOTICES))
    return [ListedNotice(_title(row[0]), *row[1:]) for row in rows]


def _title(payload: str) -> str:
    """Return the title of a notice that is stored so; "" if an older version wrote none."""
    return str(orjson.loads(payload).get("data", {}).get("title", ""))
