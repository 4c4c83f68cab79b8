"""Why a person did, or did not, get each text, and what the ledger of consents has about them."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from worker.messages.consents import consents_known_to
from worker.messages.explain import ContactHistory, Explanation, explain
from worker.store.db import reading
from worker.web.audit import note_request
from worker.web.auth import Guard, require_known
from worker.web.context import WebContext
from worker.web.explain_schemas import ConsentOut, ConsentsOut, ContactEventOut, ExplainedContact, ExplainedOut
from worker.web.keys import Key
from worker.web.openapi import problem_answers
from worker.web.opt_outs import shown_to
from worker.web.schemas import PhonePath, message_detail, reply_out


def add_explain(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    reader, consents = Depends(guard.needs("operate:read")), Depends(guard.needs("contacts:read"))

    @router.get("/people/{phone}/explain", tags=["people"], responses=problem_answers(404))
    def explain_number(request: Request, phone: PhonePath, key: Key = reader) -> ExplainedOut:
        """Explain why a person did, or did not, get each text, and what would happen to a text now.

        A key for some accounts sees only numbers that these accounts know, and only their part.
        """
        with reading(context.runtime.engine) as connection:
            require_known(connection, key, phone)
        found = explain(context.runtime, phone, key.accounts)
        note_request(context, request, key, "read_person", about=phone)
        return _explained(key, found)

    @router.get("/people/{phone}/consents", tags=["people"], responses=problem_answers(404))
    def list_consents(phone: PhonePath, key: Key = consents) -> ConsentsOut:
        """Return what the ledger has about a number, oldest first: what CRMs, the person and imports said.

        A key for some accounts sees what became known through these accounts.
        """
        runtime = context.runtime
        with reading(runtime.engine) as connection:
            require_known(connection, key, phone)
            found = consents_known_to(connection, runtime.settings, phone, key.accounts)
        return ConsentsOut(phone=phone, consents=[ConsentOut.model_validate(one) for one in found])


def _explained(key: Key, found: Explanation) -> ExplainedOut:
    made_here = {
        "opted_out": shown_to(key, found.phone, found.opted_out),
        "contacts": [_contact(one) for one in found.contacts],
        "messages": [message_detail(one) for one in found.messages],
        "replies": [reply_out(one) for one in found.replies],
    }
    names = ExplainedOut.model_fields.keys() - made_here.keys()
    return ExplainedOut.model_validate({name: getattr(found, name) for name in names} | made_here)


def _contact(one: ContactHistory) -> ExplainedContact:
    events = [ContactEventOut(at=at, kind=kind, detail=detail) for at, kind, detail in one.events]
    names = ExplainedContact.model_fields.keys() - {"events"}
    return ExplainedContact.model_validate({name: getattr(one, name) for name in names} | {"events": events})
