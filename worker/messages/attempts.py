"""One attempt at one message: commit that the request is being made, make it, store its result."""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection, Row

from worker.core.backoff import Backoff
from worker.core.phones import mask
from worker.core.states import MessageState
from worker.limits.account_effect import AccountEffect, account_effect, counts_as_failure
from worker.limits.account_gate import apply_effect, begin_probe, may_call
from worker.messages.claims import owned
from worker.messages.opt_outs import add_opt_out
from worker.messages.results import AttemptResult
from worker.messages.states import Ground
from worker.messages.transitions import LEASE, Moved, move, reason_code
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, writing
from worker.store.leases import Lease
from worker.store.models import utcnow
from worker.store.sealed import is_hash
from worker.store.tables import message
from worker.virtualtext.outcomes import Cause, MessageBody, Outcome, Receipt, Status

# Storing a result is worth waiting for a busy store: without it, a text with a known result becomes unknown.
WRITE_ATTEMPTS = 5
WRITE_BACKOFF = Backoff(first=0.4, longest=30, factor=4)
STOP_WRITE_SECONDS = 25
"""A process that stops tries no longer than this, so that it ends before it is killed."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request that is committed as being made."""

    message_id: str
    account: str
    owner: str
    number: int
    body: MessageBody
    body_hash: str
    began_at: datetime
    expires_at: datetime | None
    probe: bool


def begin_attempt(connection: Connection, account: str, lease: Lease, row: Row[Any], now: datetime) -> Attempt | None:
    """Store that this request is being made. The caller commits before it makes the request.

    None: the account may not be called now, or the lease on the message was lost.
    """
    permit = may_call(connection, account, now)
    if not permit:
        return None
    if permit.probe and not begin_probe(connection, account, now, (lease.until - now).total_seconds()):
        return None
    body = MessageBody(row.to_number, row.from_number, row.text, tuple(orjson.loads(row.media)))
    digest = body_hash(body)
    moved = move(
        connection,
        MessageState.QUEUED,
        MessageState.DISPATCHING,
        owned(lease.owner, row.id),
        ground=Ground.ATTEMPT,
        reason="",
        actor="worker",
        now=now,
        keep_lease=True,
        attempts=message.c.attempts + 1,
        attempted_at=now,
        body_hash=digest,
    )
    if not moved:
        return None
    return Attempt(row.id, account, lease.owner, moved[0].attempt, body, digest, now, row.expires_at, permit.probe)


def body_hash(body: MessageBody) -> str:
    """Return the hash of what the request sends."""
    content = orjson.dumps([body.to, body.from_number, body.text, body.media])
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def make_request(attempt: Attempt, call: Callable[[MessageBody], Outcome[Receipt]]) -> Outcome[Receipt]:
    """Make the request. An error in the worker itself is an unknown outcome, because the text may be on its way."""
    try:
        return call(attempt.body)
    except Exception as error:  # noqa: BLE001 - whatever it is, the text may be on its way
        # Log neither the error's own text nor local values: they may hold the text, the number or the credential.
        trace = "".join(traceback.format_tb(error.__traceback__))
        kind = type(error).__name__
        log.error("request failed in the worker", message=attempt.message_id, error=kind, trace=trace)  # noqa: TRY400
        detail = f"the worker failed with {kind} during the request"
        return Outcome(Status.UNKNOWN, cause=Cause.CONNECTION_LOST, detail=detail)


def store_result(runtime: Runtime, attempt: Attempt, outcome: Outcome[Receipt], result: AttemptResult) -> None:
    """Store what the outcome means for the message and for its account, in a transaction of its own.

    Tries again while the store is busy or cannot be reached.
    """
    opens_breaker = runtime.failures(attempt.account).add(failed=counts_as_failure(outcome, "text"))
    effect = account_effect(outcome, "text", probe=attempt.probe, opens_breaker=opens_breaker)
    rate = runtime.limiter.observed_rate(attempt.account) if effect.lowers_rate else None
    began = time.monotonic()
    for number in range(1, WRITE_ATTEMPTS + 1):
        try:
            with writing(runtime.engine) as connection:
                finish_attempt(connection, attempt, result, effect, utcnow(), rate=rate)
        except STORE_AWAY:
            is_late = runtime.stop.requested and time.monotonic() - began > STOP_WRITE_SECONDS
            if number == WRITE_ATTEMPTS or is_late:
                raise
            log.warning(
                "the store cannot be reached; the result of a request is stored later", message=attempt.message_id
            )
            time.sleep(WRITE_BACKOFF.seconds(number))
        else:
            return


def finish_attempt(
    connection: Connection,
    attempt: Attempt,
    result: AttemptResult,
    effect: AccountEffect,
    now: datetime,
    *,
    rate: float | None = None,
) -> None:
    """Store the result of a request, unless the message was resolved in another way meanwhile.

    ``rate``: the fleet's requests a second when VirtualText asked for fewer.
    """
    apply_effect(connection, attempt.account, effect, now, began_at=attempt.began_at, probe=attempt.probe, rate=rate)
    if result.opted_out:
        add_opt_out(
            connection,
            attempt.body.to,
            source="virtualtext",
            detail=result.reason,
            now=now,
            account=attempt.account,
        )
    moved = _move_from(connection, MessageState.DISPATCHING, attempt, result, now, LEASE.is_held_by(attempt.owner))
    if not moved and result.definite:
        moved = _move_late(connection, attempt, result, now)
    log.info(
        "message attempted",
        message=attempt.message_id,
        to=mask(attempt.body.to),
        attempt=attempt.number,
        state=str(result.state),
        reason=reason_code(result.reason),  # without what VirtualText says, which may repeat the text
        reference=result.reference_code,
        kept=bool(moved),
    )


def _move_from(
    connection: Connection, before: MessageState, attempt: Attempt, result: AttemptResult, now: datetime, *where: Any
) -> list[Moved]:
    values: dict[str, Any] = {"reference_code": result.reference_code}
    if result.due_at is not None:
        values["due_at"] = result.due_at
    if not result.definite:
        values["unanswered_at"] = attempt.began_at
    if result.virtualtext_message_id is not None:
        values["virtualtext_message_id"] = result.virtualtext_message_id
    return move(
        connection,
        before,
        result.state,
        message.c.id == attempt.message_id,
        # Only the message of this attempt: a later attempt has another number.
        message.c.attempts == attempt.number,
        is_hash(message.c.body_hash, attempt.body_hash),
        *where,
        ground=result.ground,
        reason=result.reason,
        actor="worker",
        now=now,
        **values,
    )


def _move_late(connection: Connection, attempt: Attempt, result: AttemptResult, now: datetime) -> list[Moved]:
    """Store a definite result although the claim was lost during the request: it is better than unknown.

    A text that was sent after all also ends a resend that a person asked for and that has not begun.
    """
    moved = _move_from(connection, MessageState.UNKNOWN, attempt, result, now)
    if not moved and result.state is MessageState.ACCEPTED:
        moved = _move_from(connection, MessageState.QUEUED, attempt, result, now)
    return moved
