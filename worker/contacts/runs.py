"""The runs of connections as people read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from worker.store.tables import sync_run

RUNS = 30


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a connection."""

    id: int
    state: str
    started_at: datetime
    finished_at: datetime | None
    seen: int
    unchanged: int
    added: int
    changed: int
    removed: int
    rejected: int
    messages: int
    error: str

    @property
    def title(self) -> str:
        """Describe it in a line."""
        return (
            f"{self.started_at:%Y-%m-%d %H:%M} UTC: {self.state},"
            f" {self.seen:,} read, {self.added:,} new, {self.changed:,} changed"
        )


_RUN = [sync_run.c[name] for name in Run.__dataclass_fields__]


def newest_runs(connection: Connection, name: str, limit: int = RUNS, *, before: int | None = None) -> list[Run]:
    """Return the newest runs of a connection, newest first. ``before`` is a run's id: return only older ones."""
    r = sync_run.c
    older = [] if before is None else [r.id < before]
    rows = connection.execute(select(*_RUN).where(r.connection == name, *older).order_by(r.id.desc()).limit(limit))
    return [Run(*row) for row in rows]
