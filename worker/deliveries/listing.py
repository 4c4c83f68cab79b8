"""Lists deliveries for people, and repeats those that were given up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select, update

from worker.core.states import DeliveryState
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import delivery


@dataclass(frozen=True, slots=True)
class ListedDelivery:
    """One delivery, as the command line shows it."""

    id: int
    target: str
    type: str
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime
    last_error: str


def find_deliveries(
    runtime: Runtime, *, state: str | None = None, target: str | None = None, limit: int = 50
) -> list[ListedDelivery]:
    """Return the newest deliveries with this state and target. ``target`` may end in ``*``."""
    columns = [delivery.c[name] for name in ListedDelivery.__dataclass_fields__]
    statement = select(*columns).where(*_fits(state, target)).order_by(delivery.c.id.desc()).limit(limit)
    with reading(runtime.engine) as connection:
        return [ListedDelivery(*row) for row in connection.execute(statement)]


def retry_deliveries(
    runtime: Runtime, *, ids: Collection[int] = (), target: str | None = None, failed_only: bool = False
) -> int:
    """Repeat deliveries now that were given up or wait for their next attempt. Their schedule starts again.

    With ``failed_only``, waiting deliveries are left alone. Return how many are repeated.
    """
    states = [DeliveryState.FAILED] if failed_only else [DeliveryState.FAILED, DeliveryState.DUE]
    chosen = [delivery.c.id.in_(ids)] if ids else []
    again = (
        update(delivery)
        .where(delivery.c.state.in_(states), *_fits(None, target), *chosen)
        .values(state=DeliveryState.DUE, due_at=utcnow(), attempts=0)
    )
    with writing(runtime.engine) as connection:
        return connection.execute(again).rowcount


def _fits(state: str | None, target: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [] if state is None else [delivery.c.state == state]
    if target is not None and target.endswith("*"):
        conditions.append(delivery.c.target.startswith(target[:-1], autoescape=True))
    elif target is not None:
        conditions.append(delivery.c.target == target)
    return conditions
