"""``/v1``: what services ask for. A 2xx answer means that it is committed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from worker.core.phones import is_e164
from worker.core.states import MessageState
from worker.messages.decisions import cancel, opt_out_number
from worker.messages.explain import explain
from worker.messages.history import replies, story
from worker.messages.listing import ListedMessage, find_messages
from worker.messages.opt_outs import opted_out, remove_opt_out
from worker.messages.outbox import Enqueued, RecordRequest, SendRequest, enqueue_record, enqueue_send
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web.auth import Guard, account_of
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.openapi import TAKEN, problems, taking_a_body
from worker.web.problems import Problem
from worker.web.schemas import (
    E164,
    NO_NUL,
    WORDS,
    ContactOut,
    IdempotencyKey,
    MessageDetail,
    MessageId,
    MessageList,
    MessageOut,
    OptOutBody,
    OptOutOut,
    PersonOut,
    Phone,
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
    """All routes below ``/v1``."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(only_known_parameters)])
    guard = Guard(context)
    _send(router, context, guard)
    _messages(router, context, guard)
    _records(router, context, guard)
    _opt_outs(router, context, guard)
    _contacts(router, context, guard)
    return router


def only_known_parameters(request: Request) -> None:
    """A dependency of every route: a filter with a typing error must not bring everything."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        words = f"there is no such parameter; there are: {', '.join(known) or 'none'}"
        detail = "the request cannot be done as it stands"
        raise Problem(422, "invalid_request", detail, errors=[(name[:100], words) for name in unknown[:20]])


def only_json(request: Request) -> None:
    """A dependency of what takes a body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Problem(415, "unsupported_media_type", "send the body as `Content-Type: application/json`")


_JSON = [Depends(only_json)]


def _send(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer = Depends(guard.needs("messages:write"))

    @router.post("/messages", status_code=202, tags=["messages"], responses=TAKEN | taking_a_body(), dependencies=_JSON)
    def send_message(
        body: SendBody, response: Response, idempotency_key: IdempotencyKey = None, key: Key = writer
    ) -> Taken:
        """Send a text, now or later.

        202: it is kept, and goes out as soon as the policy allows. `state` and `reason` say how it stands.
        """
        runtime = context.runtime
        account = account_of(key, body.account, runtime)
        request = SendRequest(
            account=account,
            to=body.to,
            message=body.message,
            media=tuple(body.media),
            from_number=body.from_number,
            idempotency_key=_own(key, idempotency_key),
            send_at=body.send_at,
            expires_at=body.expires_at,
            urgent=body.urgent,
        )
        taken = enqueue_send(runtime, request, source="http", actor=f"key {key.name}")
        context.tell("vtsync.deliver_messages", account)
        return _taken(taken, response)


def _messages(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer, reader = Depends(guard.needs("messages:write")), Depends(guard.needs("messages:read"))

    @router.get("/messages", tags=["messages"], responses=problems())
    def list_messages(
        state: Annotated[MessageState | None, Query(description="Only those in this state.")] = None,
        to: Annotated[str | None, Query(pattern=E164, description="Only those to this number, E.164.")] = None,
        trigger: Annotated[
            str | None, Query(max_length=200, pattern=NO_NUL, description="Only those of this trigger.")
        ] = None,
        before: Annotated[
            str | None, Query(pattern=r"^[0-9a-f]{32}$", description="`next` of the page before.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="How many.")] = 50,
        key: Key = reader,
    ) -> MessageList:
        """Messages, the newest first."""
        found = find_messages(
            context.runtime, state=state, number=to, trigger=trigger, accounts=key.accounts, before=before, limit=limit
        )
        following = found[-1].id if len(found) == limit else None
        return MessageList(messages=[message_out(one) for one in found], next=following)

    @router.get("/messages/{message_id}", tags=["messages"], responses=problems(404))
    def get_message(message_id: MessageId, key: Key = reader) -> MessageDetail:
        """One message as it stands, and how it came there."""
        return message_detail(_one(context.runtime, key, message_id), story(context.runtime, message_id))

    @router.post("/messages/{message_id}/cancel", tags=["messages"], responses=problems(404, 409))
    def cancel_message(message_id: MessageId, key: Key = writer) -> MessageOut:
        """Do not send what waits. Cancelling twice does no harm; 409: it is too late."""
        runtime = context.runtime
        before = _one(runtime, key, message_id)
        if before.state != MessageState.CANCELLED and not cancel(
            runtime, message_ids=[message_id], actor=f"key {key.name}"
        ):
            found = _one(runtime, key, message_id)
            raise Problem(409, "too_late", f"the message is {found.state}; only what waits can be cancelled")
        return message_out(_one(runtime, key, message_id))


def _records(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer = Depends(guard.needs("records:write"))

    @router.post("/records", status_code=202, tags=["records"], responses=TAKEN | taking_a_body(), dependencies=_JSON)
    def record_message(
        body: RecordBody,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        key: Key = writer,
    ) -> Taken:
        """Put a text that was sent through a carrier into its conversation. Nobody is texted.

        Give `carrier` and `carrier_message_id`, or an `Idempotency-Key`, so that it is recorded once.
        """
        runtime = context.runtime
        account = account_of(key, body.account, runtime)
        request = RecordRequest(
            account=account,
            to=body.to,
            message=body.message,
            media=tuple(body.media),
            from_number=body.from_number,
            idempotency_key=_own(key, idempotency_key),
            carrier=body.carrier,
            carrier_message_id=body.carrier_message_id,
            sent_at=body.sent_at,
        )
        taken = enqueue_record(runtime, request, source="http", actor=f"key {key.name}")
        context.tell("vtsync.record_messages", account)
        return _taken(taken, response)


def _opt_outs(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer, reader = Depends(guard.needs("opt-outs:write")), Depends(guard.needs("contacts:read"))

    @router.post("/opt-outs", tags=["opt-outs"], responses=taking_a_body(), dependencies=_JSON)
    def opt_out(body: OptOutBody, key: Key = writer) -> OptOutOut:
        """Text a number no more, from any account; what waits for it is not sent."""
        _real(body.phone)
        runtime = context.runtime
        opt_out_number(runtime, body.phone, source="http", detail=body.reason, actor=f"key {key.name}")
        return _standing(runtime, body.phone)

    @router.get("/opt-outs/{phone}", tags=["opt-outs"], responses=problems(), dependencies=[reader])
    def get_opt_out(phone: Phone) -> OptOutOut:
        """Whether a number may be texted."""
        return _standing(context.runtime, phone)

    @router.delete("/opt-outs/{phone}", tags=["opt-outs"], responses=problems())
    def opt_in(
        phone: Phone,
        reason: Annotated[str, Query(pattern=WORDS, max_length=500, description="How the person agreed; the proof.")],
        key: Key = writer,
    ) -> OptOutOut:
        """A number may be texted again, because its owner said so. What was not sent meanwhile stays unsent."""
        runtime = context.runtime
        with writing(runtime.engine) as connection:
            remove_opt_out(connection, phone, source="http", detail=reason, now=utcnow(), actor=f"key {key.name}")
        return _standing(runtime, phone)


def _contacts(router: APIRouter, context: WebContext, guard: Guard) -> None:
    reader = Depends(guard.needs("contacts:read"))

    @router.get("/contacts/{phone}", tags=["contacts"], responses=problems())
    def get_contact(phone: Phone, key: Key = reader) -> PersonOut:
        """All that is known of a number: contacts, CRM records, its newest texts and replies."""
        runtime = context.runtime
        found = explain(runtime, phone)
        contacts = [
            ContactOut(
                account=one.account,
                virtualtext_id=one.virtualtext_id,
                full_name=one.full_name,
                email=one.email,
                records=[RecordOut(connection=r.connection, external_id=r.external_id) for r in one.records],
            )
            for one in found.contacts
            if key.may_use(one.account)
        ]
        newest = find_messages(runtime, number=phone, accounts=key.accounts, limit=NEWEST)
        return PersonOut(
            phone=phone,
            opted_out=found.opted_out is not None,
            contacts=contacts,
            messages=[message_out(one) for one in newest],
            replies=[
                ReplyOut(account=one.account, message=one.text, keyword=one.keyword, received_at=one.received_at)
                for one in replies(runtime, phone, accounts=key.accounts, limit=NEWEST)
            ],
        )


def _own(key: Key, given: str | None) -> str | None:
    """Keys of two callers never meet."""
    return None if given is None else f"http:{key.id}:{given}"


def _taken(enqueued: Enqueued, response: Response) -> Taken:
    response.headers["Location"] = f"/v1/messages/{enqueued.message_id}"
    if enqueued.duplicate:
        response.headers["Idempotent-Replayed"] = "true"
    return Taken(id=enqueued.message_id, state=enqueued.state, reason=enqueued.reason, duplicate=enqueued.duplicate)


def _one(runtime: Runtime, key: Key, message_id: str) -> ListedMessage:
    found = find_messages(runtime, message_id=message_id, accounts=key.accounts, limit=1)
    if not found:
        raise Problem(404, "not_found", "there is no message with this id that this key may see")
    return found[0]


def _standing(runtime: Runtime, phone: str) -> OptOutOut:
    with reading(runtime.engine) as connection:
        found = opted_out(connection, [phone]).get(phone)
    if found is None:
        return OptOutOut(phone=phone, opted_out=False)
    return OptOutOut(phone=phone, opted_out=True, since=found.since, source=found.source, detail=found.detail)


def _real(phone: str) -> None:
    if not is_e164(phone):
        words = "must be the number of a phone that can be texted, in E.164"
        raise Problem(422, "invalid_request", "the number is not one", errors=[("/phone", words)])
