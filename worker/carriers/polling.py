"""Reads the carriers' lists of sent texts: what a lost event would have told. What is known already changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import orjson
import requests
import structlog
from sqlalchemy import Connection, or_, select, update

from config.integrations import Carrier
from config.models import Settings
from worker.carriers.apply import as_payload
from worker.carriers.events import CarrierText, NotYet
from worker.carriers.registry import CARRIERS, ListSent
from worker.core.states import MessageKind
from worker.inbox.events import Incoming, store
from worker.runtime import Runtime
from worker.store import sql
from worker.store.db import new_lease_owner, writing
from worker.store.leases import LeaseColumns
from worker.store.models import utcnow
from worker.store.tables import carrier_state, inbox_event, message

OVERLAP = timedelta(hours=24)
"""Twilio's list lags behind by hours; what was read before is told by its id."""
FIRST_LOOK = timedelta(hours=24)
LEASE = timedelta(minutes=10)
PORTION = 200

log = structlog.get_logger(__name__)


def poll_due(runtime: Runtime, now: datetime) -> bool:
    """Read every list that is due; one worker each. Returns whether there is something new in the inbox."""
    found = False
    for name, config in runtime.settings.carriers.items():
        list_sent = CARRIERS[config.carrier].list_sent
        if config.poll_every is None or list_sent is None:
            continue
        with writing(runtime.engine) as connection:
            owner = _claim(connection, name, now)
        if owner is not None:
            found |= _poll(runtime, name, config, list_sent, owner, now, now + config.poll_every)
    return found


def _claim(connection: Connection, name: str, now: datetime) -> str | None:
    s = carrier_state.c
    connection.execute(sql.insert(connection, carrier_state).values(name=name, last_error="").on_conflict_do_nothing())
    owner = new_lease_owner()
    due = (
        update(carrier_state)
        .where(
            s.name == name,
            or_(s.next_poll_at.is_(None), s.next_poll_at <= now),
            or_(s.lease_until.is_(None), s.lease_until <= now),
        )
        .values(lease_owner=owner, lease_until=now + LEASE)
    )
    return owner if connection.execute(due).rowcount == 1 else None


def _poll(
    runtime: Runtime, name: str, config: Carrier, list_sent: ListSent, owner: str, now: datetime, again: datetime
) -> bool:
    with writing(runtime.engine) as connection:
        polled_until = connection.execute(
            select(carrier_state.c.polled_until).where(carrier_state.c.name == name)
        ).scalar_one()
    since = (polled_until or now - FIRST_LOOK) - (OVERLAP if polled_until else timedelta(0))
    error, new = "", 0
    try:
        with requests.Session() as session:
            for texts in _portions(list_sent(session, config, since, now)):
                with writing(runtime.engine) as connection:
                    new += _keep(connection, name, config, texts)
    except (NotYet, NotImplementedError) as reason:
        error = str(reason)
        log.warning("a carrier's list could not be read", carrier=name, reason=error)
    _end(runtime, name, owner, error, now, again)
    return new > 0


def _portions(texts: Iterator[CarrierText]) -> Iterator[list[CarrierText]]:
    while portion := list(islice(texts, PORTION)):
        yield portion


def _keep(connection: Connection, name: str, config: Carrier, texts: list[CarrierText]) -> int:
    """Put into the inbox what is not recorded yet, and was not put there by an earlier look at the list."""
    sent = {
        f"{config.carrier}:{text.id}": text for text in texts if text.status == "sent" and (text.text or text.media)
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
    payloads = [orjson.dumps(as_payload(text)).decode() for text in sent.values()]
    looked_at = set(
        connection.execute(
            select(e.payload).where(
                e.source == "carrier",
                e.name == name,
                e.received_at > now - 2 * OVERLAP,
                sql.any_of(connection, e.payload, payloads),
            )
        ).scalars()
    )
    events = [Incoming("carrier", name, payload, now) for payload in payloads if payload not in looked_at]
    store(connection, events)
    return len(events)


def _end(runtime: Runtime, name: str, owner: str, error: str, now: datetime, again: datetime) -> None:
    values = {"lease_owner": None, "lease_until": None, "last_error": error, "next_poll_at": again}
    if not error:
        values["polled_until"] = now
    mine = (carrier_state.c.name == name) & (carrier_state.c.lease_owner == owner)
    with writing(runtime.engine) as connection:
        connection.execute(update(carrier_state).where(mine).values(**values))


def has_due(connection: Connection, settings: Settings, now: datetime) -> bool:
    """Return whether a carrier's list of sent texts is due and no worker is reading it."""
    polled = [name for name, carrier in settings.carriers.items() if carrier.poll_every is not None]
    if not polled:
        return False
    s = carrier_state.c
    waits = or_(s.next_poll_at > now, LeaseColumns(carrier_state).until > now)
    return len(connection.scalars(select(s.name).where(s.name.in_(polled), waits)).all()) < len(polled)
