"""The first page: what waits for a person and what is paused, then connections, then the texts of a day."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from worker.alerts.listing import count_open
from worker.contacts.runs import newest_runs
from worker.core.findings import Finding, Level
from worker.core.states import MessageState
from worker.doctor.fleet import check_processes
from worker.doctor.status import attention_text, overview
from worker.doctor.waiting import UNTIL_YOU_ACT
from worker.messages.read_models import is_message_id
from worker.messages.short_ids import candidates
from worker.policy.countries import possible_numbers
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.pages.gate import Gate
from worker.web.pages.queries import people_called, texts_by_state
from worker.web.pages.render import page
from worker.web.sessions import Session

FRESH = timedelta(seconds=5)
_PAGES = (
    # a command of `vtsync status`, and the page where the same is done
    (r"vtsync approve --trigger (?P<x>\S+)", "/ui/messages?state=held&trigger={x}"),
    (r"vtsync approve (?P<x>\S+)", "/ui/messages?state=held&batch={x}"),
    (r"vtsync messages --state (?P<x>\w+)", "/ui/messages?state={x}"),
    (r"vtsync review", "/ui/reviews"),
    (r"vtsync status --rejected", "/ui/connections"),
    (r"vtsync status --contacts \w+", "/ui/failures#contacts"),
    (r"vtsync forwards list --failed", "/ui/failures#deliveries"),
    (r"vtsync relay show", "/ui/failures#events"),
    (r"vtsync dead-letters", "/ui/failures#messages"),
    (r"vtsync status --unread", "/ui/triggers#unread"),
    (r"vtsync sync (?P<x>\S+)", "/ui/connections/{x}"),
    (r"vtsync fields (?P<x>\S+)", "/ui/connections/{x}?fields#fields"),
    (r"vtsync resume connection (?P<x>\S+)", "/ui/connections/{x}"),
    (r"vtsync resume trigger (?P<x>\S+)", "/ui/triggers/{x}"),
)


class Glances:
    """What the first page shows. It is read again after something was done here, and after some seconds."""

    def __init__(self, context: WebContext, gate: Gate) -> None:
        self._context, self._gate = context, gate
        self._lock = threading.Lock()
        self._values: dict[str, Any] = {}

    def newest(self) -> dict[str, Any]:
        """Return the values of the page."""
        with self._lock:  # many readers, one query
            at = self._values.get("at")
            if at is None or at <= self._gate.noted_at or utcnow() - at > FRESH:
                self._values = _read(self._context.runtime)
            return self._values


def _read(runtime: Runtime) -> dict[str, Any]:
    now = utcnow()
    found = overview(runtime, brief=True)
    with reading(runtime.engine) as connection:
        runs = {one.name: newest_runs(connection, one.name)[::-1] for one in found.connections}
        today, before = texts_by_state(connection, runtime.settings.accounts, now)
        alerts = count_open(connection)
    fleet = [
        (one.level is Level.PROBLEM, _fleet_text(one), one.why, one.do)
        for one in check_processes(runtime)
        if one.level is not Level.OK
    ]
    return {
        "at": now,
        "waiting": [
            (one, attention_text(one), "" if one.why == UNTIL_YOU_ACT else one.why, page_of(one.command))
            for one in found.attention
        ],
        "alerts": alerts,
        "connections": [
            (one, [(run.state, run.seen, run.title) for run in runs[one.name]]) for one in found.connections
        ],
        "accounts": found.accounts,
        "test_mode": found.test_mode,
        "paused_triggers": found.paused_triggers,
        "texts": [
            (str(state), today.get(state, 0), before.get(state, 0))
            for state in MessageState
            if state in today or state in before
        ],
        "fleet": fleet,
        "files": found.configuration,
    }


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)
    reader = Depends(gate.reads())

    @router.get("/")
    def root(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):  # programs read the API, which begins at /v1
            raise HTTPException(404)
        return RedirectResponse("/ui", 303)

    glances = Glances(context, gate)

    @router.get("/ui")
    def first(session: Session = reader) -> Response:
        return page("overview.html", session, glances.newest())

    @router.get("/ui/find")
    def find(request: Request, session: Session = reader) -> Response:
        words = request.query_params.get("q", "").strip()[:200]
        place = _place_of(context, words)
        if place:
            return RedirectResponse(place, 303)
        people: list[Any] = []
        if len(words) >= 2 and session.person.may("operator"):
            with reading(context.runtime.engine) as connection:
                people = people_called(connection, words)
        return page("find.html", session, words=words, people=people)

    return router


def _fleet_text(finding: Finding) -> str:
    """Describe a finding about the processes. The names of the checks mean nothing to a reader, those of things do."""
    return finding.found if finding.what in ("fleet", "work") else attention_text(finding)


def page_of(command: str) -> str:
    """Return the page where one does what this command of `vtsync status` does; "" if there is none. Pure."""
    for pattern, place in _PAGES:
        if found := re.fullmatch(pattern, command):
            return place.format(**found.groupdict())
    return ""


def _place_of(context: WebContext, words: str) -> str:
    """Return the page of the number, message or batch that these words are; "" if they are none, or can be several."""
    runtime = context.runtime
    found, _ = possible_numbers(words, runtime.settings)
    if len(found) == 1:
        return f"/ui/people/{found[0]}"
    if re.fullmatch("[0-9a-fA-F]{8,32}", words) is None:
        return ""
    if is_message_id(runtime, words):
        return f"/ui/messages/{words}"
    with reading(runtime.engine) as connection:
        meant = candidates(connection, words, batches=True)
    if len(meant) != 1:
        return ""
    return f"/ui/messages?batch={meant[0].id}" if meant[0].is_batch else f"/ui/messages/{meant[0].id}"
