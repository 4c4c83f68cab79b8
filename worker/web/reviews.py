"""``/v1/reviews``: replies that may mean STOP, and what somebody decided that they mean."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from worker.messages.decisions import OthersReply, ReplyNotAsShown, decide_review, review_outcome
from worker.messages.opt_outs import last_review_end, open_reviews, opted_out
from worker.store.db import reading
from worker.web.audit import note_request
from worker.web.auth import Guard, require_known
from worker.web.body import ONLY_JSON
from worker.web.context import WebContext
from worker.web.decision_schemas import ReviewBody, ReviewedOut, ReviewList, ReviewOut
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.problems import Problem
from worker.web.schemas import PhonePath


def add_reviews(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    reader, decider = Depends(guard.needs("operate:read")), Depends(guard.needs("operate:write"))

    @router.get("/reviews", tags=["reviews"], responses=problem_answers())
    def list_reviews(key: Key = reader) -> ReviewList:
        """List replies that may mean STOP, oldest first. Texts to these numbers are held.

        A key for some accounts sees replies to these accounts.
        """
        with reading(context.runtime.engine) as connection:
            found = open_reviews(connection, key.accounts)
        return ReviewList(reviews=[ReviewOut.model_validate(one) for one in found])

    @router.post(
        "/reviews/{phone}", tags=["reviews"], responses=problem_answers_to_a_body(404, 409), dependencies=ONLY_JSON
    )
    def end_review(request: Request, phone: PhonePath, body: ReviewBody, key: Key = decider) -> ReviewedOut:
        """Decide what a reply meant: `continue` resumes texts, `opt_out` stops them. Repeating it does no harm.

        `continue` names the `last_at` of the list, so that it is about replies that were read. 404: the number is not
        under review. 409: somebody decided otherwise before, or the person wrote again (`not_as_shown`).
        """
        runtime = context.runtime
        try:
            released = decide_review(
                runtime, phone, body.verdict, key.actor, last_at=body.last_at, source="http", only_of=key.accounts
            )
        except OthersReply as error:
            raise Problem(403, "forbidden", str(error)) from None
        except ReplyNotAsShown as error:
            detail = f"{error}. Read it with `GET /v1/reviews`, and decide with its `last_at`"
            raise Problem(409, "not_as_shown", detail) from None
        except LookupError:
            _require_repetition(context, key, phone, body)
            released = 0
        else:
            context.notify("vtsync.deliver_messages")
            note_request(context, request, key, f"review_{body.verdict}", about=phone)
        with reading(runtime.engine) as connection:
            out = phone in opted_out(connection, [phone])
        return ReviewedOut(phone=phone, verdict=body.verdict, released=released, opted_out=out)


def _require_repetition(context: WebContext, key: Key, phone: str, body: ReviewBody) -> None:
    """Raise the problem 404 or 409 unless this key decided the same about the number's last review."""
    with reading(context.runtime.engine) as connection:
        require_known(connection, key, phone)
        ended = last_review_end(connection, phone)
        out = phone in opted_out(connection, [phone])
    if ended is None:
        raise Problem(404, "not_found", "this number is not under review, or the reply was to another account")
    if ended != review_outcome(body.verdict, key.actor):
        now = "the number has opted out" if out else "the number has not opted out"
        raise Problem(409, "too_late", f"the review of this number has ended; {now}")
