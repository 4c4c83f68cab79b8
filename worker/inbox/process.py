"""Processes the inbox. The effects of an event and its result are one transaction, so they happen exactly once."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy.exc import DBAPIError

from worker.core.backoff import Backoff
from worker.core.logs import carrying_on, working_on
from worker.core.metrics import inbox_worked_off
from worker.core.states import InboxState
from worker.inbox.events import Apply, ClaimedEvent, Handled, Prepare, always, claim_events, finish_events, lock_claimed
from worker.runtime import Runtime
from worker.store import sql
from worker.store.db import is_postgres, writing
from worker.store.models import utcnow
from worker.store.sealed import from_stored
from worker.store.tables import inbox_event

PORTION = 200
LEASE_SECONDS = 120.0
"""Longer than the look-ups of one portion at carriers can take."""
LOOK_UPS_AT_ONCE = 8
ATTEMPTS = 8
RETRY_WAIT = Backoff(first=5, longest=3600, factor=4)
"""How long an event waits after an attempt that failed or came too early."""
SQLITE_PAUSE_SECONDS = 0.12
"""The pause after a full portion. A connection that waits for SQLite's write lock retries every 0.1 seconds, so without
pauses a worker would keep the HTTP API from storing new events."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InboxReport:
    """How many events had which result. The ``waiting`` ones are tried again later."""

    done: int = 0
    ignored: int = 0
    failed: int = 0
    waiting: int = 0


def process_due(runtime: Runtime, sources: Mapping[str, Prepare], limit: int) -> InboxReport:
    """Process up to ``limit`` due events. Safe in any number of workers at once."""
    reached: Counter[InboxState] = Counter()
    while reached.total() < limit and not runtime.stop.requested:
        with writing(runtime.engine) as connection:
            events = claim_events(connection, utcnow(), LEASE_SECONDS, min(PORTION, limit - reached.total()))
        if not events:
            break
        prepared = list(zip(events, _prepare(runtime, sources, events), strict=True))
        try:
            reached.update(_commit(runtime, prepared))
        except Exception as error:  # noqa: BLE001 - one bad event ends the whole transaction, so each gets its own
            log.warning("a batch of inbox events failed; each is now processed separately", error=_kind(error))
            for one in prepared:
                reached.update(_commit_alone(runtime, *one))
        if len(events) == PORTION and not is_postgres(runtime.engine):
            runtime.stop.wait(SQLITE_PAUSE_SECONDS)
    return InboxReport(
        done=reached[InboxState.DONE],
        ignored=reached[InboxState.IGNORED],
        failed=reached[InboxState.FAILED],
        waiting=reached[InboxState.NEW],
    )


def _prepare(runtime: Runtime, sources: Mapping[str, Prepare], events: list[ClaimedEvent]) -> list[Apply]:
    def one(event: ClaimedEvent) -> Apply:
        prepare = sources.get(event.source)
        if prepare is None:
            return always(Handled(InboxState.FAILED, f"this version cannot read events of {event.source}"))
        try:
            with working_on(inbox_event=event.id):
                payload = from_stored(runtime.engine.dialect, inbox_event.c.payload, event.payload)
                return prepare(runtime, replace(event, payload=payload))
        except Exception as error:  # noqa: BLE001 - one event must not stop the others
            return _retry_later(event, error)

    if not any(event.source == "carrier" for event in events):  # only events of carriers need requests
        return [one(event) for event in events]
    with ThreadPoolExecutor(LOOK_UPS_AT_ONCE, "look-up") as pool:
        return list(pool.map(carrying_on(one), events))


def _commit(runtime: Runtime, prepared: list[tuple[ClaimedEvent, Apply]]) -> list[InboxState]:
    """Commit the effects and the results of all of them in one transaction. Raises what one of them raises."""
    events, now = [event for event, _ in prepared], utcnow()
    with writing(runtime.engine) as connection:
        if not lock_claimed(connection, events):
            log.warning("inbox events were taken over by another worker", events=len(events))
            return []
        sql.lock_account(connection, *{name for _, apply in prepared for name in getattr(apply, "locks", ())})
        handled = []
        for event, apply in prepared:
            with working_on(inbox_event=event.id):
                handled.append((event, apply(connection, now)))
        finish_events(connection, handled)
    for event, one in handled:
        inbox_worked_off(event.source, "again" if one.state is InboxState.NEW else one.state)
    return [one.state for _, one in handled]


def _commit_alone(runtime: Runtime, event: ClaimedEvent, apply: Apply) -> list[InboxState]:
    """Commit one event by itself. Raises DBAPIError if the store cannot even record that it failed."""
    try:
        return _commit(runtime, [(event, apply)])
    except Exception as error:  # noqa: BLE001 - it must not stop the others
        return _commit(runtime, [(event, _retry_later(event, error))])


def _retry_later(event: ClaimedEvent, error: Exception) -> Apply:
    return lambda _, now: _failed(event, error, now)


def _failed(event: ClaimedEvent, error: Exception, now: datetime) -> Handled:
    # Not the error's own message: it may contain a text of a person, or a credential.
    kind, trace = _kind(error), "".join(traceback.format_tb(error.__traceback__))
    log.error("inbox event failed", inbox_event=event.id, source=event.source, error=kind, trace=trace)
    reason = f"it could not be processed ({kind})"
    if event.attempts >= ATTEMPTS:
        return Handled(
            InboxState.FAILED, f"{reason}, {ATTEMPTS} times; see the worker's log, then run `vtsync relay retry`"
        )
    return Handled(InboxState.NEW, reason, again_at=now + RETRY_WAIT.wait(event.attempts))


def _kind(error: Exception) -> str:
    return type(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error).__name__
