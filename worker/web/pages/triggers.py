"""Triggers: what each has done lately, and whom it would have texted by the stored history."""

from __future__ import annotations

import threading

from fastapi import APIRouter, Depends, Request, Response

from worker.rehearsal.backtest import backtest
from worker.rehearsal.overview import trigger_overview
from worker.web.context import WebContext
from worker.web.pages.gate import Gate, Refused
from worker.web.pages.render import page
from worker.web.sessions import Session

DAYS = (1, 7, 30, 90)


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui/triggers", include_in_schema=False)
    reader, operator = Depends(gate.reads()), Depends(gate.reads("operator"))
    one_at_a_time = threading.Lock()

    @router.get("")
    def triggers(session: Session = reader) -> Response:
        runtime = context.runtime
        texts = {name: one.message for name, one in runtime.settings.triggers.items()}
        return page("triggers.html", session, triggers=trigger_overview(runtime), texts=texts)

    @router.get("/{name}")
    def one(request: Request, name: str, session: Session = operator) -> Response:
        if name not in context.runtime.settings.triggers:
            raise Refused(f"there is no trigger {name[:80]}", 404)
        asked, result = request.query_params.get("days", ""), None
        days = int(asked) if asked in map(str, DAYS) else 7
        if asked:
            # It reads the whole history, so it does not take more than one thread of the API.
            if not one_at_a_time.acquire(blocking=False):
                raise Refused("another backtest is running; try again when it is done", 429)
            try:
                result = backtest(context.runtime, name, days)
            finally:
                one_at_a_time.release()
            gate.note(request, session, "backtest", name, f"{days} days")
        trigger = context.runtime.settings.triggers[name]
        values = {"name": name, "trigger": trigger, "days": days, "choices": DAYS, "result": result}
        return page("trigger.html", session, values)

    return router
