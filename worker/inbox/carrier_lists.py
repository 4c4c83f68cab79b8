"""Reads the carriers' lists of sent texts, in case events were lost. Known texts are ignored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import orjson
import requests
import structlog
from sqlalchemy import Connection, not_, or_, select

from config.integrations import Carrier
from config.models import Settings
from worker.carriers.provider import CarrierText, CarrierUnavailable, ListSent
from worker.carriers.registry import CARRIERS
from worker.core.states import MessageKind
from worker.inbox.carrier_opt_outs import opt_out_code
from worker.inbox.carrier_texts import as_payload, carrier_numbers
from worker.inbox.events import Incoming, store_events
from worker.runtime import Runtime
from worker.store import sql
from worker.store.db import writing
from worker.store.leases import Lease, LeaseColumns, new_lease
from worker.store.models import utcnow
from worker.store.tables import carrier_state, inbox_event, message

OVERLAP = timedelta(hours=24)
"""How far each read overlaps the previous one: Twilio's list is hours late. Known texts are found by their id."""
FIRST_READ = timedelta(hours=24)
LEASE_SECONDS = 600.0
PORTION = 200

_LEASE = LeaseColumns(carrier_state)

log = structlog.get_logger(__name__)


def poll_due(runtime: Runtime, now: datetime) -> bool:
    """Read every list that is due, each by one worker at a time. Return whether the inbox has new events."""
    found = False
    for name, config in runtime.settings.carriers.items():
        list_sent = CARRIERS[config.carrier].list_sent
        if config.poll_every is None or list_sent is None:
            continue
        lease = new_lease(now, LEASE_SECONDS)
        with writing(runtime.engine) as connection:
            claimed = _claim_list(connection, name, lease, now)
        if claimed:
            found |= _read_list(runtime, name, config, list_sent, lease, now, now + config.poll_every)
    return found


def _claim_list(connection: Connection, name: str, lease: Lease, now: datetime) -> bool:
    s = carrier_state.c
    connection.execute(sql.insert(connection, carrier_state).values(name=name, last_error="").on_conflict_do_nothing())
    due = or_(s.next_poll_at.is_(None), s.next_poll_at <= now)
    return _LEASE.take(connection, lease, now, s.name == name, due)


def _read_list(
    runtime: Runtime, name: str, config: Carrier, list_sent: ListSent, lease: Lease, now: datetime, next_at: datetime
) -> bool:
    with writing(runtime.engine) as connection:
        polled_until = connection.execute(
            select(carrier_state.c.polled_until).where(carrier_state.c.name == name)
        ).scalar_one()
    since = (polled_until or now - FIRST_READ) - (OVERLAP if polled_until else timedelta(0))
    error, new = "", 0
    try:
        with requests.Session() as session:
            for texts in _portions(list_sent(session, config, since, now)):
                with writing(runtime.engine) as connection:
                    new += _store_new(connection, name, config, texts)
    except CarrierUnavailable as reason:
        error = str(reason)
        log.warning("a carrier's list could not be read; vtsync tries again by itself", carrier=name, reason=error)
    _finish_list(runtime, name, lease, error, now, next_at)
    return new > 0


def _portions(texts: Iterator[CarrierText]) -> Iterator[list[CarrierText]]:
    while portion := list(islice(texts, PORTION)):
        yield portion


def _store_new(connection: Connection, name: str, config: Carrier, texts: list[CarrierText]) -> int:
    """Store the texts that are not recorded yet and that no earlier read has stored. Return how many.

    Those that were not sent because of an opt-out count, too.
    """
    sent = {
        f"{config.carrier}:{text.id}": text
        for text in texts
        if (text.status == "sent" and (text.text or text.media)) or opt_out_code(config, text) is not None
    }
    known = connection.execute(
        select(message.c.idempotency_key).where(
            message.c.account == config.account,
            message.c.kind == MessageKind.RECORD,
            sql.any_of(connection, message.c.idempotency_key, list(sent)),
        )
    ).scalars()
    for key in known:
        sent.pop(key, None)
    now, e = utcnow(), inbox_event.c
    listed = [as_payload(text) for text in sent.values()]
    new = [Incoming("carrier", name, orjson.dumps(one).decode(), now, carrier_numbers(config, one)) for one in listed]
    # By their numbers, because payloads may be encrypted; the version before stored none.
    same_numbers = sql.any_of(connection, e.numbers, [event.numbers for event in new if event.numbers is not None])
    recent = (e.source == "carrier", e.name == name, e.received_at > now - 2 * OVERLAP)
    stored = set(connection.scalars(select(e.payload).where(*recent, or_(e.numbers.is_(None), same_numbers))))
    events = [event for event in new if event.payload not in stored]
    store_events(connection, events)
    return len(events)


def _finish_list(runtime: Runtime, name: str, lease: Lease, error: str, now: datetime, next_at: datetime) -> None:
    values: dict[str, Any] = {"last_error": error, "next_poll_at": next_at}
    if not error:
        values["polled_until"] = now
    with writing(runtime.engine) as connection:
        _LEASE.release(connection, lease.owner, carrier_state.c.name == name, **values)


def has_due(connection: Connection, settings: Settings, now: datetime) -> bool:
    """Return whether a carrier's list of sent texts is due and no worker is reading it."""
    polled = [name for name, carrier in settings.carriers.items() if carrier.poll_every is not None]
    if not polled:
        return False
    s = carrier_state.c
    waits = or_(s.next_poll_at > now, not_(_LEASE.is_free(now)))
    return len(connection.scalars(select(s.name).where(s.name.in_(polled), waits)).all()) < len(polled)
