"""One request for one claimed message: the intent is committed, then the request is made, then its result is kept.

Shared by ``delivery`` and ``recording``, which differ in what they ask before and conclude after it.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import OperationalError

from worker.core.logs import carrying_on, working_on
from worker.core.phones import mask
from worker.core.states import MessageState
from worker.limits.account_gate import (
    Permit,
    begin_probe,
    clear_stop,
    close_breaker,
    may_call,
    open_breaker,
    pause_account,
    slow_down,
    stop_account,
)
from worker.limits.limiter import PATIENCE_SECONDS
from worker.messages.claims import Claim, owned, release
from worker.messages.opt_outs import add_opt_out
from worker.messages.results import Result
from worker.messages.transitions import Moved, move
from worker.runtime import Runtime, StopSignal
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import message
from worker.virtualtext.outcomes import Cause, MessageBody, Outcome, Receipt, Status

# Enough for every thread to stay busy, few enough that what a vanished worker held is soon free again.
BATCH_PER_THREAD = 8
# No request starts when less than its longest duration and this remains of the lease.
LEASE_MARGIN_SECONDS = 5.0
# A result is worth waiting for a busy store: without it a text that is known becomes unknown.
WRITE_ATTEMPTS = 5
WRITE_WAIT_SECONDS = 0.1

PLACE_SECONDS = 0.2
"""Between two looks for a place for one more request in flight."""
NO_ROOM = "the account {account} makes as many requests as its limits allow"

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


def begin(connection: Connection, account: str, claim: Claim, row: Row[Any], now: datetime) -> Attempt | None:
    """Write down that this request is being made, to be committed before it is.

    None: the account may not be called now, or the message is not this claim's any more.
    """
    permit = may_call(connection, account, now)
    if not permit:
        return None
    if permit.probe and not begin_probe(connection, account, now, (claim.until - now).total_seconds()):
        return None
    body = MessageBody(row.to_number, row.from_number, row.text, tuple(orjson.loads(row.media)))
    digest = body_hash(body)
    moved = move(
        connection,
        MessageState.QUEUED,
        MessageState.DISPATCHING,
        owned(claim.owner, row.id),
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
    return Attempt(row.id, account, claim.owner, moved[0].attempt, body, digest, now, row.expires_at, permit.probe)


def finish(
    connection: Connection,
    attempt: Attempt,
    result: Result,
    now: datetime,
    *,
    rate: float | None = None,
    breaks: bool = False,
) -> bool:
    """Keep what a request came to. False: somebody else has settled the message meanwhile.

    ``rate``: the fleet's requests a second when the platform asked for fewer. ``breaks``: it fails again and again.
    """
    if result.stop:
        stop_account(connection, attempt.account, result.stop, now)
    if result.pause_until is not None:
        pause_account(connection, attempt.account, result.pause_until, "VirtualText asked to wait")
    if rate is not None:
        slow_down(connection, attempt.account, rate, now)
    if breaks or (attempt.probe and result.failed):
        open_breaker(connection, attempt.account, now, result.words, probe=attempt.probe)
    if attempt.probe and result.proves_access:
        close_breaker(connection, attempt.account)
    if result.proves_access and attempt.probe:
        clear_stop(connection, attempt.account, attempt.began_at)
    if result.opted_out:
        add_opt_out(
            connection,
            attempt.body.to,
            source="virtualtext",
            detail=result.reason,
            now=now,
            account=attempt.account,
        )
    moved = _move_to(connection, MessageState.DISPATCHING, attempt, result, now) or (
        result.definite and _late_truth(connection, attempt, result, now)
    )
    log.info(
        "message attempted",
        message=attempt.message_id,
        to=mask(attempt.body.to),
        attempt=attempt.number,
        state=str(result.state),
        reason=result.reason,
        kept=bool(moved),
    )
    return bool(moved)


def _move_to(
    connection: Connection, before: MessageState, attempt: Attempt, result: Result, now: datetime
) -> list[Moved]:
    values: dict[str, Any] = {"reference_code": result.reference_code}
    if result.due_at is not None:
        values["due_at"] = result.due_at
    if result.virtualtext_message_id is not None:
        values["virtualtext_message_id"] = result.virtualtext_message_id
    return move(
        connection,
        before,
        result.state,
        message.c.id == attempt.message_id,
        # The same request and no other: a later attempt has another number.
        message.c.attempts == attempt.number,
        message.c.body_hash == attempt.body_hash,
        *([message.c.lease_owner == attempt.owner] if before is MessageState.DISPATCHING else []),
        reason=result.reason,
        actor="worker",
        now=now,
        **values,
    )


def _late_truth(connection: Connection, attempt: Attempt, result: Result, now: datetime) -> list[Moved]:
    """The claim was taken away while the request ran, yet its end is known: better than unknown.

    A text that was sent after all also ends a resend that a person asked for and that has not begun.
    """
    settled = _move_to(connection, MessageState.UNKNOWN, attempt, result, now)
    if not settled and result.state is MessageState.ACCEPTED:
        settled = _move_to(connection, MessageState.QUEUED, attempt, result, now)
    return settled


def body_hash(body: MessageBody) -> str:
    """Of what goes on the wire."""
    content = orjson.dumps([body.to, body.from_number, body.text, body.media])
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def claimed_row(connection: Connection, owner: str, message_id: str) -> Row[Any] | None:
    """The message as it is now, when the claim on it still holds and it has not been started."""
    mine = select(message).where(owned(owner, message_id), message.c.state == MessageState.QUEUED)
    return connection.execute(mine).one_or_none()


def in_time(runtime: Runtime, account: str, claim: Claim, now: datetime) -> bool:
    """Whether a request may still start: nobody asked to stop, and its whole duration fits into the lease."""
    longest = timedelta(seconds=runtime.request_seconds(account) + LEASE_MARGIN_SECONDS)
    return not runtime.stop.requested and now + longest <= claim.until


def request(attempt: Attempt, call: Callable[[MessageBody], Outcome[Receipt]]) -> Outcome[Receipt]:
    """Make the request. An error of our own after this point is an unknown outcome, too."""
    try:
        return call(attempt.body)
    except Exception as error:  # noqa: BLE001 - whatever it is, the text may be on its way
        # Neither the error's own text nor local values: they may hold the text, the number or the credential.
        trace = "".join(traceback.format_tb(error.__traceback__))
        kind = type(error).__name__
        log.error("request failed in the worker", message=attempt.message_id, error=kind, trace=trace)  # noqa: TRY400
        detail = f"the worker failed with {kind} during the request"
        return Outcome(Status.UNKNOWN, cause=Cause.CONNECTION_LOST, detail=detail)


def keep(runtime: Runtime, attempt: Attempt, result: Result) -> None:
    """``finish`` in a transaction of its own, tried again while the store is busy or away."""
    rate = None if result.pause_until is None else runtime.limiter.observed_rate(attempt.account)
    served = result.failed or result.proves_access
    breaks = served and runtime.failures(attempt.account).add(failed=result.failed)
    for number in range(1, WRITE_ATTEMPTS + 1):
        try:
            with writing(runtime.engine) as connection:
                finish(connection, attempt, result, utcnow(), rate=rate, breaks=breaks)
        except OperationalError:
            if number == WRITE_ATTEMPTS:
                raise
            log.warning("store is away, the result of a request waits", message=attempt.message_id)
            time.sleep(WRITE_WAIT_SECONDS * 4**number)
        else:
            return


def work_off(
    runtime: Runtime,
    account: str,
    take: Callable[[Connection, datetime, float, int], Claim],
    one: Callable[[Claim, str], MessageState | None],
    limit: int | None,
) -> tuple[Counter[MessageState], str]:
    """Claim and work until nothing is due, ``limit`` messages are done, a stop is asked for or the account waits.

    ``take`` claims (connection, now, lease seconds, how many); ``one`` says where a message went, None: left as it
    was. Returns how many went where, and why the account waits ("" when it does not).
    """
    with working_on(account=account):
        return _work_off(runtime, account, take, one, limit)


def _work_off(
    runtime: Runtime,
    account: str,
    take: Callable[[Connection, datetime, float, int], Claim],
    one: Callable[[Claim, str], MessageState | None],
    limit: int | None,
) -> tuple[Counter[MessageState], str]:
    reached: Counter[MessageState] = Counter()
    batch = runtime.settings.accounts[account].concurrency * BATCH_PER_THREAD
    while not runtime.stop.requested:
        permit = permitted(runtime, account, runtime.stop)
        if not permit:
            return reached, permit.reason
        size = batch if limit is None else min(batch, limit - reached.total())
        if size <= 0:
            break
        with runtime.in_flight(account, "text") as places:
            if places:
                with writing(runtime.engine) as connection:
                    most = 1 if permit.probe else size
                    claim = take(connection, utcnow(), runtime.lease_seconds(account), most)
                states, held_back = _work_through(runtime, account, claim, one, places, permit.ceiling)
        if not places:
            runtime.stop.wait(PLACE_SECONDS)
            continue
        reached += states
        if not states:
            return reached, NO_ROOM.format(account=account) if held_back else ""
    return reached, ""


def permitted(runtime: Runtime, account: str, stop: StopSignal) -> Permit:
    """Whether the account may be called now. A pause that is over in a moment is waited for."""
    while True:
        with reading(runtime.engine) as connection:
            permit = may_call(connection, account, now := utcnow())
        wait = permit.seconds(now)
        if permit or wait > PATIENCE_SECONDS or not stop.wait(wait):
            return permit


def _work_through(
    runtime: Runtime,
    account: str,
    claim: Claim,
    one: Callable[[Claim, str], MessageState | None],
    at_once: int,
    ceiling: float | None,
) -> tuple[Counter[MessageState], bool]:
    """Conversations in parallel, each in its order; what was not started is given back.

    Returns how many went where, and whether any was held back by a rate.
    """
    if not claim.conversations:
        return Counter(), False
    runtime.limiter.note(account, sum(map(len, claim.conversations)))
    held_back = False

    def attend(message_id: str) -> MessageState | None:
        with working_on(message=message_id):
            return one(claim, message_id)

    def conversation(ids: tuple[str, ...]) -> list[MessageState]:
        nonlocal held_back
        states = []
        for message_id in ids:
            if not runtime.turn(account, "text", ceiling, runtime.stop):
                held_back = True
                break
            if (state := attend(message_id)) is not None:
                states.append(state)
        return states

    reached: Counter[MessageState] = Counter()
    threads = min(at_once, len(claim.conversations))
    try:
        if threads == 1:  # most often one text alone, which need not wait for a thread to start
            for ids in claim.conversations:
                reached.update(conversation(ids))
            return reached, held_back
        with ThreadPoolExecutor(threads, thread_name_prefix=f"messages-{account}") as pool:
            for states in pool.map(carrying_on(conversation), claim.conversations):
                reached.update(states)
    finally:
        with writing(runtime.engine) as connection:
            release(connection, claim.owner)
    return reached, held_back
