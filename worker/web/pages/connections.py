"""Connections: their state, their runs, what was rejected, and a run at once."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from crm_adapters.base import AdapterError
from worker.contacts.connection_gate import pause_effect, paused_reason
from worker.contacts.links import RecordLinks
from worker.contacts.runs import newest_runs
from worker.doctor.fields import report_fields
from worker.doctor.status import connection_statuses, rejected_by_code, rejected_records
from worker.fleet.wake import wake
from worker.store.db import reading
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.pages.gate import Form, Gate, Refused
from worker.web.pages.render import page
from worker.web.pausing import LONGEST_REASON, pause_connection, resume_connection
from worker.web.sessions import Session
from worker.work.registry import TICK

REJECTED = 100
"""So many rejected records are listed."""


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui", include_in_schema=False)
    reader, writer = Depends(gate.reads()), Depends(gate.writes())

    @router.get("/connections")
    def listed(session: Session = reader) -> Response:
        found = connection_statuses(context.runtime)
        with reading(context.runtime.engine) as connection:
            runs = {
                one.name: [(run.state, run.seen, run.title) for run in newest_runs(connection, one.name)[::-1]]
                for one in found
            }
        return page("connections.html", session, connections=found, runs=runs)

    @router.get("/connections/{name}")
    def one(request: Request, name: str, session: Session = reader) -> Response:
        runtime = context.runtime
        found = next((one for one in connection_statuses(runtime) if one.name == name), None)
        if found is None:
            raise Refused(f"there is no connection {name[:80]}", 404)
        fields, problem = [], ""
        if "fields" in request.query_params:  # the CRM is asked only on demand
            try:
                fields = report_fields(runtime, name)
            except AdapterError as error:
                problem = str(error)
        with reading(runtime.engine) as connection:
            runs = newest_runs(connection, name)
            effect = pause_effect(connection, name, utcnow())
            mistakes = rejected_by_code(connection, name)
        rejected = rejected_records(runtime, [name], REJECTED)
        with RecordLinks(runtime) as links:
            places = {row.key: links.web_address(name, row.key) for row in rejected}
        fields.sort(key=lambda field: not field.used_for)  # the order of the source within each part
        values = {"one": found, "runs": runs, "rejected": rejected, "fields": fields, "problem_of_fields": problem}
        values |= {
            "places": places,
            "most_rejected": REJECTED,
            "effect": effect,
            "longest": LONGEST_REASON,
            "mistakes": mistakes,
        }
        return page("connection.html", session, values, asked="asked" in request.query_params)

    @router.post("/connections/{name}")
    def sync(request: Request, name: str, fields: Form, session: Session = writer) -> Response:
        if name not in context.runtime.settings.connections:
            raise Refused(f"there is no connection {name[:80]}", 404)
        if gate.pause_or_resume(request, session, fields, name, pause_connection, resume_connection):
            if fields["what"] == "resume":
                context.notify(TICK.task)
            return RedirectResponse(f"/ui/connections/{name}", 303)
        if paused := paused_reason(context.runtime.engine, name):
            raise Refused(f"the connection {name} was not read: {paused}", 409)
        full = fields.get("what") == "full"
        if not wake("vtsync.sync_connection", name, full=full):  # no row is behind it, so nothing would repeat it
            raise Refused("the broker cannot be used now; try again in a minute", 503)
        gate.note(request, session, "asked_for_full_sync" if full else "asked_for_sync", name)
        return RedirectResponse(f"/ui/connections/{name}?asked", 303)

    return router
