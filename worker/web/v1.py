"""``/v1``: the routes for other services. A 2xx response means that the change is committed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from worker.core.states import MessageState
from worker.messages.explain import contact_histories
from worker.messages.opt_outs import opted_out
from worker.messages.outbox import Enqueued, enqueue_record, enqueue_send
from worker.messages.read_models import (
    find_messages,
    message_details,
    newest_replies,
)
from worker.messages.request_problems import (
    E164_PATTERN,
    MESSAGE_ID_PATTERN,
    NO_NUL_PATTERN,
    unknown_name,
)
from worker.messages.requests import RecordRequest
from worker.store.db import reading
from worker.web.auth import Guard, account_of, require_known, require_own_number
from worker.web.body import ONLY_JSON
from worker.web.connections import add_connections
from worker.web.context import WebContext
from worker.web.decisions import add_decisions, no_message
from worker.web.explain import add_explain
from worker.web.forwards import add_forwards
from worker.web.incoming import add_incoming
from worker.web.keys import Key
from worker.web.linking import add_linking
from worker.web.openapi import TAKEN, problem_answers, problem_answers_to_a_body
from worker.web.opt_outs import add_opt_outs
from worker.web.pause_routes import add_pauses
from worker.web.people import add_people
from worker.web.problems import Problem, invalid_request
from worker.web.reviews import add_reviews
from worker.web.schemas import (
    BatchBody,
    BatchOut,
    ContactOut,
    IdempotencyKeyHeader,
    MessageDetail,
    MessageIdPath,
    MessageList,
    PersonOut,
    PhonePath,
    RecordBody,
    RecordOut,
    SendBody,
    Taken,
    message_detail,
    message_out,
    reply_out,
)
from worker.web.send_jobs import own_key, send_batch, send_request, taken
from worker.web.status import add_status
from worker.web.stuck_contacts import add_stuck_contacts

NEWEST = 20
BATCH = "/v1/messages:batch"
FILTER = "metadata."
MOST_FILTERS = 5


def routes(context: WebContext) -> APIRouter:
    """Return all routes below ``/v1``."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(only_known_parameters)])
    guard = Guard(context)
    _send(router, context, guard)
    _messages(router, context, guard)
    _records(router, context, guard)
    add_opt_outs(router, context, guard)
    _contacts(router, context, guard)
    add_people(router, context, guard)
    for add in (add_decisions, add_reviews, add_stuck_contacts, add_explain, add_connections, add_pauses):
        add(router, context, guard)
    for add in (add_linking, add_forwards, add_incoming, add_status):
        add(router, context, guard)
    return router


def only_known_parameters(request: Request) -> None:
    """Refuse unknown query parameters: a misspelt filter must not return everything. A dependency of every route."""
    route = request.scope["route"]
    known = [field.alias for field in route.dependant.query_params]
    given = set(request.query_params)
    if route.name == "list_messages":
        known, given = [*known, f"{FILTER}KEY"], {name for name in given if not _is_filter(name)}
    unknown = sorted(given - set(known))
    if unknown:
        raise invalid_request([(name[:100], unknown_name(name, known)) for name in unknown[:20]])


def metadata_filter(request: Request) -> dict[str, str]:
    """Return the entries that ``metadata.KEY=VALUE`` parameters name."""
    given = [(name, value) for name, value in request.query_params.multi_items() if _is_filter(name)]
    wanted = {name.removeprefix(FILTER): value for name, value in given}
    if len(wanted) < len(given):
        raise invalid_request([("metadata", "metadata names a key twice; a text has one value for each key")])
    if len(wanted) > MOST_FILTERS:
        raise invalid_request([("metadata", f"metadata names {len(wanted)} keys, at most {MOST_FILTERS} are allowed")])
    if any("\x00" in key + value for key, value in wanted.items()):
        raise invalid_request([("metadata", "metadata must not contain NUL characters")])
    return wanted


def _is_filter(parameter: str) -> bool:
    return parameter.startswith(FILTER) and parameter != FILTER


def _send(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer = Depends(guard.needs("messages:write"))

    @router.post(
        "/messages",
        status_code=202,
        tags=["messages"],
        responses=TAKEN | problem_answers_to_a_body(),
        dependencies=ONLY_JSON,
    )
    def send_message(
        body: SendBody, response: Response, idempotency_key: IdempotencyKeyHeader = None, key: Key = writer
    ) -> Taken:
        """Send a text, now or later.

        202: the text is stored, and is sent as soon as the policy allows. `state` and `reason` describe its progress.
        """
        runtime = context.runtime
        request = send_request(runtime, key, body, idempotency_key)
        enqueued = enqueue_send(runtime, request, source="http", actor=key.actor, test=key.test)
        context.notify("vtsync.deliver_messages", request.account)
        return _taken(enqueued, response)

    @router.post("/messages:batch", tags=["messages"], responses=problem_answers_to_a_body(), dependencies=ONLY_JSON)
    def send_messages(body: BatchBody, idempotency_key: IdempotencyKeyHeader = None, key: Key = writer) -> BatchOut:
        """Send up to 1,000 texts. Each has its own outcome, in the same order; one that is refused stops no other.

        An `idempotency_key` for each text, or the header for all, makes repeating harmless, also after a part of it.
        """
        batch, accounts = send_batch(context.runtime, key, body, idempotency_key)
        for account in sorted(accounts):
            context.notify("vtsync.deliver_messages", account)
        return batch


def _messages(router: APIRouter, context: WebContext, guard: Guard) -> None:
    reader = Depends(guard.needs("messages:read"))
    entries = Depends(metadata_filter)

    @router.get("/messages", tags=["messages"], responses=problem_answers())
    def list_messages(
        state: Annotated[MessageState | None, Query(description="Only messages in this state.")] = None,
        to: Annotated[
            str | None, Query(pattern=E164_PATTERN, description="Only messages to this number, E.164.")
        ] = None,
        trigger: Annotated[
            str | None, Query(max_length=200, pattern=NO_NUL_PATTERN, description="Only messages of this trigger.")
        ] = None,
        batch: Annotated[
            str | None, Query(max_length=200, pattern=NO_NUL_PATTERN, description="Only messages of this batch.")
        ] = None,
        test: Annotated[
            bool | None, Query(description="Only messages that were made with test keys, or only the others.")
        ] = None,
        before: Annotated[
            str | None, Query(pattern=MESSAGE_ID_PATTERN, description="`next` of the previous page.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="How many messages to return.")] = 50,
        metadata: dict[str, str] = entries,
        key: Key = reader,
    ) -> MessageList:
        """List messages, newest first. A test key sees only the messages of test keys.

        `metadata.order=17` keeps those with this value for `order` in their metadata; several must all hold.
        """
        if key.test and test is False:
            raise Problem(403, "forbidden", "a test key sees only the messages of test keys")
        found = find_messages(
            context.runtime,
            state=state,
            number=to,
            trigger=trigger,
            batch_id=batch,
            metadata=metadata,
            accounts=key.accounts,
            test=key.sees if test is None else test,
            before=before,
            limit=limit,
        )
        following = found[-1].id if len(found) == limit else None
        return MessageList(messages=[message_out(one) for one in found], next=following)

    @router.get("/messages/{message_id}", tags=["messages"], responses=problem_answers(404))
    def get_message(message_id: MessageIdPath, key: Key = reader) -> MessageDetail:
        """Return one message with its history."""
        details = message_details(context.runtime, message_id, key.accounts, test=key.sees)
        if details is None:
            raise no_message()
        return message_detail(details)


def _records(router: APIRouter, context: WebContext, guard: Guard) -> None:
    writer = Depends(guard.needs("records:write"))

    @router.post(
        "/records",
        status_code=202,
        tags=["records"],
        responses=TAKEN | problem_answers_to_a_body(),
        dependencies=ONLY_JSON,
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
        asked = {"account": account_of(key, body.account, runtime), "idempotency_key": own_key(key, idempotency_key)}
        request = RecordRequest.parse(dict(body) | asked)
        enqueued = enqueue_record(runtime, request, source="http", actor=key.actor, test=key.test)
        context.notify("vtsync.record_messages", request.account)
        return _taken(enqueued, response)


def _contacts(router: APIRouter, context: WebContext, guard: Guard) -> None:
    reader = Depends(guard.needs("contacts:read"))

    @router.get("/contacts/{phone}", tags=["contacts"], responses=problem_answers(404))
    def get_contact(phone: PhonePath, key: Key = reader) -> PersonOut:
        """Return what is known about a number: contacts, CRM records, its newest texts and replies.

        A key for some accounts sees only numbers that these accounts know, and only what belongs to these accounts.
        """
        runtime = context.runtime
        with reading(runtime.engine) as connection:
            require_known(connection, key, phone)
            has_opted_out = phone in opted_out(connection, [phone])
            contacts = contact_histories(connection, phone, key.accounts)
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
            replies=[reply_out(one) for one in replies],
        )


def _taken(enqueued: Enqueued, response: Response) -> Taken:
    response.headers["Location"] = f"/v1/messages/{enqueued.message_id}"
    if enqueued.duplicate:
        response.headers["Idempotent-Replayed"] = "true"
    return taken(enqueued)
