"""What failed and waits for a person: contacts, deliveries, incoming events, and messages of the broker."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from worker.contacts.resolve import retry_contacts
from worker.core.states import DeliveryState, PushState
from worker.core.text import counted
from worker.deliveries.listing import find_deliveries, retry_deliveries
from worker.doctor.status import contacts_in
from worker.inbox.dead_letters import clear_dead_letters, dead_letters
from worker.inbox.listing import failed_events, retry_failed
from worker.runtime import Runtime
from worker.web.context import WebContext
from worker.web.pages.gate import Form, Gate, Refused
from worker.web.pages.render import page
from worker.web.sessions import Session

SHOWN = 25


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui", include_in_schema=False)
    reader, writer = Depends(gate.reads()), Depends(gate.writes())

    @router.get("/failures")
    def failures(session: Session = reader) -> Response:
        runtime = context.runtime
        values = {
            "refused": contacts_in(runtime, PushState.REJECTED, SHOWN),
            "lost": contacts_in(runtime, PushState.UNKNOWN, SHOWN),
            "failing": contacts_in(runtime, PushState.DUE, SHOWN, failing=True),
            "deliveries": find_deliveries(runtime, state=DeliveryState.FAILED, limit=SHOWN),
            "events": failed_events(runtime, SHOWN),
            "letters": dead_letters(runtime, SHOWN),
        }
        return page("failures.html", session, values)

    @router.post("/failures")
    def decide(request: Request, fields: Form, session: Session = writer) -> Response:
        what = fields.get("what", "")
        count, wakes, section = _decide(context.runtime, what, fields)
        if count and wakes:
            context.notify(wakes)
        gate.note(request, session, what, detail=counted(count, "row"))
        return RedirectResponse(f"/ui/failures#{section}", 303)

    return router


def _decide(runtime: Runtime, what: str, fields: Mapping[str, str]) -> tuple[int, str, str]:
    """Carry out a decision. Return how many rows it changed, the task to wake, and the section of the page."""
    match what:
        case "retry_contacts":
            return retry_contacts(runtime), "vtsync.push_contacts", "contacts"
        case "retry_delivery":
            number = fields.get("id", "")
            if not number.isascii() or not number.isdecimal() or len(number) > 18:
                raise Refused("there is no such delivery", 404)
            return retry_deliveries(runtime, ids=[int(number)], failed_only=True), "vtsync.forward_events", "deliveries"
        case "retry_events":
            return retry_failed(runtime), "vtsync.process_inbox", "events"
        case "clear_dead_letters":
            return clear_dead_letters(runtime), "", "messages"
        case _:
            raise Refused("this is no decision about what failed", 400)
