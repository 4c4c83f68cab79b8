"""Writes texts and opt-outs to CRM records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import orjson

from config.models import Settings
from crm_adapters.base import (
    Adapter,
    AdapterError,
    CredentialsRejected,
    CrmMessage,
    RecordGone,
    SourceInvalid,
    SourceUnavailable,
    WritesMessages,
)
from worker.contacts.adapters import build_adapter
from worker.deliveries.outcome import Again, Done, GivenUp, Outcome
from worker.messages.events import EventType
from worker.messages.opt_outs import opted_out
from worker.runtime import Runtime
from worker.store.db import reading

RETRY = "then `vtsync forwards retry`"


@contextmanager
def writer(settings: Settings, connection: str) -> Iterator[WritesMessages]:
    """The connection's adapter. Raises SourceInvalid when it cannot write."""
    adapter: Adapter = build_adapter(settings, connection)
    try:
        if not isinstance(adapter, WritesMessages):
            name = settings.connections[connection].adapter
            raise SourceInvalid(f'the adapter "{name}" cannot write to its CRM; switch log_messages off')
        yield adapter
    finally:
        adapter.close()


def deliver(
    runtime: Runtime, adapter: WritesMessages, connection: str, external_id: str, event_id: str, payload: str
) -> Outcome:
    """Write one event to one record. Doing it twice writes it once."""
    event = orjson.loads(payload)
    try:
        if event["type"] in (EventType.CONTACT_OPTED_OUT, EventType.CONTACT_OPTED_IN):
            rule = runtime.settings.connections[connection].do_not_text
            if rule is None:
                return GivenUp(f"connections.{connection}.do_not_text names no field any more; set it, {RETRY}")
            adapter.set_do_not_text(external_id, rule.field, _has_opted_out(runtime, event["data"]["phone"]))
        else:
            adapter.log_message(external_id, as_message(event_id, event))
    except AdapterError as error:
        return outcome_of(error)
    except Exception as error:  # noqa: BLE001 - adapters are third-party code
        return Again(f"the adapter failed ({type(error).__name__})")
    return Done()


def _has_opted_out(runtime: Runtime, phone: str) -> bool:
    """As it is now: an event that was delayed, or is tried again by hand, must not bring back what was so once."""
    with reading(runtime.engine) as connection:
        return bool(opted_out(connection, [phone]))


def outcome_of(error: AdapterError) -> Outcome:
    """What an adapter's error means."""
    if isinstance(error, RecordGone):
        return GivenUp(str(error))
    if isinstance(error, CredentialsRejected | SourceInvalid):
        return GivenUp(f"{error}; {RETRY}")
    away = isinstance(error, SourceUnavailable)
    after = error.retry_after if isinstance(error, SourceUnavailable) else None
    return Again(str(error), None if after is None else timedelta(seconds=after), away=away)


def as_message(event_id: str, event: Mapping[str, Any]) -> CrmMessage:
    """The text of an event. Its id is that of the message where there is one: however it is told, it is one text."""
    data = event["data"]
    inbound = event["type"] == EventType.MESSAGE_RECEIVED
    at = data.get("received_at" if inbound else "sent_at") or event["timestamp"]
    return CrmMessage(
        id=data.get("id") or event_id,
        direction="in" if inbound else "out",
        at=datetime.fromisoformat(at),
        text=data["text"],
        media=tuple(data["media"]),
        from_number=data["from"],
        to_number=data["to"],
    )
