"""The budgets of CRMs: limits over an hour or longer, counted in the store for all workers together.

A budget is full again when its window ends. The window begins with the first call after the previous one ended. A CRM
may begin its own day at another time: if it refuses calls earlier, its answer decides (``SourceUnavailable``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, case, or_, select, update

from config.types import readable_duration
from crm_adapters.base import Limit, SourceUnavailable
from worker.store.sql import insert
from worker.store.tables import crm_budget

b = crm_budget.c


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How much of a budget is used. ``full_again_at`` is when its window ends."""

    name: str
    amount: int
    per: timedelta
    used: int
    full_again_at: datetime

    @property
    def text(self) -> str:
        """Describe it in a few words."""
        of = f" of {self.name}" if self.name else ""
        return f"{self.used:,} of {self.amount:,} calls{of} in {readable_duration(self.per)} are used"


def spend(db: Connection, connection: str, limits: Sequence[Limit], cost: int, now: datetime) -> None:
    """Take ``cost`` units from each budget, or raise SourceUnavailable until the one that is spent is full again.

    Roll the transaction back if it raises.
    """
    for limit in limits:
        if not _take(db, connection, limit, limit.units(cost), now):
            row = {"connection": connection, "name": _key(limit), "since": now, "used": 0}
            db.execute(insert(db, crm_budget).on_conflict_do_nothing(index_elements=["connection", "name"]), row)
            if not _take(db, connection, limit, limit.units(cost), now):
                raise _spent(db, connection, limit, now)


def budget_states(db: Connection, connection: str, limits: Sequence[Limit], now: datetime) -> list[BudgetState]:
    """Return the budgets of a connection whose windows have not ended."""
    known = {row.name: row for row in db.execute(select(crm_budget).where(b.connection == connection))}
    found = ((limit, known.get(_key(limit))) for limit in limits if limit.is_budget)
    return [
        BudgetState(limit.name, limit.amount, limit.per, row.used, row.since + limit.per)
        for limit, row in found
        if row is not None and row.since + limit.per > now
    ]


def _take(db: Connection, connection: str, limit: Limit, cost: int, now: datetime) -> bool:
    ended = b.since <= now - limit.per
    room = or_(ended, b.used + cost <= limit.amount)
    taken = (
        update(crm_budget)
        .where(b.connection == connection, b.name == _key(limit), room)
        .values(used=case((ended, cost), else_=b.used + cost), since=case((ended, now), else_=b.since))
    )
    return db.execute(taken).rowcount == 1


def _spent(db: Connection, connection: str, limit: Limit, now: datetime) -> SourceUnavailable:
    this = and_(b.connection == connection, b.name == _key(limit))
    since, used = db.execute(select(b.since, b.used).where(this)).one()
    state = BudgetState(limit.name, limit.amount, limit.per, used, since + limit.per)
    return SourceUnavailable(
        f'the budget of connection "{connection}" is spent: {state.text}; it is full again at'
        f" {state.full_again_at:%Y-%m-%d %H:%M} UTC, and the sync continues then",
        retry_after=max((state.full_again_at - now).total_seconds(), 1.0),
    )


def _key(limit: Limit) -> str:
    return f"{limit.name}/{limit.per.total_seconds():.0f}"
