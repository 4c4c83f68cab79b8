"""``/v1``: the routes for other services. A 2xx response means that the change is committed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import Connection

from worker.core.states import MessageState
from worker.messages.acquaintance import accounts_that_know
from worker.messages.decisions import cancel, opt_out_number
from worker.messages.explain import contact_histories
from worker.messages.opt_outs import opted_out, remove_opt_out
from worker.messages.outbox import Enqueued, enqueue_record, enqueue_send
from worker.messages.read_models import (
    MessageSummary,
    find_messages,
    message_details,
    newest_replies,
)
from worker.messages.request_problems import (
    E164_PATTERN,
    MESSAGE_ID_PATTERN,
    NO_NUL_PATTERN,
    NOT_BLANK_PATTERN,
    unknown_name,
)
from worker.messages.requests import RecordRequest, SendRequest
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web.auth import Guard, account_of, require_own_number, require_scope
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.openapi import TAKEN, problem_answers, problem_answers_to_a_body
from worker.web.problems import Problem, invalid_request
from worker.web.schemas import (
    ContactOut,
    IdempotencyKeyHeader,
    MessageDetail,
    MessageIdPath,
    MessageList,
    MessageOut,
    OptOutBody,
    OptOutOut,
    PersonOut,
    PhonePath,
    RecordBody,
    RecordOut,
    ReplyOut,
    SendBody,
    Taken,
    message_detail,
    message_out,
)

NEWEST = 20


def routes(context: WebContext) -> APIRouter:
    """Return all routes below ``/v1``."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(only_known_parameters)])
    guard = Guard(context)
    _send(router, context, guard)
    _messages(router, context, guard)
    _records(router, context, guard)
    _opt_outs(router, context, guard)
    _contacts(router, context, guard)
    return router


def only_known_parameters(request: Request) -> None:
    """Refuse unknown query parameters: a misspelt filter must not return everything. A dependency of every route."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        raise invalid_request([(name[:100], unknown_name(name, known)) for name in unknown[:20]])


def only_json(request: Request) -> None:
    """Refuse bodies that are not JSON. A dependency of every route that takes a body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Problem(415, "unsupported_media_type", "send the body as `Content-Type: application/json`")


_JSON = [Depends(only_json)]


def _send(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer = Depends(guard.needs("messages:write"))

    @router.post(
        "/messages",
        status_code=202,
        tags=["messages"],
        responses=TAKEN | problem_answers_to_a_body(),
        dependencies=_JSON,
    )
    def send_message(
        body: SendBody, response: Response, idempotency_key: IdempotencyKeyHeader = None, key: Key = writer
    ) -> Taken:
        """Send a text, now or later.

        202: the text is stored, and is sent as soon as the policy allows. `state` and `reason` describe its progress.
        """
        runtime = context.runtime
        if body.urgent:
            require_scope(key, "messages:urgent")
        require_own_number(key, body.from_number, runtime)
        request = SendRequest.parse(dict(body) | _account_and_key(runtime, key, body.account, idempotency_key))
        taken = enqueue_send(runtime, request, source="http", actor=f"key {key.name}")
        context.notify("vtsync.deliver_messages", request.account)
        return _taken(taken, response)


def _messages(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer, reader = Depends(guard.needs("messages:write")), Depends(guard.needs("messages:read"))

    @router.get("/messages", tags=["messages"], responses=problem_answers())
    def list_messages(
        state: Annotated[MessageState | None, Query(description="Only messages in this state.")] = None,
        to: Annotated[
            str | None, Query(pattern=E164_PATTERN, description="Only messages to this number, E.164.")
        ] = None,
        trigger: Annotated[
            str | None, Query(max_length=200, pattern=NO_NUL_PATTERN, description="Only messages of this trigger.")
        ] = None,
        before: Annotated[
            str | None, Query(pattern=MESSAGE_ID_PATTERN, description="`next` of the previous page.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="How many messages to return.")] = 50,
        key: Key = reader,
    ) -> MessageList:
        """List messages, newest first."""
        found = find_messages(
            context.runtime, state=state, number=to, trigger=trigger, accounts=key.accounts, before=before, limit=limit
        )
        following = found[-1].id if len(found) == limit else None
        return MessageList(messages=[message_out(one) for one in found], next=following)

    @router.get("/messages/{message_id}", tags=["messages"], responses=problem_answers(404))
    def get_message(message_id: MessageIdPath, key: Key = reader) -> MessageDetail:
        """Return one message with its history."""
        details = message_details(context.runtime, message_id, key.accounts)
        if details is None:
            raise _no_message()
        return message_detail(details)

    @router.post("/messages/{message_id}/cancel", tags=["messages"], responses=problem_answers(404, 409))
    def cancel_message(message_id: MessageIdPath, key: Key = writer) -> MessageOut:
        """Cancel a message that waits. Cancelling twice does no harm; 409: it is too late."""
        runtime = context.runtime
        before = _find_one(runtime, key, message_id)
        if before.state != MessageState.CANCELLED and not cancel(
            runtime, message_ids=[message_id], actor=f"key {key.name}"
        ):
            found = _find_one(runtime, key, message_id)
            detail = f"the message is {found.state}; only a message that waits can be cancelled"
            raise Problem(409, "too_late", detail)
        return message_out(_find_one(runtime, key, message_id))


def _records(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer = Depends(guard.needs("records:write"))

    @router.post(
        "/records", status_code=202, tags=["records"], responses=TAKEN | problem_answers_to_a_body(), dependencies=_JSON
    )
    def record_message(
        body: RecordBody,
        response: Response,
        idempotency_key: IdempotencyKeyHeader = None,
        key: Key = writer,
    ) -> Taken:
        """Put a text that was sent through a carrier into its conversation. Nobody is texted.

        Give `carrier` and `carrier_message_id`, or an `Idempotency-Key`, so that it is recorded once.
        """
        runtime = context.runtime
        require_own_number(key, body.from_number, runtime)
        request = RecordRequest.parse(dict(body) | _account_and_key(runtime, key, body.account, idempotency_key))
        taken = enqueue_record(runtime, request, source="http", actor=f"key {key.name}")
        context.notify("vtsync.record_messages", request.account)
        return _taken(taken, response)


def _opt_outs(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer, reader = Depends(guard.needs("opt-outs:write")), Depends(guard.needs("contacts:read"))
    lifter = Depends(guard.needs("opt-outs:lift"))

    @router.post("/opt-outs", tags=["opt-outs"], responses=problem_answers_to_a_body(), dependencies=_JSON)
    def opt_out(body: OptOutBody, key: Key = writer) -> OptOutOut:
        """Stop texting a number, from every account. Waiting texts to it are not sent."""
        runtime = context.runtime
        opt_out_number(
            runtime, body.phone, source="http", detail=body.reason, actor=f"key {key.name}", accounts=key.accounts
        )
        with reading(runtime.engine) as connection:
            return _opt_out_of(connection, key, body.phone)

    @router.get("/opt-outs/{phone}", tags=["opt-outs"], responses=problem_answers(404))
    def get_opt_out(phone: PhonePath, key: Key = reader) -> OptOutOut:
        """Return a number's opt-out. A key for some accounts sees only numbers that these accounts know."""
        with reading(context.runtime.engine) as connection:
            _require_known(connection, key, phone)
            return _opt_out_of(connection, key, phone)

    @router.delete("/opt-outs/{phone}", tags=["opt-outs"], responses=problem_answers(404))
    def opt_in(
        phone: PhonePath,
        reason: Annotated[
            str, Query(pattern=NOT_BLANK_PATTERN, max_length=500, description="How the person agreed; the proof.")
        ],
        key: Key = lifter,
    ) -> OptOutOut:
        """Text a number again because its owner agreed. Texts that were not sent meanwhile stay unsent.

        A key for some accounts lifts only an opt-out that became known through these accounts.
        """
        with writing(context.runtime.engine) as connection:
            _require_known(connection, key, phone)
            actor, now = f"key {key.name}", utcnow()
            remove_opt_out(connection, phone, source="http", detail=reason, now=now, actor=actor, only_of=key.accounts)
            left = _opt_out_of(connection, key, phone)
        if left.opted_out:
            detail = "this opt-out was not made through an account of this key alone; `vtsync opt-in` lifts it"
            raise Problem(403, "forbidden", detail)
        return left


def _contacts(router: APIRouter, context: WebContext, guard: Guard) -> None:
    reader = Depends(guard.needs("contacts:read"))

    @router.get("/contacts/{phone}", tags=["contacts"], responses=problem_answers(404))
    def get_contact(phone: PhonePath, key: Key = reader) -> PersonOut:
        """Return what is known about a number: contacts, CRM records, its newest texts and replies.

        A key for some accounts sees only numbers that these accounts know, and only what belongs to these accounts.
        """
        runtime = context.runtime
        with reading(runtime.engine) as connection:
            _require_known(connection, key, phone)
            has_opted_out = phone in opted_out(connection, [phone])
            contacts = [one for one in contact_histories(connection, phone) if key.may_use(one.account)]
        newest = find_messages(runtime, number=phone, accounts=key.accounts, limit=NEWEST)
        replies = newest_replies(runtime, phone, accounts=key.accounts, limit=NEWEST)
        return PersonOut(
            phone=phone,
            opted_out=has_opted_out,
            contacts=[
                ContactOut(
                    account=one.account,
                    virtualtext_id=one.virtualtext_id,
                    full_name=one.full_name,
                    email=one.email,
                    records=[RecordOut(connection=r.connection, external_id=r.external_id) for r in one.records],
                )
                for one in contacts
            ],
            messages=[message_out(one) for one in newest],
            replies=[
                ReplyOut(account=one.account, message=one.text, keyword=one.keyword, received_at=one.received_at)
                for one in replies
            ],
        )


def _account_and_key(runtime: Runtime, key: Key, account: str | None, idempotency_key: str | None) -> dict[str, object]:
    """Return the fields of a request that are not in its body. The keys of two callers never collide."""
    own_key = None if idempotency_key is None else f"http:{key.id}:{idempotency_key}"
    return {"account": account_of(key, account, runtime), "idempotency_key": own_key}


def _taken(enqueued: Enqueued, response: Response) -> Taken:
    response.headers["Location"] = f"/v1/messages/{enqueued.message_id}"
    if enqueued.duplicate:
        response.headers["Idempotent-Replayed"] = "true"
    return Taken(id=enqueued.message_id, state=enqueued.state, reason=enqueued.reason, duplicate=enqueued.duplicate)


def _find_one(runtime: Runtime, key: Key, message_id: str) -> MessageSummary:
    found = find_messages(runtime, message_id=message_id, accounts=key.accounts, limit=1)
    if not found:
        raise _no_message()
    return found[0]


def _no_message() -> Problem:
    return Problem(404, "not_found", "there is no message with this id that this key may see")


def _require_known(connection: Connection, key: Key, phone: str) -> None:
    """Raise the problem 404 where the number is not one of the people of the key's accounts."""
    if key.accounts and not accounts_that_know(connection, phone, key.accounts):
        detail = (
            "the accounts of this key have no contact, text or opt-out with this number; this does not say whether its"
            " owner has opted out, which is checked for every text"
        )
        raise Problem(404, "not_found", detail)


def _opt_out_of(connection: Connection, key: Key, phone: str) -> OptOutOut:
    """Return the opt-out, which counts for all accounts; how it was made is shown only to keys of its account."""
    found = opted_out(connection, [phone]).get(phone)
    if found is None:
        return OptOutOut(phone=phone, opted_out=False)
    if not key.may_use(found.account):
        return OptOutOut(phone=phone, opted_out=True)
    return OptOutOut(phone=phone, opted_out=True, since=found.since, source=found.source, detail=found.detail)
