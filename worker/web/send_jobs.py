"""Send jobs of API keys: what the key may ask for, and many jobs in one request."""

from __future__ import annotations

from collections.abc import Sequence

from worker.messages.outbox import Enqueued
from worker.messages.requests import IdempotencyConflict, InvalidRequest, SendRequest
from worker.messages.send_many import NotStored, SendOutcome, enqueue_many
from worker.runtime import Runtime
from worker.web.auth import account_of, require_own_number, require_scope
from worker.web.keys import Key
from worker.web.problems import Problem, ProblemBody, conflict_problem, refused_problem, unavailable_problem
from worker.web.schemas import BatchBody, BatchItem, BatchOut, BatchOutcome, SendBody, Taken


def own_key(key: Key, idempotency_key: str | None) -> str | None:
    """Return an idempotency key as the outbox stores it. The keys of two callers never collide."""
    return None if idempotency_key is None else f"http:{key.id}:{idempotency_key}"


def send_request(runtime: Runtime, key: Key, body: SendBody, idempotency_key: str | None) -> SendRequest:
    """Return the job of a body, if the key may ask for it. Raises Problem, InvalidRequest."""
    if body.urgent:
        require_scope(key, "messages:urgent")
    require_own_number(key, body.from_number, runtime)
    account = account_of(key, body.account, runtime)
    return SendRequest.parse(dict(body) | {"account": account, "idempotency_key": own_key(key, idempotency_key)})


def taken(enqueued: Enqueued) -> Taken:
    """Return a stored job as the API shows it."""
    return Taken(
        id=enqueued.message_id,
        state=enqueued.state,
        reason=enqueued.reason,
        duplicate=enqueued.duplicate,
        test=enqueued.test,
        expected_at=enqueued.expected_at,
    )


def send_batch(runtime: Runtime, key: Key, body: BatchBody, batch_key: str | None) -> tuple[BatchOut, set[str]]:
    """Store the texts of a batch. Return their outcomes, and the accounts that have something to send.

    ``batch_key`` gives each text without a key one of its own, so that the whole batch can be repeated.
    """
    read = [_read(runtime, key, item, batch_key, index) for index, item in enumerate(body.items())]
    good = [one for one in read if isinstance(one, SendRequest)]
    stored = iter(enqueue_many(runtime, good, source="http", actor=key.actor, test=key.test))
    outcomes = [next(stored) if isinstance(one, SendRequest) else one for one in read]
    accounts = {
        one.account for one, outcome in zip(read, outcomes, strict=True)
        if isinstance(one, SendRequest) and isinstance(outcome, Enqueued)
    }  # fmt: skip
    return _batch_out(outcomes), accounts


def _read(
    runtime: Runtime, key: Key, item: BatchItem | InvalidRequest, batch_key: str | None, index: int
) -> SendRequest | InvalidRequest | Problem:
    if isinstance(item, InvalidRequest):
        return item
    key_of_item = item.idempotency_key
    if key_of_item is None and batch_key is not None:
        key_of_item = f"{batch_key} {index}"  # no caller's own key has a space
    body = SendBody.model_construct(**{name: getattr(item, name) for name in SendBody.model_fields})
    try:
        return send_request(runtime, key, body, key_of_item)
    except (InvalidRequest, Problem) as error:
        return error


def _batch_out(outcomes: Sequence[SendOutcome | Problem]) -> BatchOut:
    shown = [_outcome(one) for one in outcomes]
    stored = sum(one.taken is not None for one in shown)
    return BatchOut(stored=stored, refused=len(shown) - stored, outcomes=shown)


def _outcome(outcome: SendOutcome | Problem) -> BatchOutcome:
    if isinstance(outcome, Enqueued):
        return BatchOutcome(status=202, taken=taken(outcome))
    if isinstance(outcome, InvalidRequest):
        outcome = refused_problem(outcome, of_batch=True)
    elif isinstance(outcome, IdempotencyConflict):
        outcome = conflict_problem(outcome)
    elif isinstance(outcome, NotStored):
        outcome = unavailable_problem() if outcome.again else Problem(500, "internal_error", UNFORESEEN)
    return BatchOutcome(status=outcome.status, problem=ProblemBody.model_validate(outcome.body))


UNFORESEEN = "this is an error of vtsync, and the text is not stored; the log of `vtsync web` has it under this id"
