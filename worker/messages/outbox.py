"""The outbox: everything that should be texted or recorded is a row here before anything is done about it.

Jobs come in by ``enqueue_send`` and ``enqueue_record``, the texts of a sync run by ``insert_intents`` inside the
page's own transaction. ``delivery`` and ``recording`` do the work; ``decisions`` are people's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import ColumnElement, Connection, func, select

from config.models import Settings
from config.policy import Policy
from worker.core.states import MessageKind, MessageState
from worker.messages import breaker
from worker.messages.decisions import approve, cancel, resolve, retry
from worker.messages.opt_outs import opted_out
from worker.messages.policy_facts import fresh_view, state_after
from worker.messages.requests import (
    IdempotencyConflict,
    InvalidRequest,
    RecordRequest,
    SendRequest,
    validate,
)
from worker.messages.transitions import Moved, add_events, has_reason, move, reason_text
from worker.policy.decide import Decision, MessageView, OptedOut, Suppress, decide
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.sql import any_of, insert
from worker.store.tables import message
from worker.triggers.segments import count

if TYPE_CHECKING:
    from worker.triggers.evaluate import TextIntent  # which loads the template engine
    from worker.triggers.rules import TextRule

__all__ = [
    "BatchVerdict",
    "Enqueued",
    "IdempotencyConflict",
    "InvalidRequest",
    "RecordRequest",
    "SendRequest",
    "approve",
    "cancel",
    "enqueue_record",
    "enqueue_send",
    "insert_intents",
    "insert_record",
    "resolve",
    "retry",
    "settle_batch",
    "validate",
]


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The message that a request stands for now. ``duplicate``: an earlier request made it."""

    message_id: str
    state: MessageState
    duplicate: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BatchVerdict:
    """``total`` people would be texted; ``released`` texts may go now, ``held`` texts wait for approval."""

    released: int
    held: int
    total: int


def enqueue_send(runtime: Runtime, request: SendRequest, *, source: str, actor: str) -> Enqueued:
    """Commit the intent to send a text. Nothing is sent here.

    The same idempotency key with the same payload returns the first message. ``source`` is ``task``, ``cli`` or
    ``http``. Raises InvalidRequest, IdempotencyConflict.
    """
    if problems := validate(runtime, request):
        raise InvalidRequest(problems)
    now = utcnow()
    due_at = max(now, request.send_at or now)
    expires_at = request.expires_at or due_at + runtime.settings.policy.expires_after
    row = _row(runtime, request, MessageKind.SEND, source, now)
    urgent = ("urgent",) if request.urgent else ()
    row["payload_hash"] = _digest(*_contents(row), request.send_at, request.expires_at, *urgent)
    with writing(runtime.engine) as connection:
        row |= {"expires_at": expires_at, "due_at": due_at, "urgent": request.urgent}
        row |= state_after(decide(fresh_view(connection, row, runtime.settings, now), now), due_at)
        return _insert_once(connection, row, actor)


def enqueue_record(runtime: Runtime, request: RecordRequest, *, source: str, actor: str) -> Enqueued:
    """Commit the intent to record a text that was sent elsewhere. It is never sent.

    Keyed on (carrier, carrier_message_id), so reporting a text again returns the first record. Raises
    InvalidRequest, IdempotencyConflict.
    """
    with writing(runtime.engine) as connection:
        return insert_record(connection, runtime, request, source=source, actor=actor, now=utcnow())


def insert_record(
    connection: Connection, runtime: Runtime, request: RecordRequest, *, source: str, actor: str, now: datetime
) -> Enqueued:
    """``enqueue_record`` in the caller's transaction."""
    if problems := validate(runtime, request):
        raise InvalidRequest(problems)
    row = _row(runtime, request, MessageKind.RECORD, source, now) | {
        "state": MessageState.QUEUED,
        "reason": "",
        "due_at": now,
        "expires_at": None,
        "sent_at": request.sent_at or now,
        "carrier": request.carrier,
        "carrier_message_id": request.carrier_message_id,
    }
    row["payload_hash"] = _digest(*_contents(row))  # not sent_at: a carrier reports one text at several times
    if request.carrier and request.carrier_message_id:
        row["idempotency_key"] = f"{request.carrier}:{request.carrier_message_id}"
    return _insert_once(connection, row, actor)


def insert_intents(
    connection: Connection,
    account: str,
    from_number: str,
    batch_id: str,
    intents: Sequence[TextIntent],
    policy: Policy,
    now: datetime,
) -> int:
    """Put the texts of a sync page into the outbox, in the page's own transaction. Returns how many are new.

    They are held until ``settle_batch``. An intent that was stored before (a replayed page) changes nothing.
    """
    if not intents:
        return 0
    refused = opted_out(connection, {intent.phone for intent in intents})
    rows = [_intent_row(account, from_number, batch_id, intent, policy, refused, now) for intent in intents]
    # In one order, so that two that insert the same ones wait instead of dead-locking.
    in_order = sorted(rows, key=lambda row: row["idempotency_key"])
    connection.execute(insert(connection, message).on_conflict_do_nothing(), in_order)
    mine = {row["id"]: row for row in rows}
    stored = select(message.c.id).where(any_of(connection, message.c.id, mine))
    new = [mine[found] for found in connection.execute(stored).scalars()]
    for state, reason in {(row["state"], row["reason"]) for row in new}:
        made = [
            Moved(row["id"], 0, account, MessageKind.SEND)
            for row in new
            if (row["state"], row["reason"]) == (state, reason)
        ]
        add_events(connection, made, None, state, reason=reason, actor="sync", now=now)
    return len(new)


def intent_key(intent: TextIntent) -> str:
    """What names an intent for ever: one welcome per contact, one text per version of a record."""
    once_per_contact = intent.occurrence == "created" and intent.contact_id is not None
    who = str(intent.contact_id) if once_per_contact else f"{intent.connection}:{intent.external_id}"
    return f"trigger:{intent.trigger}:{who}:{intent.occurrence}"


def foresee(connection: Connection, account: str, intents: Sequence[TextIntent]) -> list[tuple[TextIntent, str]]:
    """For a plan, what ``insert_intents`` would make of these: the new ones, each with why it would not be sent."""
    refused, now = opted_out(connection, {intent.phone for intent in intents}), utcnow()
    keys = {intent_key(intent): intent for intent in reversed(intents)}
    known = set(
        connection.scalars(
            select(message.c.idempotency_key).where(
                message.c.account == account,
                message.c.kind == MessageKind.SEND,
                any_of(connection, message.c.idempotency_key, list(keys)),
            )
        )
    )
    new = [intent for intent in intents if intent_key(intent) not in known and keys[intent_key(intent)] is intent]
    decisions = [decide(_first_view(intent, refused, None), now) for intent in new]
    return [
        (intent, intent.problem or (decision.reason if isinstance(decision, Suppress) else ""))
        for intent, decision in zip(new, decisions, strict=True)
    ]


def _first_view(intent: TextIntent, refused: dict[str, OptedOut], expires_at: datetime | None) -> MessageView:
    """What is known of a text in mid-sync: what its own record and the opt-outs say. The rest is asked as it goes."""
    return MessageView(
        kind=MessageKind.SEND,
        expires_at=expires_at,
        opted_out=refused.get(intent.phone),
        batch_verdict="open",
        to_number=intent.phone,
        do_not_text=intent.do_not_text,
        no_consent=intent.no_consent,
    )


def _intent_row(
    account: str,
    from_number: str,
    batch_id: str | None,
    intent: TextIntent,
    policy: Policy,
    refused: dict[str, OptedOut],
    now: datetime,
) -> dict[str, Any]:
    due_at = (intent.called_for_at or now) + (intent.delay or timedelta(0))
    expires_at = due_at + (intent.expires_after or policy.expires_after)
    sender = intent.from_number or from_number
    return {
        "id": new_message_id(),
        "account": account,
        "kind": MessageKind.SEND,
        "to_number": intent.phone,
        "from_number": sender,
        "text": intent.text,
        "media": _json(intent.media),
        "segments": count(intent.text).segments,
        "contact_id": intent.contact_id,
        "source": "trigger",
        "trigger": intent.trigger,
        "connection": intent.connection,
        "external_id": intent.external_id,
        "batch_id": batch_id,
        "idempotency_key": intent_key(intent),
        "payload_hash": _digest(intent.phone, sender, intent.text, _json(intent.media)),
        "created_at": now,
        "expires_at": expires_at,
        "attempts": 0,
        "urgent": intent.urgent,
        **(
            {
                "state": MessageState.SUPPRESSED,
                "reason": reason_text("template", intent.problem),
                "due_at": due_at,
            }
            if intent.problem
            else state_after(decide(_first_view(intent, refused, expires_at), now), due_at)
        ),
    }


def insert_planned(
    connection: Connection, settings: Settings, rule: TextRule, intents: Sequence[TextIntent], now: datetime
) -> int:
    """Put the texts of a date trigger into the outbox, in the caller's transaction. Returns how many are new.

    They belong to no sync run, so the breaker also guards against a blast: a trigger whose past is too short to compare
    with is held above ``policy.blast_limit`` texts in 24 hours. An occurrence that was stored before changes nothing.
    """
    rows = []
    for intent in allowed_again(connection, {rule.name: rule}, intents, now):
        account = settings.connections[intent.connection].account
        sender = settings.accounts[account].from_number
        row = _intent_row(account, sender, None, intent, settings.policy, {}, now)
        if not intent.problem:
            row |= state_after(decide(fresh_view(connection, row, settings, now), now), row["due_at"])
        rows.append(row)
    going = [row for row in rows if row["state"] == MessageState.QUEUED]
    limit = settings.policy.blast_limit
    reason = breaker.check(connection, rule.name, settings.policy, now, more=len(going), first_limit=limit)
    if reason is not None:
        for row in going:
            row |= state_after(decide(_waits(breaker=reason), now), row["due_at"])
    return sum(_insert(connection, row, "scheduler") for row in rows)


def allowed_again(
    connection: Connection, rules: Mapping[str, TextRule], intents: Sequence[TextIntent], now: datetime
) -> list[TextIntent]:
    """Those whose rule lets the same record be texted again. What was not sent in the end does not count."""
    limited = [intent for intent in intents if rules[intent.trigger].again != "always"]
    if not limited:
        return list(intents)
    m = message.c
    ids = sorted({intent.contact_id for intent in limited if intent.contact_id is not None})
    rows = connection.execute(
        select(m.trigger, m.connection, m.external_id, m.idempotency_key, m.created_at).where(
            any_of(connection, m.contact_id, ids),
            m.trigger.in_(sorted({intent.trigger for intent in limited})),
            m.state.not_in((MessageState.CANCELLED, MessageState.SUPPRESSED, MessageState.EXPIRED)),
        )
    ).all()

    def allowed(intent: TextIntent) -> bool:
        again = rules[intent.trigger].again
        if again == "always":
            return True
        record = (intent.trigger, intent.connection, intent.external_id)
        before = [
            row.created_at
            for row in rows
            if (row.trigger, row.connection, row.external_id) == record and row.idempotency_key != intent_key(intent)
        ]
        return not before or (isinstance(again, timedelta) and max(before) + again <= now)

    return [intent for intent in intents if allowed(intent)]


def settle_batch(
    connection: Connection, batch_id: str, limit: int, now: datetime, policy: Policy | None = None
) -> BatchVerdict:
    """At the end of a sync run: release its texts, or hold them all when they would reach more than ``limit`` people.

    Counted over the whole batch, also over what was released or approved before: a run that was interrupted and
    resumed cannot slip past the limit in portions. With a ``policy``, triggers that fire far more often than they used
    to are held, too (``worker.messages.breaker``).
    """
    in_batch = (message.c.batch_id == batch_id) & (message.c.kind == MessageKind.SEND)
    people = select(func.count(message.c.to_number.distinct())).where(
        in_batch, message.c.state != MessageState.SUPPRESSED
    )
    total = connection.execute(people).scalar_one()
    waiting = (in_batch, has_reason("run"))
    if total > limit:
        verdict = decide(_waits(batch_verdict="over_limit"), now)
        _still_held(connection, verdict, now, *waiting)
    else:
        for trigger, reason in _broken(connection, policy, now, *waiting):
            _still_held(connection, decide(_waits(breaker=reason), now), now, *waiting, message.c.trigger == trigger)
    # What was just told to wait for something else carries another reason now.
    released = move(connection, MessageState.HELD, MessageState.QUEUED, *waiting, reason="", actor="sync", now=now)
    held = select(func.count()).where(in_batch, message.c.state == MessageState.HELD)
    return BatchVerdict(len(released), connection.execute(held).scalar_one(), total)


def _waits(**why: Any) -> MessageView:
    return MessageView(kind=MessageKind.SEND, expires_at=None, opted_out=None, **why)


def _still_held(connection: Connection, decision: Decision, now: datetime, *where: ColumnElement[bool]) -> None:
    reason = state_after(decision, now)["reason"]
    move(connection, MessageState.HELD, MessageState.HELD, *where, reason=reason, actor="sync", now=now)


def _broken(
    connection: Connection, policy: Policy | None, now: datetime, *where: ColumnElement[bool]
) -> list[tuple[str, str]]:
    """The triggers with texts there that must be held, and why."""
    if policy is None:
        return []
    triggers = (
        select(message.c.trigger)
        .distinct()
        .where(message.c.state == MessageState.HELD, message.c.trigger.is_not(None), *where)
    )
    names = sorted(connection.execute(triggers).scalars())
    return [(name, reason) for name in names if (reason := breaker.check(connection, name, policy, now)) is not None]


def _row(
    runtime: Runtime, request: SendRequest | RecordRequest, kind: MessageKind, source: str, now: datetime
) -> dict[str, Any]:
    message_id = new_message_id()
    sender = request.from_number or runtime.settings.accounts[request.account].from_number
    return {
        "id": message_id,
        "account": request.account,
        "kind": kind,
        "to_number": request.to,
        "from_number": sender,
        "text": request.message,
        "media": _json(request.media),
        "segments": count(request.message).segments,
        "source": source,
        "idempotency_key": request.idempotency_key or f"auto:{message_id}",
        "created_at": now,
        "attempts": 0,
    }


def _insert(connection: Connection, row: dict[str, Any], actor: str) -> bool:
    """Store a message with its first event. False: there is one with its key."""
    statement = insert(connection, message).values(row).on_conflict_do_nothing().returning(message.c.id)
    if connection.execute(statement).first() is None:
        return False
    made, now = [Moved(row["id"], 0, row["account"], row["kind"])], row["created_at"]
    add_events(connection, made, None, row["state"], reason=row["reason"], actor=actor, now=now)
    return True


def _insert_once(connection: Connection, row: dict[str, Any], actor: str) -> Enqueued:
    if _insert(connection, row, actor):
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


def _digest(*parts: object) -> str:
    """Of what a caller asked for: equal exactly when the requests are."""
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()


def _json(urls: Sequence[str]) -> str:
    return orjson.dumps(list(urls)).decode()
