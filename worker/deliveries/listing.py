"""Shows deliveries to people, and gives what was given up another round."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select, update

from worker.core.states import ForwardState
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import forward


@dataclass(frozen=True, slots=True)
class ListedForward:
    """One delivery."""

    id: int
    target: str
    type: str
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime
    last_error: str


def find_forwards(
    runtime: Runtime, *, state: str | None = None, target: str | None = None, limit: int = 50
) -> list[ListedForward]:
    """The newest deliveries that fit what is given. ``target`` may end in ``*``."""
    columns = [forward.c[name] for name in ListedForward.__dataclass_fields__]
    statement = select(*columns).where(*_fits(state, target)).order_by(forward.c.id.desc()).limit(limit)
    with reading(runtime.engine) as connection:
        return [ListedForward(*row) for row in connection.execute(statement)]


def retry_forwards(
    runtime: Runtime, *, ids: Collection[int] = (), target: str | None = None, failed_only: bool = False
) -> int:
    """Have deliveries that were given up, or wait for their next try, tried now, from the start of their schedule.

    ``failed_only`` leaves those alone that wait. Returns how many are tried.
    """
    states = [ForwardState.FAILED] if failed_only else [ForwardState.FAILED, ForwardState.DUE]
    chosen = [forward.c.id.in_(ids)] if ids else []
    again = (
        update(forward)
        .where(forward.c.state.in_(states), *_fits(None, target), *chosen)
        .values(state=ForwardState.DUE, due_at=utcnow(), attempts=0)
    )
    with writing(runtime.engine) as connection:
        return connection.execute(again).rowcount


def _fits(state: str | None, target: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [] if state is None else [forward.c.state == state]
    if target is not None and target.endswith("*"):
        conditions.append(forward.c.target.startswith(target[:-1], autoescape=True))
    elif target is not None:
        conditions.append(forward.c.target == target)
    return conditions
