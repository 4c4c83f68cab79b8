"""Lists deliveries for people, and repeats those that were given up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, update

from config.models import Settings
from worker.core.shown import require_as_shown
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


REPEATED = (DeliveryState.FAILED, DeliveryState.DUE)
"""The states in which a delivery can be repeated."""


def receivers_of(settings: Settings, accounts: Collection[str]) -> list[str]:
    """Return the receivers that get only events of these accounts: their CRM connections, and subscribers of theirs.

    Who gets a callback belongs to no account.
    """
    connections = [f"crm:{name}" for name, one in settings.connections.items() if one.account in accounts]
    own = (name for name, one in settings.subscribers.items() if one.accounts and set(one.accounts) <= set(accounts))
    return [*connections, *(f"subscriber:{name}" for name in own)]


def find_deliveries(
    runtime: Runtime,
    *,
    ids: Collection[int] | None = None,
    state: str | None = None,
    target: str | None = None,
    receivers: Collection[str] | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[ListedDelivery]:
    """Return the newest deliveries with this state and target. ``target`` may end in ``*``.

    ``receivers``: only to these (see ``receivers_of``). ``before`` is an id: return only older ones.
    """
    columns = [delivery.c[name] for name in ListedDelivery.__dataclass_fields__]
    where = [*_fits(state, target), *_to(receivers)]
    if ids is not None:
        where.append(delivery.c.id.in_(ids))
    if before is not None:
        where.append(delivery.c.id < before)
    statement = select(*columns).where(*where).order_by(delivery.c.id.desc()).limit(limit)
    with reading(runtime.engine) as connection:
        return [ListedDelivery(*row) for row in connection.execute(statement)]


def count_deliveries(
    runtime: Runtime, *, target: str | None = None, receivers: Collection[str] | None = None
) -> dict[str, int]:
    """Count the deliveries that can be repeated, by state."""
    where = (delivery.c.state.in_(REPEATED), *_fits(None, target), *_to(receivers))
    counts = select(delivery.c.state, func.count()).where(*where).group_by(delivery.c.state)
    with reading(runtime.engine) as connection:
        found = {str(state): int(count) for state, count in connection.execute(counts)}
    return {str(state): found.get(state, 0) for state in REPEATED}


def retry_deliveries(
    runtime: Runtime,
    *,
    ids: Collection[int] = (),
    target: str | None = None,
    failed_only: bool = False,
    receivers: Collection[str] | None = None,
    shown: int | None = None,
) -> int:
    """Repeat deliveries now that were given up or wait for their next attempt. Their schedule starts again.

    With ``failed_only``, waiting deliveries are left alone. ``receivers``: only to these. ``shown``: how many the
    person was shown; where more match, none is repeated. Return how many are repeated. Raises NotAsShown.
    """
    states = [DeliveryState.FAILED] if failed_only else REPEATED
    chosen = [delivery.c.id.in_(ids)] if ids else []
    again = (
        update(delivery)
        .where(delivery.c.state.in_(states), *_fits(None, target), *_to(receivers), *chosen)
        .values(state=DeliveryState.DUE, due_at=utcnow(), attempts=0)
    )
    with writing(runtime.engine) as connection:
        count = connection.execute(again).rowcount
        require_as_shown(count, shown, "delivery", "deliveries")
    return count


def _to(receivers: Collection[str] | None) -> list[ColumnElement[bool]]:
    return [] if receivers is None else [delivery.c.receiver.in_(receivers)]


def _fits(state: str | None, target: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [] if state is None else [delivery.c.state == state]
    if target is not None and target.endswith("*"):
        conditions.append(delivery.c.target.startswith(target[:-1], autoescape=True))
    elif target is not None:
        conditions.append(delivery.c.target == target)
    return conditions
