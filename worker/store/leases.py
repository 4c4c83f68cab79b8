"""Leases: who works on a row, and until when. Every claim uses this mechanism.

A lease is two columns of a row: the owner and the time at which it ends. A worker takes a lease with a conditional
UPDATE and commits it before it acts. The owner is the fencing token: a result is written only while the row still
carries it. A lease that has ended may be taken by another worker, so a worker that died blocks nobody.

The caller decides which rows are due, in which order, and what an ended lease means: an ended lease on a create means
that its outcome is unknown; an ended lease on an event means that the event is processed again.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, Table, and_, or_, select, update

from worker.core.clock import CLOCK, steady_seconds


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of ``owner`` to work on something until ``until``."""

    owner: str
    until: datetime
    ends_at: float = field(default=math.inf, compare=False)
    """When it ends by this process's steady clock, which nobody sets while the work goes on."""

    def lasts(self, seconds: float) -> bool:
        """Return True if the lease does not end within ``seconds``."""
        return steady_seconds() + seconds <= self.ends_at


def new_lease(now: datetime, seconds: float) -> Lease:
    """Return a lease with a new owner, from ``now`` for ``seconds``. It is held once it is stored in a row."""
    passed = (CLOCK.now() - now).total_seconds()
    return Lease(uuid.uuid4().hex, lease_end(now, seconds), steady_seconds() + seconds - passed)


def lease_end(now: datetime, seconds: float) -> datetime:
    """Return when a lease ends that is taken or renewed at ``now`` for ``seconds``."""
    return CLOCK.lease_start(now) + timedelta(seconds=seconds)


class LeaseColumns:
    """The lease of a table's rows: its columns ``lease_owner`` and ``lease_until``, each after ``prefix``.

    ``owner`` is who holds the row (NULL: nobody), ``until`` is when the lease ends (NULL: there is none).
    """

    __slots__ = ("owner", "table", "until")

    def __init__(self, table: Table, prefix: str = "") -> None:
        self.table = table
        self.owner: Column[Any] = table.c[f"{prefix}lease_owner"]
        self.until: Column[Any] = table.c[f"{prefix}lease_until"]

    def is_free(self, now: datetime) -> ColumnElement[bool]:
        """Return the condition for rows that nobody holds, or whose lease has ended."""
        return or_(self.until.is_(None), self.has_ended(now))

    def has_ended(self, now: datetime) -> ColumnElement[bool]:
        """Return the condition for rows whose lease has ended and was not given back."""
        return self.until <= CLOCK.expiry(now)

    def is_held_by(self, owner: str) -> ColumnElement[bool]:
        """Return the condition for rows that still have this owner."""
        return self.owner == owner

    def held(self, lease: Lease) -> Mapping[str, Any]:
        """Return the columns' values while the lease is held."""
        return {self.owner.name: lease.owner, self.until.name: lease.until}

    @property
    def released(self) -> Mapping[str, Any]:
        """The columns' values once the lease is given back."""
        return {self.owner.name: None, self.until.name: None}

    def take(self, db: Connection, lease: Lease, now: datetime, *where: ColumnElement[bool], **values: Any) -> bool:
        """Take the one row for which ``where`` holds, if it is free, and set ``values``. Return True if it was."""
        taken = update(self.table).where(*where, self.is_free(now)).values(**self.held(lease), **values)
        return db.execute(taken).rowcount == 1

    def take_due(
        self, db: Connection, due: Select[Any], lease: Lease, *returning: ColumnElement[Any], **values: Any
    ) -> Sequence[Row[Any]]:
        """Take the rows whose key ``due`` selects, set ``values``, and return the columns ``returning`` of each.

        Rows that another transaction is taking are skipped (PostgreSQL; SQLite has one writer). ``due`` must ask for
        ``is_free``, where that is a condition, and selects the primary key alone.
        """
        key = next(iter(self.table.primary_key.columns))
        # As a CTE, because PostgreSQL may run a plain subquery with FOR UPDATE LIMIT more than once.
        chosen = due.with_for_update(skip_locked=True).cte("chosen")
        taken = update(self.table).where(key.in_(select(chosen.c[key.name]))).values(**self.held(lease), **values)
        return db.execute(taken.returning(*returning)).all()

    def renew(self, db: Connection, lease: Lease, *where: ColumnElement[bool], **values: Any) -> bool:
        """Hold the row until ``lease.until``, and set ``values``. False: another owner has it."""
        mine = and_(*where, self.is_held_by(lease.owner))
        return db.execute(update(self.table).where(mine).values({self.until.name: lease.until, **values})).rowcount == 1

    def release(self, db: Connection, owner: str, *where: ColumnElement[bool], **values: Any) -> int:
        """Give back the rows that ``owner`` holds and for which ``where`` holds, and set ``values``.

        Returns how many rows that were; fewer than expected where another owner has taken some of them.
        """
        mine = and_(*where, self.is_held_by(owner))
        return db.execute(update(self.table).where(mine).values({**self.released, **values})).rowcount
