"""``/v1``: what services ask for. A 2xx answer means that it is committed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from worker.hints import hint
from worker.messages.decisions import cancel
from worker.messages.explain import explain
from worker.messages.listing import ListedMessage, find_messages
from worker.messages.opt_outs import add_opt_out, opted_out, remove_opt_out
from worker.messages.outbox import Enqueued, RecordRequest, SendRequest, enqueue_record, enqueue_send
from worker.phones import is_e164
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import MessageState, utcnow
from worker.web.auth import Guard, account_of
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.problems import MEDIA_TYPE, Problem, ProblemBody

E164 = r"^\+[1-9][0-9]{6,14}$"
LONGEST_KEY = 150

Phone = Annotated[str, Path(pattern=E164, description="E.164.", examples=["+14155552671"])]
MessageId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["01931f6ac2d97b6aa1f2b3c4d5e6f708"])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        pattern=r"^[!-~]+$",
        description="The same request with the same key does nothing twice. Without one, each request is a new text.",
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SendBody(_Body):
    """A text to send, now or later."""

    account: str | None = Field(None, description="Left out: the only one that there is.", examples=["main"])
    to: str = Field(pattern=E164, examples=["+14155552671"])
    message: str = Field(
        "", max_length=1600, description="May be empty when there is media.", examples=["Your table is ready."]
    )
    media: list[str] = Field(
        default_factory=list, max_length=10, description="Public URLs.", examples=[["https://example.com/menu.png"]]
    )
    from_number: str | None = Field(None, pattern=E164, description="Left out: the account's number.")
    send_at: datetime | None = Field(None, description="Not before, with a zone.", examples=["2027-03-01T14:30:00Z"])
    expires_at: datetime | None = Field(None, description="Not after; left out: policy.expires_after later.")
    urgent: bool = Field(False, description="Also in quiet hours: only for what the person waits for right now.")


class RecordBody(_Body):
    """A text that was sent already, through a carrier. It is put into the conversation; nobody is texted."""

    account: str | None = Field(None, description="Left out: the only one that there is.", examples=["main"])
    to: str = Field(pattern=E164, examples=["+14155552671"])
    message: str = Field("", max_length=1600, examples=["Your code is 123456."])
    media: list[str] = Field(default_factory=list, max_length=10)
    from_number: str | None = Field(None, pattern=E164, description="Left out: the account's number.")
    carrier: str | None = Field(None, max_length=40, examples=["twilio"])
    carrier_message_id: str | None = Field(
        None, max_length=100, description="With `carrier`: it is recorded once.", examples=["SM0123456789abcdef"]
    )
    sent_at: datetime | None = Field(None, description="When, with a zone: its place in the conversation.")


class OptOutBody(_Body):
    """A number to be texted no more."""

    phone: str = Field(pattern=E164, examples=["+14155552671"])
    reason: str = Field(
        min_length=1, max_length=500, description="Kept as the proof.", examples=["asked at the counter"]
    )


class Taken(BaseModel):
    """What a request has become."""

    id: str
    state: str = Field(examples=["queued"])
    reason: str = Field(description="Why it is in this state: a code, then words for a person.", examples=[""])
    duplicate: bool = Field(description="An earlier request made it.")


class MessageOut(BaseModel):
    """One message."""

    id: str
    account: str
    kind: str = Field(examples=["send"])
    state: str = Field(examples=["accepted"])
    reason: str
    to: str
    from_number: str
    message: str
    segments: int
    source: str = Field(examples=["http"])
    trigger: str | None
    created_at: datetime
    due_at: datetime
    attempts: int
    virtualtext_message_id: str | None


class MessageList(BaseModel):
    """A page of messages, the newest first. ``next``: the value of `before` for the next page."""

    messages: list[MessageOut]
    next: str | None


class OptOutOut(BaseModel):
    """Whether a number may be texted."""

    phone: str
    opted_out: bool
    since: datetime | None = None
    source: str | None = Field(None, examples=["relay"])
    detail: str | None = None


class RecordOut(BaseModel):
    """A CRM record with the number."""

    connection: str
    external_id: str


class ContactOut(BaseModel):
    """A VirtualText contact."""

    account: str
    virtualtext_id: str | None
    full_name: str
    email: str
    records: list[RecordOut]


class PersonOut(BaseModel):
    """All that is known of a number."""

    phone: str
    opted_out: bool
    contacts: list[ContactOut]
    messages: list[MessageOut]


_WORDS = {
    400: "Not JSON.",
    401: "No valid key.",
    403: "The key lacks the scope, or may not use the account.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "It cannot be done in the present state.",
    413: "The body is too long.",
    422: "Something in the request is wrong; `errors` says what.",
    429: "Too many requests; `Retry-After` says when to come again.",
    503: "The store is away; nothing was kept.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer, for OpenAPI."""
    always = (401, 403, 408, 413, 422, 429, 503)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {status: {"description": _WORDS[status], "content": content} for status in sorted({*always, *statuses})}


def routes(context: WebContext) -> APIRouter:
    """All routes below ``/v1``."""
    router = APIRouter(prefix="/v1")
    guard = Guard(context.runtime)
    _messages(router, context.runtime, guard)
    _records(router, context.runtime, guard)
    _opt_outs(router, context.runtime, guard)
    _contacts(router, context.runtime, guard)
    return router


def _messages(router: APIRouter, runtime: Runtime, guard: Guard) -> None:
    writer, reader = Depends(guard.needs("messages:write")), Depends(guard.needs("messages:read"))

    @router.post("/messages", status_code=202, tags=["messages"], responses=problems(400))
    def send(body: SendBody, response: Response, idempotency_key: IdempotencyKey = None, key: Key = writer) -> Taken:
        """Send a text, now or later.

        202: it is kept, and goes out as soon as the policy allows. `state` and `reason` say how it stands.
        """
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
        hint("vtsync.deliver_messages", account)
        return _taken(taken, response)

    @router.get("/messages", tags=["messages"], responses=problems())
    def messages(
        state: Annotated[MessageState | None, Query()] = None,
        to: Annotated[str | None, Query(pattern=E164)] = None,
        trigger: Annotated[str | None, Query(max_length=200)] = None,
        before: Annotated[
            str | None, Query(pattern=r"^[0-9a-f]{32}$", description="`next` of the page before.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        key: Key = reader,
    ) -> MessageList:
        """Messages, the newest first."""
        found = find_messages(
            runtime, state=state, number=to, trigger=trigger, accounts=key.accounts, before=before, limit=limit
        )
        following = found[-1].id if len(found) == limit else None
        return MessageList(messages=[_message(one) for one in found], next=following)

    @router.get("/messages/{message_id}", tags=["messages"], responses=problems(404))
    def message(message_id: MessageId, key: Key = reader) -> MessageOut:
        """One message as it stands."""
        return _message(_one(runtime, key, message_id))

    @router.post("/messages/{message_id}/cancel", tags=["messages"], responses=problems(404, 409))
    def cancel_message(message_id: MessageId, key: Key = writer) -> MessageOut:
        """Do not send what waits. Cancelling twice does no harm; 409: it is too late."""
        before = _one(runtime, key, message_id)
        if before.state != MessageState.CANCELLED and not cancel(
            runtime, message_ids=[message_id], actor=f"key {key.name}"
        ):
            found = _one(runtime, key, message_id)
            raise Problem(409, "too_late", f"the message is {found.state}; only what waits can be cancelled")
        return _message(_one(runtime, key, message_id))


def _records(router: APIRouter, runtime: Runtime, guard: Guard) -> None:
    writer = Depends(guard.needs("records:write"))

    @router.post("/records", status_code=202, tags=["records"], responses=problems(400))
    def record(
        body: RecordBody,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        key: Key = writer,
    ) -> Taken:
        """Put a text that was sent through a carrier into its conversation. Nobody is texted.

        Give `carrier` and `carrier_message_id`, or an `Idempotency-Key`, so that it is recorded once.
        """
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
        hint("vtsync.record_messages", account)
        return _taken(taken, response)


def _opt_outs(router: APIRouter, runtime: Runtime, guard: Guard) -> None:
    writer, reader = Depends(guard.needs("opt-outs:write")), Depends(guard.needs("contacts:read"))

    @router.post("/opt-outs", tags=["opt-outs"], responses=problems(400))
    def opt_out(body: OptOutBody, key: Key = writer) -> OptOutOut:
        """Text a number no more, from any account; what waits for it is not sent."""
        _real(body.phone)
        with writing(runtime.engine) as connection:
            add_opt_out(
                connection, body.phone, source="http", detail=body.reason, now=utcnow(), actor=f"key {key.name}"
            )
        return _standing(runtime, body.phone)

    @router.get("/opt-outs/{phone}", tags=["opt-outs"], responses=problems(), dependencies=[reader])
    def standing(phone: Phone) -> OptOutOut:
        """Whether a number may be texted."""
        return _standing(runtime, phone)

    @router.delete("/opt-outs/{phone}", tags=["opt-outs"], responses=problems())
    def opt_in(
        phone: Phone,
        reason: Annotated[str, Query(min_length=1, max_length=500, description="How the person agreed; the proof.")],
        key: Key = writer,
    ) -> OptOutOut:
        """A number may be texted again, because its owner said so. What was not sent meanwhile stays unsent."""
        with writing(runtime.engine) as connection:
            remove_opt_out(connection, phone, source="http", detail=reason, now=utcnow(), actor=f"key {key.name}")
        return _standing(runtime, phone)


def _contacts(router: APIRouter, runtime: Runtime, guard: Guard) -> None:
    reader = Depends(guard.needs("contacts:read"))

    @router.get("/contacts/{phone}", tags=["contacts"], responses=problems())
    def contact(phone: Phone, key: Key = reader) -> PersonOut:
        """All that is known of a number: contacts, CRM records, its newest messages."""
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
        newest = find_messages(runtime, number=phone, accounts=key.accounts, limit=20)
        return PersonOut(
            phone=phone,
            opted_out=found.opted_out is not None,
            contacts=contacts,
            messages=[_message(one) for one in newest],
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


def _message(one: ListedMessage) -> MessageOut:
    shared = {name: getattr(one, name) for name in MessageOut.model_fields if name not in ("to", "message")}
    return MessageOut(to=one.to_number, message=one.text, **shared)


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


__all__ = ["ProblemBody", "problems", "routes"]
