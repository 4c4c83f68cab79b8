"""Decisions about texts: approve, cancel, retry and resolve one, or many at once after a preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from worker.core.shown import NotAsShown
from worker.core.text import counted
from worker.messages.decisions import (
    Decision,
    DecisionAboutMany,
    WrongState,
    approve,
    cancel,
    resolve,
    retry,
    was_decided,
    why_not,
)
from worker.messages.previews import preview, waiting_approvals
from worker.messages.read_models import MessageSummary, find_messages
from worker.messages.request_problems import NO_NUL_PATTERN, unknown_name
from worker.runtime import Runtime
from worker.store.db import reading
from worker.web.audit import note_request
from worker.web.auth import Guard
from worker.web.body import ONLY_JSON
from worker.web.context import WebContext
from worker.web.decision_schemas import (
    ApprovalList,
    ApprovalOut,
    DecideBody,
    DecidedOne,
    DecidedOut,
    IdsBody,
    PreviewOut,
    ResolveBody,
)
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.problems import Problem, invalid_request, not_as_shown
from worker.web.schemas import MessageIdPath, MessageOut, message_out
from worker.web.visible import triggers_of

_About = Query(max_length=200, pattern=NO_NUL_PATTERN)


def add_decisions(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    _one(router, context, guard)
    _previews(router, context, guard)
    _many(router, context, guard)


def no_message() -> Problem:
    """Return the problem for an id that does not exist, or that the key may not see."""
    return Problem(404, "not_found", "there is no message with this id that this key may see")


def _one(router: APIRouter, context: WebContext, guard: Guard) -> None:
    sender, decider = Depends(guard.needs("messages:write")), Depends(guard.needs("operate:write"))

    def decide(
        request: Request, key: Key, message_id: str, decision: Decision, attempts: int | None = None
    ) -> MessageOut:
        (outcome,) = _decide(context.runtime, key, [message_id], decision, attempts)[1]
        if outcome.state is None:
            raise no_message()
        if outcome.status != 200:
            raise Problem(outcome.status, "too_late", outcome.detail)
        _note(context, request, key, decision, message_id)
        return message_out(_find(context.runtime, key, [message_id])[0])

    @router.post("/messages/{message_id}/cancel", tags=["messages"], responses=problem_answers(404, 409))
    def cancel_message(request: Request, message_id: MessageIdPath, key: Key = sender) -> MessageOut:
        """Cancel a message that waits. Cancelling twice does no harm; 409: it is too late."""
        return decide(request, key, message_id, "cancel")

    @router.post("/messages/{message_id}/approve", tags=["decisions"], responses=problem_answers(404, 409))
    def approve_message(request: Request, message_id: MessageIdPath, key: Key = decider) -> MessageOut:
        """Approve a held text. The policy decides again before it is sent. Repeating it does no harm.

        409: it does not wait for an approval.
        """
        return decide(request, key, message_id, "approve")

    @router.post("/messages/{message_id}/retry", tags=["decisions"], responses=problem_answers(404, 409))
    def retry_message(request: Request, message_id: MessageIdPath, key: Key = decider) -> MessageOut:
        """Try a rejected or failed message again, never one that may have been sent. Repeating it does no harm.

        409: it is in another state, or its text is not stored any more.
        """
        return decide(request, key, message_id, "retry")

    @router.post(
        "/messages/{message_id}/resolve",
        tags=["decisions"],
        responses=problem_answers_to_a_body(404, 409),
        dependencies=ONLY_JSON,
    )
    def resolve_message(
        request: Request, message_id: MessageIdPath, body: ResolveBody, key: Key = decider
    ) -> MessageOut:
        """Say how an unknown text ended. Look at the conversation in VirtualText first: `resend` may text twice.

        Repeating it does no harm. 409: it is not unknown any more, or another attempt was made since.
        """
        return decide(request, key, message_id, body.verdict, body.attempts)


def _previews(router: APIRouter, context: WebContext, guard: Guard) -> None:
    reader = Depends(guard.needs("operate:read"))

    @router.get("/approvals", tags=["decisions"], responses=problem_answers())
    def list_approvals(key: Key = reader) -> ApprovalList:
        """List what waits for an approval, by account, batch and trigger, with how many texts and people."""
        found = waiting_approvals(context.runtime, accounts=key.accounts, test=key.sees)
        return ApprovalList(
            approvals=[
                ApprovalOut(
                    account=one.account, batch=one.batch_id, trigger=one.trigger, texts=one.texts, people=one.people
                )
                for one in found
            ]
        )

    @router.get("/messages:preview", tags=["decisions"], responses=problem_answers())
    def preview_decision(
        decision: Annotated[DecisionAboutMany, Query(description="What you mean to decide.")],
        batch: Annotated[str | None, _About] = None,
        trigger: Annotated[str | None, _About] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="How many messages to return.")] = 20,
        key: Key = reader,
    ) -> PreviewOut:
        """Show what a decision about all messages of a batch, of a trigger, or of both would touch. Changes nothing."""
        if not batch and not trigger:
            raise invalid_request([("batch", "batch is missing; name a batch or a trigger")])
        _require_trigger(context.runtime, key, trigger, "trigger")
        found = preview(
            context.runtime,
            decision,
            batch_id=batch,
            trigger=trigger,
            accounts=key.accounts,
            test=key.sees,
            limit=limit,
        )
        return PreviewOut(
            decision=decision,
            texts=found.texts,
            people=found.people,
            until=found.until,
            messages=[message_out(one) for one in found.messages],
        )


def _many(router: APIRouter, context: WebContext, guard: Guard) -> None:
    decider = Depends(guard.needs("operate:write"))

    def decide(request: Request, key: Key, body: DecideBody, decision: DecisionAboutMany) -> DecidedOut:
        runtime = context.runtime
        if body.ids is not None:
            count, outcomes = _decide(runtime, key, body.ids, decision)
            _note(context, request, key, decision, _about_ids(body.ids), count)
            return DecidedOut(decided=count, outcomes=outcomes)
        _require_trigger(runtime, key, body.trigger, "/trigger")
        change = approve if decision == "approve" else cancel
        try:
            count = change(
                runtime,
                batch_id=body.batch or None,
                trigger=body.trigger or None,
                accounts=key.accounts,
                test=key.sees,
                shown=body.texts,
                until=body.until,
                actor=key.actor,
            )
        except NotAsShown as error:
            raise not_as_shown(error, "GET /v1/messages:preview") from None
        _note(context, request, key, decision, body.batch or body.trigger or "", count)
        return DecidedOut(decided=count, outcomes=[])

    answers = problem_answers_to_a_body(409)

    @router.post("/messages:approve", tags=["decisions"], responses=answers, dependencies=ONLY_JSON)
    def approve_messages(request: Request, body: DecideBody, key: Key = decider) -> DecidedOut:
        """Approve held texts: by their ids, or all that wait of a batch or trigger. Repeating it does no harm.

        With ids, each has its own outcome. 409: more wait than `texts` says; nothing was done.
        """
        return decide(request, key, body, "approve")

    @router.post("/messages:cancel", tags=["decisions"], responses=answers, dependencies=ONLY_JSON)
    def cancel_messages(request: Request, body: DecideBody, key: Key = decider) -> DecidedOut:
        """Cancel messages that wait: by their ids, or all of a batch or trigger. Repeating it does no harm.

        With ids, each has its own outcome. 409: more wait than `texts` says; nothing was done.
        """
        return decide(request, key, body, "cancel")

    @router.post("/messages:retry", tags=["decisions"], responses=problem_answers_to_a_body(), dependencies=ONLY_JSON)
    def retry_messages(request: Request, body: IdsBody, key: Key = decider) -> DecidedOut:
        """Try rejected and failed messages again. Each has its own outcome. Repeating it does no harm."""
        count, outcomes = _decide(context.runtime, key, body.ids, "retry")
        _note(context, request, key, "retry", _about_ids(body.ids), count)
        return DecidedOut(decided=count, outcomes=outcomes)


def _decide(
    runtime: Runtime, key: Key, ids: Sequence[str], decision: Decision, attempts: int | None = None
) -> tuple[int, list[DecidedOne]]:
    """Take a decision about these messages. Return how many it changed, and the outcome of each id.

    ``attempts``: see ``resolve``.
    """
    count = _change(runtime, key, ids, decision, attempts)
    found = {one.id: one for one in _find(runtime, key, ids)}
    with reading(runtime.engine) as connection:
        decided = was_decided(connection, list(found), decision)
    return count, [_outcome(one, found.get(one), decision, is_decided=one in decided) for one in ids]


def _change(runtime: Runtime, key: Key, ids: Sequence[str], decision: Decision, attempts: int | None) -> int:
    match decision:
        case "approve":
            return approve(runtime, message_ids=ids, accounts=key.accounts, test=key.sees, actor=key.actor)
        case "cancel":
            return cancel(runtime, message_ids=ids, accounts=key.accounts, test=key.sees, actor=key.actor)
        case "retry":
            return retry(runtime, ids, key.actor, accounts=key.accounts, test=key.sees)
        case "sent" | "resend" | "drop":
            try:
                resolve(runtime, ids[0], decision, key.actor, accounts=key.accounts, test=key.sees, attempts=attempts)
            except (WrongState, LookupError):
                return 0
            return 1


def _outcome(message_id: str, found: MessageSummary | None, decision: Decision, *, is_decided: bool) -> DecidedOne:
    if found is None:
        return DecidedOne(id=message_id, status=404, state=None, detail=no_message().detail)
    if is_decided:
        return DecidedOne(id=message_id, status=200, state=found.state, detail="")
    return DecidedOne(id=message_id, status=409, state=found.state, detail=why_not(decision, found.state, found.reason))


def _find(runtime: Runtime, key: Key, ids: Sequence[str]) -> list[MessageSummary]:
    return find_messages(runtime, message_ids=ids, accounts=key.accounts, test=key.sees, limit=len(ids))


def _require_trigger(runtime: Runtime, key: Key, name: str | None, pointer: str) -> None:
    """Refuse the name of a trigger that is not configured and has no messages: it is a typing error."""
    known = triggers_of(runtime.settings, key)
    if name and name not in known and not find_messages(runtime, trigger=name, accounts=key.accounts, limit=1):
        raise invalid_request([(pointer, f"the trigger {unknown_name(name, known)}")])


def _note(
    context: WebContext, request: Request, key: Key, decision: Decision, about: str, count: int | None = None
) -> None:
    context.notify("vtsync.deliver_messages")
    detail = "" if count is None else counted(count, "text")
    note_request(context, request, key, decision, about=about, detail=detail)


def _about_ids(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"
