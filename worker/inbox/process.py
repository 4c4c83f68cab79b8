"""Works the inbox off: each event's effects and its end are one transaction, so they happen exactly once."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError

from worker.core.logs import carrying_on, working_on
from worker.core.metrics import inbox_worked_off
from worker.core.states import InboxState
from worker.inbox.events import Apply, Claimed, Handled, Prepare, claim, finish, still_mine
from worker.runtime import Runtime
from worker.store import sql
from worker.store.db import is_postgres, writing
from worker.store.models import utcnow

PORTION = 200
LEASE_SECONDS = 120.0
"""Longer than a portion's look-ups at carriers may take."""
LOOK_UPS_AT_ONCE = 8
ATTEMPTS = 8
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=1)
SQLITE_PAUSE_SECONDS = 0.12
"""SQLite gives its one write lock to whoever asks first, and who waits asks every 0.1 seconds: a worker that went on
at once would keep the HTTP side from taking events in."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of events; ``waiting`` ones are tried again later."""

    done: int = 0
    ignored: int = 0
    failed: int = 0
    waiting: int = 0


def process_due(runtime: Runtime, sources: Mapping[str, Prepare], limit: int) -> Report:
    """Work off up to ``limit`` due events. Safe in any number of workers at once."""
    reached: Counter[InboxState] = Counter()
    while reached.total() < limit and not runtime.stop.requested:
        with writing(runtime.engine) as connection:
            events = claim(connection, utcnow(), LEASE_SECONDS, min(PORTION, limit - reached.total()))
        if not events:
            break
        prepared = list(zip(events, _prepare(runtime, sources, events), strict=True))
        try:
            reached.update(_commit(runtime, prepared))
        except Exception as error:  # noqa: BLE001 - what breaks one ends the whole transaction, so each gets its own
            log.warning("inbox events are worked through one by one", error=_kind(error))
            for one in prepared:
                reached.update(_alone(runtime, *one))
        if len(events) == PORTION and not is_postgres(runtime.engine):
            runtime.stop.wait(SQLITE_PAUSE_SECONDS)
    return Report(
        done=reached[InboxState.DONE],
        ignored=reached[InboxState.IGNORED],
        failed=reached[InboxState.FAILED],
        waiting=reached[InboxState.NEW],
    )


def wait_before(attempt: int) -> timedelta:
    """How long an event waits after its ``attempt``-th (from 1) try that came too early or failed."""
    return min(FIRST_WAIT * (1 << min(2 * (attempt - 1), 20)), LONGEST_WAIT)


def _prepare(runtime: Runtime, sources: Mapping[str, Prepare], events: list[Claimed]) -> list[Apply]:
    def one(event: Claimed) -> Apply:
        prepare = sources.get(event.source)
        if prepare is None:
            return lambda *_: Handled(InboxState.FAILED, f"nothing here reads events of {event.source}")
        try:
            with working_on(inbox_event=event.id):
                return prepare(runtime, event)
        except Exception as error:  # noqa: BLE001 - one event must not keep the others waiting
            return _give_back(event, error)

    if not any(event.source == "carrier" for event in events):  # only carriers are asked over the network
        return [one(event) for event in events]
    with ThreadPoolExecutor(LOOK_UPS_AT_ONCE, "look-up") as pool:
        return list(pool.map(carrying_on(one), events))


def _commit(runtime: Runtime, prepared: list[tuple[Claimed, Apply]]) -> list[InboxState]:
    """The effects of all of them and their ends in one transaction. Raises whatever one of them raises."""
    events, now = [event for event, _ in prepared], utcnow()
    with writing(runtime.engine) as connection:
        if not still_mine(connection, events):
            log.warning("inbox events were taken over by another worker", events=len(events))
            return []
        sql.lock_account(connection, *{name for _, apply in prepared for name in getattr(apply, "locks", ())})
        handled = []
        for event, apply in prepared:
            with working_on(inbox_event=event.id):
                handled.append((event, apply(connection, now)))
        finish(connection, handled)
    for event, one in handled:
        inbox_worked_off(event.source, "again" if one.state is InboxState.NEW else one.state)
    return [one.state for _, one in handled]


def _alone(runtime: Runtime, event: Claimed, apply: Apply) -> list[InboxState]:
    """One event by itself. Raises DBAPIError when the store cannot even write down that it failed."""
    try:
        return _commit(runtime, [(event, apply)])
    except Exception as error:  # noqa: BLE001 - it must not keep the others waiting
        return _commit(runtime, [(event, _give_back(event, error))])


def _give_back(event: Claimed, error: Exception) -> Apply:
    return lambda _, now: _failed(event, error, now)


def _failed(event: Claimed, error: Exception, now: datetime) -> Handled:
    # Not the error's own words: they may hold what people wrote, or a credential.
    kind, trace = _kind(error), "".join(traceback.format_tb(error.__traceback__))
    log.error("inbox event failed", inbox_event=event.id, source=event.source, error=kind, trace=trace)
    words = f"it could not be worked through ({kind})"
    if event.attempts >= ATTEMPTS:
        return Handled(InboxState.FAILED, f"{words}, {ATTEMPTS} times; see the worker's log")
    return Handled(InboxState.NEW, words, again_at=now + wait_before(event.attempts))


def _kind(error: Exception) -> str:
    return type(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error).__name__
