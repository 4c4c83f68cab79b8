"""The outbox: everything to be texted or recorded is a committed row here before anything is done about it.

This module takes the requests of callers. ``intents`` takes the texts of triggers. ``delivery`` and ``recording`` do
the work, and ``decisions`` handles the decisions of people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, select

from worker.core.states import MessageKind, MessageState
from worker.messages.policy_facts import load_facts, state_after
from worker.messages.requests import (
    IdempotencyConflict,
    InvalidRequest,
    RecordRequest,
    SendRequest,
    account_problems,
)
from worker.messages.transitions import Moved, add_first_events
from worker.policy.decide import decide
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import message
from worker.triggers.segments import count

_SAME_NAME = frozenset(message.columns.keys()) - {"media"}
"""Columns that store the request's field of the same name as it is."""
_HASHED_ALWAYS = frozenset(
    ("account", "to", "from_number", "message", "media", "send_at", "expires_at", "idempotency_key")
)
_DEFAULTS = {name: field.default for name, field in SendRequest.model_fields.items()}


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The message of a request, as it is now. ``duplicate``: an earlier request created it."""

    message_id: str
    state: MessageState
    duplicate: bool
    reason: str = ""


def enqueue_send(runtime: Runtime, request: SendRequest, *, source: str, actor: str) -> Enqueued:
    """Commit the intent to send a text. Nothing is sent here.

    The same idempotency key with the same payload returns the first message. ``source`` is ``task``, ``cli`` or
    ``http``. Raises InvalidRequest, IdempotencyConflict.
    """
    now = utcnow()
    row = _new_row(runtime, request, MessageKind.SEND, source, now)
    due_at = max(now, request.send_at or now)
    expires_at = request.expires_at or due_at + runtime.settings.policy.expires_after
    row |= {"due_at": due_at, "expires_at": expires_at}
    row["payload_hash"] = payload_hash(*_contents(row), request.send_at, request.expires_at, *_further_fields(request))
    with writing(runtime.engine) as connection:
        row |= state_after(decide(load_facts(connection, row, runtime.settings, now), now), due_at)
        return _insert_once(connection, row, actor)


def enqueue_record(runtime: Runtime, request: RecordRequest, *, source: str, actor: str) -> Enqueued:
    """Commit the intent to record a text that was sent elsewhere. It is never sent.

    The key is (carrier, carrier_message_id), so reporting a text again returns the first record. Raises
    InvalidRequest, IdempotencyConflict.
    """
    with writing(runtime.engine) as connection:
        return insert_record(connection, runtime, request, source=source, actor=actor, now=utcnow())


def insert_record(
    connection: Connection, runtime: Runtime, request: RecordRequest, *, source: str, actor: str, now: datetime
) -> Enqueued:
    """Do the work of ``enqueue_record`` in the caller's transaction."""
    row = _new_row(runtime, request, MessageKind.RECORD, source, now)
    row |= {
        "state": MessageState.QUEUED,
        "reason": "",
        "due_at": now,
        "expires_at": None,
        "sent_at": request.sent_at or now,
    }
    row["payload_hash"] = payload_hash(*_contents(row))  # without sent_at: a carrier reports one text at several times
    if request.carrier and request.carrier_message_id:
        row["idempotency_key"] = f"{request.carrier}:{request.carrier_message_id}"
    return _insert_once(connection, row, actor)


def insert_new(connection: Connection, row: dict[str, Any], actor: str) -> bool:
    """Store a message with its first event. Return False if a message with its key exists."""
    statement = insert(connection, message).values(row).on_conflict_do_nothing().returning(message.c.id)
    if connection.execute(statement).first() is None:
        return False
    made, now = [Moved(row["id"], 0, row["account"], row["kind"])], row["created_at"]
    add_first_events(connection, made, row["state"], reason=row["reason"], actor=actor, now=now)
    return True


def payload_hash(*parts: object) -> str:
    """Return a hash of what a caller asked for. Two hashes are equal exactly when the requests are."""
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()


def media_json(urls: Sequence[str]) -> str:
    """Return the URLs as the message table stores them."""
    return orjson.dumps(list(urls)).decode()


def _new_row(
    runtime: Runtime, request: SendRequest | RecordRequest, kind: MessageKind, source: str, now: datetime
) -> dict[str, Any]:
    """Return the request as a row. Fields that have a column of their name go there as they are."""
    if problems := account_problems(runtime.settings, request):
        raise InvalidRequest(problems)
    message_id = new_message_id()
    return {name: value for name, value in request if name in _SAME_NAME} | {
        "id": message_id,
        "kind": kind,
        "to_number": request.to,
        "from_number": request.from_number or runtime.settings.accounts[request.account].from_number,
        "text": request.message,
        "media": media_json(request.media),
        "segments": count(request.message).segments,
        "source": source,
        "idempotency_key": request.idempotency_key or f"auto:{message_id}",
        "created_at": now,
        "attempts": 0,
    }


def _insert_once(connection: Connection, row: dict[str, Any], actor: str) -> Enqueued:
    if insert_new(connection, row, actor):
        return Enqueued(row["id"], row["state"], duplicate=False, reason=row["reason"])
    key = row["idempotency_key"]
    first = connection.execute(
        select(message.c.id, message.c.state, message.c.reason, message.c.payload_hash).where(
            message.c.account == row["account"], message.c.kind == row["kind"], message.c.idempotency_key == key
        )
    ).one()
    if first.payload_hash != row["payload_hash"]:
        raise IdempotencyConflict(key, first.id)
    return Enqueued(first.id, MessageState(first.state), duplicate=True, reason=first.reason)


def _contents(row: dict[str, Any]) -> tuple[str, ...]:
    return row["to_number"], row["from_number"], row["text"], row["media"]


def _further_fields(request: SendRequest) -> list[object]:
    """Return what the request says beyond the fields that are always hashed.

    A default is left out, so that a new field does not change the hashes of requests without it.
    """
    return [
        name if value is True else [name, value]
        for name, value in request
        if name not in _HASHED_ALWAYS and value != _DEFAULTS[name]
    ]
