"""What came in and was refused: ``/v1/dead-letters`` (jobs of the broker) and ``/v1/relay/events``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from worker.core.shown import NotAsShown
from worker.core.states import InboxState
from worker.core.text import counted
from worker.inbox.dead_letters import clear_dead_letters, count_dead_letters, dead_letters
from worker.inbox.listing import failed_events, inbox_counts, retry_failed
from worker.web.audit import note_request
from worker.web.auth import Guard, require_all_accounts
from worker.web.body import ONLY_JSON
from worker.web.context import WebContext
from worker.web.incoming_schemas import (
    ClearedLetters,
    ClearLettersBody,
    DeadLetterList,
    DeadLetterOut,
    EventCountOut,
    EventList,
    FailedEventOut,
    RetriedEvents,
    RetryEventsBody,
)
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.operating_schemas import LARGEST_ROW_ID
from worker.web.problems import not_as_shown

_LETTERS = "dead letters belong to no account"


def add_incoming(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    _dead_letters(router, context, guard)
    _events(router, context, guard)


def _dead_letters(router: APIRouter, context: WebContext, guard: Guard) -> None:
    reader, decider = Depends(guard.needs("operate:read")), Depends(guard.needs("operate:write"))

    @router.get("/dead-letters", tags=["incoming"], responses=problem_answers())
    def list_dead_letters(
        limit: Annotated[int, Query(ge=1, le=1000, description="How many to return.")] = 50,
        key: Key = reader,
    ) -> DeadLetterList:
        """List messages of the broker that were refused, the latest first, with reasons. Their content is not kept.

        Correct the senders and let them send again; then clear the list. Only for keys of all accounts.
        """
        require_all_accounts(key, _LETTERS)
        runtime = context.runtime
        count, found = count_dead_letters(runtime), dead_letters(runtime, limit)
        letters = [DeadLetterOut.model_validate(one) for one in found]
        return DeadLetterList(dead_letters=letters, letters=count, until=found[0].last_at if found else None)

    @router.post(
        "/dead-letters:clear", tags=["incoming"], responses=problem_answers_to_a_body(409), dependencies=ONLY_JSON
    )
    def clear_letters(request: Request, body: ClearLettersBody, key: Key = decider) -> ClearedLetters:
        """Delete the dead letters that the list showed. What came later, or again, stays. Repeating it does no harm.

        409: more match than `letters` says; nothing was done. Only for keys of all accounts.
        """
        require_all_accounts(key, _LETTERS)
        try:
            count = clear_dead_letters(context.runtime, shown=body.letters, until=body.until)
        except NotAsShown as error:
            raise not_as_shown(error, "GET /v1/dead-letters") from None
        note_request(context, request, key, "clear_dead_letters", detail=counted(count, "dead letter"))
        return ClearedLetters(deleted=count)


def _events(router: APIRouter, context: WebContext, guard: Guard) -> None:
    reader, decider = Depends(guard.needs("operate:read")), Depends(guard.needs("operate:write"))

    @router.get("/relay/events", tags=["incoming"], responses=problem_answers())
    def list_events(
        before: Annotated[
            int | None, Query(ge=1, le=LARGEST_ROW_ID, description="`next` of the previous page.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="How many failed events to return.")] = 50,
        key: Key = reader,
    ) -> EventList:
        """List events of the Relay and of carriers that failed, newest first, and count all by state.

        A key for some accounts sees the events of their Relays and of their carriers.
        """
        runtime = context.runtime
        counts = inbox_counts(runtime, key.accounts)
        found = failed_events(runtime, limit, accounts=key.accounts, before=before)
        return EventList(
            events=[FailedEventOut.model_validate(one) for one in found],
            failed=sum(one.count for one in counts if one.state == InboxState.FAILED),
            counts=[EventCountOut.model_validate(one) for one in counts],
            next=found[-1].id if len(found) == limit else None,
        )

    @router.post(
        "/relay/events:retry", tags=["incoming"], responses=problem_answers_to_a_body(409), dependencies=ONLY_JSON
    )
    def retry_events(request: Request, body: RetryEventsBody, key: Key = decider) -> RetriedEvents:
        """Process all failed events again, once their cause is fixed. Repeating it does no harm.

        409: more failed than `events` says; nothing was done.
        """
        try:
            count = retry_failed(context.runtime, accounts=key.accounts, shown=body.events)
        except NotAsShown as error:
            raise not_as_shown(error, "GET /v1/relay/events") from None
        if count:
            context.notify("vtsync.process_inbox")
        note_request(context, request, key, "retry_events", detail=counted(count, "event"))
        return RetriedEvents(retried=count)
