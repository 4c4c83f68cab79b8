"""Writes texts and opt-outs to CRM records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import orjson

from config.event_types import EventType
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
from crm_adapters.described import resolve_labels
from worker.contacts.services import open_adapter
from worker.deliveries.outcome import Delivered, DeliveryOutcome, GaveUp, RetryLater
from worker.deliveries.targets import Target
from worker.messages.merges import survivor_of
from worker.messages.opt_outs import opted_out
from worker.runtime import Runtime
from worker.store.db import reading

RETRY = "then run `vtsync forwards retry`"


@contextmanager
def open_writer(runtime: Runtime, connection: str) -> Iterator[WritesMessages]:
    """Open the adapter of a connection. Raises SourceInvalid if it cannot write."""
    adapter = open_adapter(runtime, connection)
    try:
        if not isinstance(adapter, WritesMessages):
            name = runtime.settings.connections[connection].adapter
            raise SourceInvalid(
                f'the adapter "{name}" cannot write to its CRM; remove log_messages and report_opt_outs'
            )
        yield adapter
    finally:
        adapter.close()


def write_event(
    runtime: Runtime, adapter: WritesMessages, target: Target, event_id: str, payload: str
) -> DeliveryOutcome:
    """Write one event to one record, or to the one that it was merged into. Repeating it changes nothing."""
    event = orjson.loads(payload)
    connection = target.receiver.name
    with reading(runtime.engine) as db:
        external_id = survivor_of(db, connection, target.external_id)
    try:
        if event["type"] in (EventType.CONTACT_OPTED_OUT, EventType.CONTACT_OPTED_IN):
            rule = runtime.settings.connections[connection].do_not_text
            if rule is None:
                return GaveUp(f"connections.{connection}.do_not_text no longer names a field; name one, {RETRY}")
            field = _name_of(rule.field, adapter)
            adapter.set_do_not_text(external_id, field, _has_opted_out(runtime, event["data"]["phone"]))
        else:
            adapter.log_message(external_id, as_message(event_id, event))
    except AdapterError as error:
        return outcome_of(error)
    except Exception as error:  # noqa: BLE001 - adapters are third-party code
        return RetryLater(f"the adapter failed ({type(error).__name__})")
    return Delivered()


def _name_of(field: str, adapter: WritesMessages) -> str:
    """Return the field's own name. The configuration may have its label."""
    fields = adapter.describe() if isinstance(adapter, Adapter) else ()
    return resolve_labels([field], fields).get(field, field)


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
