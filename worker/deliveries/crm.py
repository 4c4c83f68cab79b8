"""Writes texts and opt-outs to CRM records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import orjson

from config.event_types import EventType
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
from worker.deliveries.outcome import Delivered, DeliveryOutcome, GaveUp, RetryLater
from worker.deliveries.targets import Target
from worker.messages.opt_outs import opted_out
from worker.runtime import Runtime
from worker.store.db import reading

RETRY = "then run `vtsync forwards retry`"


@contextmanager
def open_writer(settings: Settings, connection: str) -> Iterator[WritesMessages]:
    """Open the adapter of a connection. Raises SourceInvalid if it cannot write."""
    adapter: Adapter = build_adapter(settings, connection)
    try:
        if not isinstance(adapter, WritesMessages):
            name = settings.connections[connection].adapter
            raise SourceInvalid(
                f'the adapter "{name}" cannot write to its CRM; remove log_messages and report_opt_outs'
            )
        yield adapter
    finally:
        adapter.close()


def write_event(
    runtime: Runtime, adapter: WritesMessages, target: Target, event_id: str, payload: str
) -> DeliveryOutcome:
    """Write one event to one record. Repeating it changes nothing."""
    event = orjson.loads(payload)
    connection = target.receiver.name
    try:
        if event["type"] in (EventType.CONTACT_OPTED_OUT, EventType.CONTACT_OPTED_IN):
            rule = runtime.settings.connections[connection].do_not_text
            if rule is None:
                return GaveUp(f"connections.{connection}.do_not_text no longer names a field; name one, {RETRY}")
            adapter.set_do_not_text(target.external_id, rule.field, _has_opted_out(runtime, event["data"]["phone"]))
        else:
            adapter.log_message(target.external_id, as_message(event_id, event))
    except AdapterError as error:
        return outcome_of(error)
    except Exception as error:  # noqa: BLE001 - adapters are third-party code
        return RetryLater(f"the adapter failed ({type(error).__name__})")
    return Delivered()


def _has_opted_out(runtime: Runtime, phone: str) -> bool:
    """Return the current state, because a delayed or repeated event must not restore an older one."""
    with reading(runtime.engine) as connection:
        return bool(opted_out(connection, [phone]))


def outcome_of(error: AdapterError) -> DeliveryOutcome:
    """Classify an error of an adapter."""
    if isinstance(error, RecordGone):
        return GaveUp(str(error))
    if isinstance(error, CredentialsRejected | SourceInvalid):
        return GaveUp(f"{error}; {RETRY}")
    is_down = isinstance(error, SourceUnavailable)
    after = error.retry_after if isinstance(error, SourceUnavailable) else None
    return RetryLater(str(error), None if after is None else timedelta(seconds=after), is_down=is_down)


def as_message(event_id: str, event: Mapping[str, Any]) -> CrmMessage:
    """Return the text of an event. Its id is that of its message, if any, so that all events of one are one text."""
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
