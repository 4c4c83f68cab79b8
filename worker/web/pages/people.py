"""A person: every record behind a number, the conversation, opt-outs with their proof, and why a text did not go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from worker.core.phones import is_e164, mask, without_number
from worker.messages.decisions import ReplyNotAsShown, ReviewVerdict, decide_review, opt_in_number, opt_out_number
from worker.messages.explain import explain
from worker.messages.forgotten import NoNumberKey
from worker.messages.opt_outs import open_reviews
from worker.people.erase import INSTEAD, ForgetRefused, forget, rehearse_forget
from worker.people.export import export_person
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.pages.gate import Form, Gate, Refused
from worker.web.pages.queries import before_reply, conversation
from worker.web.pages.render import HEADERS, page
from worker.web.sessions import Session

WITH_CONTEXT = 100
"""So many reviews show what was sent before the reply: each needs two queries."""


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui", include_in_schema=False)
    reader, writer = Depends(gate.reads("operator")), Depends(gate.writes())

    @router.get("/people/{phone}")
    def person(request: Request, phone: str, session: Session = reader) -> Response:
        runtime = context.runtime
        _require_number(phone)
        found = explain(runtime, phone)
        with reading(runtime.engine) as connection:
            bubbles = conversation(connection, phone)
        gate.note(request, session, "read_person", phone)
        return page("person.html", session, person=found, bubbles=bubbles, messages=found.messages[::-1][:50])

    @router.post("/people/{phone}")
    def decide(request: Request, phone: str, fields: Form, session: Session = writer) -> Response:
        _require_number(phone)
        what, why = _decision(fields)
        runtime, actor = context.runtime, session.person.name
        if what == "opt_out":
            opt_out_number(runtime, phone, source="page", detail=why, actor=actor)
        elif what == "opt_in":
            with writing(runtime.engine) as connection:
                opt_in_number(connection, phone, source="page", detail=why, now=utcnow(), actor=actor)
        else:
            try:
                verdict: ReviewVerdict = "opt_out" if what == "review_opt_out" else "continue"
                shown = _last_at(fields) if verdict == "continue" else None
                decide_review(runtime, phone, verdict, actor, last_at=shown, source="page")
            except LookupError as error:
                raise Refused(str(error), 404) from None
            except ReplyNotAsShown as error:
                raise Refused(f"{error}; go back to Reviews, read the newest reply, and decide then", 409) from None
            context.notify("vtsync.deliver_messages")
        gate.note(request, session, what, phone, why)
        return RedirectResponse("/ui/reviews" if what.startswith("review") else f"/ui/people/{phone}", 303)

    _rights(router, context, gate)

    @router.get("/reviews")
    def reviews(session: Session = Depends(gate.reads())) -> Response:  # noqa: B008
        with reading(context.runtime.engine) as connection:
            found = open_reviews(connection)
            before = {one.phone: before_reply(connection, one.phone, one.last_at) for one in found[:WITH_CONTEXT]}
        return page("reviews.html", session, reviews=found, before=before)

    return router


def _rights(router: APIRouter, context: WebContext, gate: Gate) -> None:
    """Add what the law gives to a person: a copy of what is stored, and its erasure."""

    @router.post("/people/{phone}/export")  # a form, because a link of another site could make a browser download it
    def export(request: Request, phone: str, session: Session = Depends(gate.writes())) -> Response:  # noqa: B008
        _require_number(phone)
        content = orjson.dumps(export_person(context.runtime, phone), option=orjson.OPT_INDENT_2, default=str)
        gate.note(request, session, "exported_person", phone)
        headers = HEADERS | {"Content-Disposition": f'attachment; filename="{phone[1:]}.json"'}
        return Response(content, headers=headers, media_type="application/json")

    @router.get("/people/{phone}/forget")
    def preview(phone: str, session: Session = Depends(gate.reads("admin"))) -> Response:  # noqa: B008
        _require_number(phone)
        try:
            erased = rehearse_forget(context.runtime, phone)
        except NoNumberKey as error:
            return page("forget.html", session, phone=phone, erased=None, done=False, error=str(error), status=409)
        return page("forget.html", session, phone=phone, erased=erased, done=False, error="")

    @router.post("/people/{phone}/forget")
    def erase(request: Request, phone: str, fields: Form, session: Session = Depends(gate.writes("admin"))) -> Response:  # noqa: B008
        _require_number(phone)
        why = " ".join(fields.get("why", "").split())[:500]
        if not why:
            raise Refused("say who asked; it is kept with the hash", 422)
        try:
            erased = forget(context.runtime, phone, why=why, actor=session.person.name)
        except (ForgetRefused, NoNumberKey) as error:
            return page("forget.html", session, phone=phone, erased=None, done=False, error=str(error), status=409)
        # The number itself is gone now.
        gate.note(request, session, "forgot_person", mask(phone), without_number(why, phone, INSTEAD))
        return page("forget.html", session, phone=phone, erased=erased, done=True, error="")


def _require_number(phone: str) -> None:
    if not is_e164(phone):
        raise Refused("this is no number; write it with the country code, such as +14155552671", 404)


def _decision(fields: Mapping[str, str]) -> tuple[str, str]:
    what, why = fields.get("what", ""), " ".join(fields.get("why", "").split())[:500]
    if what not in ("opt_out", "opt_in", "review_continue", "review_opt_out"):
        raise Refused("this is no decision about a person", 400)
    if what in ("opt_out", "opt_in") and not why:
        raise Refused("say why; it is kept as the proof", 422)
    return what, why


def _last_at(fields: Mapping[str, str]) -> datetime:
    """Return the time of the newest reply that the page showed."""
    try:
        return datetime.fromisoformat(fields.get("last_at", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused("the form does not say which reply you read; open Reviews again", 400) from None
