"""Lists the alerts that are open, for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.tables import alert


@dataclass(frozen=True, slots=True)
class ListedAlert:
    """One open alert, as the command line shows it."""

    kind: str
    urgent: bool
    found: str
    remedy: str
    since: datetime
    told_at: datetime | None


def open_alerts(runtime: Runtime) -> list[ListedAlert]:
    """Return the open alerts that count, oldest first."""
    columns = [alert.c[name] for name in ListedAlert.__dataclass_fields__]
    chosen = select(*columns).where(alert.c.raised_at.is_not(None), alert.c.ended_at.is_(None))
    with reading(runtime.engine) as db:
        return [ListedAlert(*row) for row in db.execute(chosen.order_by(alert.c.since, alert.c.id))]
