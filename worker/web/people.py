"""``/v1/people``: a copy of everything that is stored about a person, and its erasure, which can be ended."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from worker.core.phones import mask, without_number
from worker.messages.decisions import remember_number
from worker.messages.forgotten import NoNumberKey
from worker.messages.opt_outs import opted_out
from worker.messages.request_problems import NOT_BLANK_PATTERN
from worker.people.erase import INSTEAD, ForgetRefused, accounts_beyond, forget
from worker.people.export import export_person as export
from worker.people.export import is_known
from worker.store.db import reading
from worker.web.audit import note_request
from worker.web.auth import Guard, require_all_accounts, require_known
from worker.web.body import ONLY_JSON
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.problems import Problem
from worker.web.schemas import ForgottenOut, PersonExport, PhonePath, RememberBody, RememberedOut


def add_people(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    reader, eraser = Depends(guard.needs("people:read")), Depends(guard.needs("people:forget"))

    @router.get("/people/{phone}/export", tags=["people"], responses=problem_answers(404))
    def export_person(request: Request, phone: PhonePath, key: Key = reader) -> PersonExport:
        """Return everything that is stored about a person: CRM records, texts, replies, opt-outs, consents.

        A key for some accounts gets their part.
        """
        with reading(context.runtime.engine) as connection:
            require_known(connection, key, phone)
        found = export(context.runtime, phone, key.accounts)
        if not is_known(found):
            raise Problem(404, "not_found", "nothing is stored about this number")
        note_request(context, request, key, "exported_person", about=phone)
        return PersonExport.model_validate(found)

    @router.delete("/people/{phone}", tags=["people"], responses=problem_answers(404, 409))
    def forget_person(
        request: Request,
        phone: PhonePath,
        reason: Annotated[
            str,
            Query(pattern=NOT_BLANK_PATTERN, max_length=500, description="Who asked. Stored: do not name the person."),
        ],
        key: Key = eraser,
    ) -> ForgottenOut:
        """Erase everything about a person, except a keyed hash of the number: no account texts it any more.

        A key for some accounts may erase only people whom no other account knows. 409: a text is being sent right now,
        or the service has no key for the hash.
        """
        runtime = context.runtime
        with reading(runtime.engine) as connection:
            require_known(connection, key, phone)
            if accounts_beyond(connection, runtime, phone, key.accounts):
                detail = "other accounts know this person, too; a key for all accounts, or `vtsync forget`, erases them"
                raise Problem(403, "forbidden", detail)
        try:
            done = forget(runtime, phone, why=reason, actor=key.actor)
        except (ForgetRefused, NoNumberKey) as error:
            raise Problem(409, "too_late", str(error)) from None
        why = without_number(reason, phone, INSTEAD)
        note_request(context, request, key, "forgot_person", about=mask(phone), detail=why)
        return ForgottenOut(**{name: getattr(done, name) for name in ForgottenOut.model_fields})

    @router.post(
        "/people/{phone}/remember",
        tags=["people"],
        responses=problem_answers_to_a_body(404),
        dependencies=ONLY_JSON,
    )
    def remember_person(request: Request, phone: PhonePath, body: RememberBody, key: Key = eraser) -> RememberedOut:
        """Let a person who was forgotten come back from the CRM. An opt-out from before holds.

        Only for keys of all accounts. 404: the number was not forgotten, or with a key for the hash that the service
        does not have now.
        """
        require_all_accounts(key, "a person is forgotten for all accounts")
        runtime = context.runtime
        if not remember_number(runtime, phone, why=body.reason, actor=key.actor):
            detail = "this number was not forgotten, or with a key that store.grant_key does not have now"
            raise Problem(404, "not_found", detail)
        note_request(context, request, key, "remembered_person", about=phone, detail=body.reason)
        with reading(runtime.engine) as connection:
            return RememberedOut(phone=phone, opted_out=phone in opted_out(connection, [phone]))
