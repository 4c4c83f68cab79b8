"""The outbox: everything to be texted or recorded is a committed row here before anything is done about it.

This module takes the requests of callers. ``intents`` takes the texts of triggers. ``delivery`` and ``recording`` do
the work, and ``decisions`` handles the decisions of people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, select

from config.policy_levels import policy_for
from worker.core.states import MessageKind, MessageState
from worker.messages.metadata import index_rows, metadata_json
from worker.messages.outlook import expected_time, expected_times
from worker.messages.policy_facts import load_facts, state_after
from worker.messages.reported_texts import retry_its_event
from worker.messages.request_times import LONGEST_WAIT, record_time_problems, send_time_problems
from worker.messages.requests import (
    IdempotencyConflict,
    InvalidRequest,
    RecordRequest,
    SendRequest,
    account_problems,
)
from worker.messages.simulation import is_rehearsed
from worker.messages.transitions import Moved, add_first_events
from worker.policy.decide import decide
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import message, message_metadata
from worker.triggers.segments import count

TEST_KEYS = "test:"
"""What begins the idempotency keys of tests, so that a test never takes the key of a real message."""
_SAME_NAME = frozenset(message.columns.keys()) - {"media", "metadata"}
"""Columns that store the request's field of the same name as it is."""
_HASHED_ALWAYS = frozenset(
    ("account", "to", "from_number", "message", "media", "send_at", "expires_at", "idempotency_key")
)
_DEFAULTS = {name: field.default for name, field in SendRequest.model_fields.items()}


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The message of a request, as it is now. ``duplicate``: an earlier request created it.

    ``test``: nothing leaves, because of a test key or because the account is in test mode. ``expected_at``: when a
    queued text will go, as far as that is known. None: see the state and the reason.
    """

    message_id: str
    state: MessageState
    duplicate: bool
    reason: str = ""
    test: bool = False
    expected_at: datetime | None = None


def enqueue_send(
    runtime: Runtime,
    request: SendRequest,
    *,
    source: str,
    actor: str,
    may_be_late: bool = False,
    test: bool = False,
) -> Enqueued:
    """Commit the intent to send a text. Nothing is sent here. A ``test`` is decided about like any other, never sent.

    The same idempotency key with the same payload returns the first message. ``source`` is ``task``, ``cli`` or
    ``http``. ``may_be_late``: the job waited in a queue, perhaps for days. Raises InvalidRequest, IdempotencyConflict.
    """
    with writing(runtime.engine) as connection:
        return insert_send(connection, runtime, request, source=source, actor=actor, may_be_late=may_be_late, test=test)


def insert_send(
    connection: Connection,
    runtime: Runtime,
    request: SendRequest,
    *,
    source: str,
    actor: str,
    may_be_late: bool = False,
    test: bool = False,
) -> Enqueued:
    """Do the work of ``enqueue_send`` in the caller's transaction. What it raises leaves no row behind."""
    now = utcnow()
    row = _new_row(runtime, request, MessageKind.SEND, source, now)
    due_at = max(now, request.send_at or now)
    window = policy_for(runtime.settings, account=request.account).expires_after
    expires_at = request.expires_at or (request.send_at or now) + window
    row |= {"due_at": due_at, "expires_at": expires_at, "metadata": metadata_json(request.metadata), "test": test}
    if test:
        row["idempotency_key"] = TEST_KEYS + row["idempotency_key"]
    rehearsed = is_rehearsed(runtime.settings, row)
    row["payload_hash"], *earlier = _send_hashes(row, request)
    if problems := send_time_problems(request, now, LONGEST_WAIT if may_be_late else timedelta(0)):
        return _first_of(connection, row, earlier, InvalidRequest(problems), test=rehearsed)
    facts = load_facts(connection, row, runtime.settings, now)
    row |= state_after(decide(facts, now), due_at)
    if not insert_new(connection, row, actor):
        first = _first_of(connection, row, earlier, test=rehearsed)
        expected = expected_times(connection, runtime.settings, [first.message_id], now)
        return replace(first, expected_at=expected.get(first.message_id))
    if request.metadata:
        connection.execute(message_metadata.insert(), index_rows(row["id"], request.metadata))
    goes = row["state"] == MessageState.QUEUED
    return Enqueued(
        row["id"],
        row["state"],
        duplicate=False,
        reason=row["reason"],
        test=rehearsed,
        expected_at=expected_time(connection, row["account"], facts, now) if goes else None,
    )


def enqueue_record(
    runtime: Runtime, request: RecordRequest, *, source: str, actor: str, test: bool = False
) -> Enqueued:
    """Commit the intent to record a text that was sent elsewhere. It is never sent. A ``test`` is not recorded, either.

    The key is (carrier, carrier_message_id), so reporting a text again returns the first record. Raises
    InvalidRequest, IdempotencyConflict.
    """
    now = utcnow()
    if problems := record_time_problems(request, now):
        raise InvalidRequest(problems)
    with writing(runtime.engine) as connection:
        return insert_record(connection, runtime, request, source=source, actor=actor, now=now, test=test)


def insert_record(
    connection: Connection,
    runtime: Runtime,
    request: RecordRequest,
    *,
    source: str,
    actor: str,
    now: datetime,
    test: bool = False,
) -> Enqueued:
    """Do the work of ``enqueue_record`` in the caller's transaction."""
    row = _new_row(runtime, request, MessageKind.RECORD, source, now)
    row |= {
        "state": MessageState.QUEUED,
        "reason": "",
        "due_at": now,
        "expires_at": None,
        "sent_at": request.sent_at or now,
        "test": test,
    }
    row["payload_hash"] = payload_hash(*_contents(row))  # without sent_at: a carrier reports one text at several times
    if request.carrier and request.carrier_message_id:
        row["idempotency_key"] = f"{request.carrier}:{request.carrier_message_id}"
        if not test:
            retry_its_event(connection, runtime.settings, request, now)
    if test:  # so that the real report of this text is recorded
        row["idempotency_key"] = TEST_KEYS + row["idempotency_key"]
    rehearsed = is_rehearsed(runtime.settings, row)
    if not insert_new(connection, row, actor):
        return _first_of(connection, row, test=rehearsed)
    return Enqueued(row["id"], row["state"], duplicate=False, reason=row["reason"], test=rehearsed)


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
    return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


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


def _first_of(
    connection: Connection,
    row: dict[str, Any],
    earlier: Sequence[str] = (),
    otherwise: InvalidRequest | None = None,
    *,
    test: bool,
) -> Enqueued:
    """Return the message that a request with this key created before. Raises ``otherwise`` if there is none.

    ``earlier`` are the hashes that versions before stored for the same request. ``test``: such a message never leaves.
    Raises IdempotencyConflict.
    """
    key = row["idempotency_key"]
    first = connection.execute(
        select(message.c.id, message.c.state, message.c.reason, message.c.payload_hash).where(
            message.c.account == row["account"], message.c.kind == row["kind"], message.c.idempotency_key == key
        )
    ).one_or_none()
    if first is None:
        raise otherwise or LookupError(f"there is no message with the key {key}")
    if first.payload_hash not in (row["payload_hash"], *earlier):
        raise IdempotencyConflict(key, first.id)
    return Enqueued(first.id, MessageState(first.state), duplicate=True, reason=first.reason, test=test)


def _send_hashes(row: dict[str, Any], request: SendRequest) -> tuple[str, ...]:
    """Return the hash of a text to send, and the one that versions before stored: they hashed times as written."""
    rest = _further_fields(request)
    as_written = (request.send_at, request.expires_at)
    in_utc = [None if at is None else at.astimezone(UTC) for at in as_written]
    return payload_hash(*_contents(row), *in_utc, *rest), payload_hash(*_contents(row), *as_written, *rest)


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
