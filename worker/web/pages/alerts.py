"""Alerts: what is open, what ended lately, what each channel was told, and a test of a channel."""

from __future__ import annotations

import re
import threading

from fastapi import APIRouter, Depends, Request, Response

from worker.alerts.listing import alert_overview
from worker.deliveries.alert_channels import try_channel
from worker.doctor.alerting import describe_channel
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.pages.gate import Form, Gate, Refused
from worker.web.pages.overview import page_of
from worker.web.pages.render import page
from worker.web.sessions import Session

_COMMAND = re.compile("`(vtsync [^`]+)`")


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui", include_in_schema=False)
    reader, writer = Depends(gate.reads()), Depends(gate.writes())
    one_at_a_time = threading.Lock()

    def show(session: Session, tried: str = "", problem: str = "") -> Response:
        channels = context.runtime.settings.alerts.channels
        values = {
            "at": utcnow(),
            "found": alert_overview(context.runtime),
            "channels": {name: (channel, describe_channel(channel)) for name, channel in channels.items()},
        }
        return page("alerts.html", session, values, tried=tried, problem_of_test=problem, place_of=_place_of)

    @router.get("/alerts")
    def alerts(session: Session = reader) -> Response:
        return show(session)

    @router.post("/alerts")
    def test(request: Request, fields: Form, session: Session = writer) -> Response:
        name = fields.get("channel", "")
        channel = context.runtime.settings.alerts.channels.get(name)
        if channel is None:
            raise Refused(f"there is no channel {name[:80]}", 404)
        if not one_at_a_time.acquire(blocking=False):  # it waits for another server
            raise Refused("another test is running; try again when it is done", 429)
        try:
            problem = try_channel(channel)
        finally:
            one_at_a_time.release()
        gate.note(request, session, "tested_alert_channel", name, problem or "accepted")
        return show(session, name, problem)

    return router


def _place_of(remedy: str) -> str:
    """Return the page where one does the first thing that a remedy names; "" if there is none. Pure."""
    return next((place for command in _COMMAND.findall(remedy) if (place := page_of(command))), "")
