"""Messages: a list with filters, one message with its history, and the decisions about one or about all that match."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from worker.contacts.links import RecordLinks
from worker.core.shown import NotAsShown
from worker.core.states import MessageState
from worker.core.text import counted
from worker.messages.decisions import DecisionAboutMany, WrongState, approve, cancel, resolve, retry
from worker.messages.previews import preview as preview_of
from worker.messages.read_models import MessageDetails, find_messages, message_details
from worker.messages.states import MEANINGS
from worker.messages.transitions import reason_code
from worker.messages.trigger_pause import APPROVABLE, why_paused
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.ids import first_id_at
from worker.web.context import WebContext
from worker.web.pages.gate import Form, Gate, Refused
from worker.web.pages.queries import states_of_all
from worker.web.pages.render import page
from worker.web.sessions import Session

FILTERS = ("state", "trigger", "batch", "number")
SHOWN, SAMPLE = 50, 10


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui/messages", include_in_schema=False)
    reader, writer = Depends(gate.reads()), Depends(gate.writes())

    @router.get("")
    def listed(request: Request, session: Session = reader) -> Response:
        runtime, filters = context.runtime, _filters(request.query_params)
        if "number" in filters and not session.person.may("operator"):
            raise Refused("viewers cannot look people up")
        day = request.query_params.get("day", "").strip()
        before = request.query_params.get("before") or _end_of(day)
        found = find_messages(
            runtime,
            state=filters.get("state"),
            trigger=filters.get("trigger"),
            batch_id=filters.get("batch"),
            number=filters.get("number"),
            before=before,
            limit=SHOWN,
        )
        with reading(runtime.engine) as connection:
            states = states_of_all(connection, filters)
        following = found[-1].id if len(found) == SHOWN else ""
        values = {"filters": filters, "found": found, "states": states, "following": following, "day": day}
        return page("messages.html", session, values, meanings=MEANINGS)

    @router.get("/all")
    def preview(request: Request, session: Session = Depends(gate.reads("operator"))) -> Response:  # noqa: B008
        """Show what a decision about all that match would touch."""
        runtime, filters = context.runtime, _filters(request.query_params)
        what = request.query_params.get("what", "")
        return _preview(runtime, session, what, filters)

    @router.post("/all")
    def decide(request: Request, fields: Form, session: Session = writer) -> Response:
        runtime, filters = context.runtime, _filters(fields)
        what, shown = fields.get("what", ""), fields.get("shown", "")
        decision = approve if _about_many(what, filters) == "approve" else cancel
        count_shown = int(shown) if shown.isdecimal() and len(shown) < 10 else 0
        batch, trigger = filters.get("batch"), filters.get("trigger")
        try:
            until = fields.get("until") or None
            actor = _actor(session)
            count = decision(runtime, batch_id=batch, trigger=trigger, shown=count_shown, until=until, actor=actor)
        except NotAsShown:
            return _preview(runtime, session, what, filters, grown=True)
        context.notify("vtsync.deliver_messages")
        gate.note(request, session, what, filters.get("batch") or filters.get("trigger", ""), counted(count, "text"))
        return RedirectResponse(f"/ui/messages?{urlencode(filters)}", 303)

    @router.get("/{message_id}")
    def one(message_id: str, session: Session = reader) -> Response:
        return _show(context.runtime, session, message_id)

    @router.post("/{message_id}")
    def decide_one(request: Request, message_id: str, fields: Form, session: Session = writer) -> Response:
        what = fields.get("what", "")
        try:
            done = _decide_one(context.runtime, message_id, what, _actor(session))
        except (WrongState, LookupError) as error:
            return _show(context.runtime, session, message_id, error=str(error))
        if not done:
            why = "nothing was done: the message is in another state now"
            return _show(context.runtime, session, message_id, error=why)
        context.notify("vtsync.deliver_messages")
        gate.note(request, session, what, message_id)
        return RedirectResponse(f"/ui/messages/{message_id}", 303)

    return router


def _preview(
    runtime: Runtime, session: Session, what: str, filters: Mapping[str, str], *, grown: bool = False
) -> Response:
    """Show what a decision about many would touch. ``grown``: more wait now than the person was shown."""
    decision = _about_many(what, filters)
    found = preview_of(runtime, decision, batch_id=filters.get("batch"), trigger=filters.get("trigger"), limit=SAMPLE)
    with reading(runtime.engine) as connection:
        paused = why_paused(connection, filters.get("trigger")) if decision == "approve" else ""
    values = {"what": what, "filters": filters, "found": found, "grown": grown, "paused": paused}
    return page("decide.html", session, values, status=409 if grown else 200)


def _show(runtime: Runtime, session: Session, message_id: str, error: str = "") -> Response:
    found = message_details(runtime, message_id)
    if found is None:
        raise Refused(f"there is no message {message_id[:40]}", 404)
    decisions: tuple[str, ...] = {
        MessageState.QUEUED: ("cancel",),
        MessageState.HELD: ("approve", "cancel") if reason_code(found.reason) in APPROVABLE else ("cancel",),
        MessageState.UNKNOWN: ("sent", "resend", "drop"),
        MessageState.REJECTED: ("retry",),
        MessageState.FAILED: ("retry",),
    }.get(found.state, ())
    with reading(runtime.engine) as connection:
        if why_paused(connection, found.trigger):  # an approval changes nothing until the trigger is resumed
            decisions = tuple(one for one in decisions if one != "approve")
    account = runtime.settings.accounts.get(found.account)
    values = {
        "message": found,
        "decisions": decisions,
        "error": error,
        "test_account": account is not None and account.mode == "test",
        "meaning": MEANINGS[found.state],
        **_places(runtime, session, found),
    }
    return page("message.html", session, values, status=409 if error else 200)


def _places(runtime: Runtime, session: Session, found: MessageDetails) -> dict[str, str]:
    """Return the pages of the trigger, of the connection and of the CRM record; "" for what has none any more."""
    trigger, (connection, record), settings = found.trigger, found.about or ("", ""), runtime.settings
    link = ""
    if connection in settings.connections and session.person.may("operator"):
        with RecordLinks(runtime) as links:
            link = links.web_address(connection, record)
    return {
        "trigger_page": f"/ui/triggers/{trigger}" if trigger in settings.triggers else "",
        "connection_page": f"/ui/connections/{connection}" if connection in settings.connections else "",
        "record_page": link,
    }


def _decide_one(runtime: Runtime, message_id: str, what: str, actor: str) -> bool:
    match what:
        case "approve":
            return bool(approve(runtime, message_ids=[message_id], actor=actor))
        case "cancel":
            return bool(cancel(runtime, message_ids=[message_id], actor=actor))
        case "retry":
            return bool(retry(runtime, [message_id], actor))
        case "sent" | "resend" | "drop":
            resolve(runtime, message_id, what, actor)
            return True
        case _:
            raise Refused("this is no decision about a message", 400)


def _filters(values: Mapping[str, str]) -> dict[str, str]:
    found = {name: values[name].strip()[:200] for name in FILTERS if values.get(name, "").strip()}
    if "state" in found and found["state"] not in list(MessageState):
        raise Refused(f'there is no state "{found["state"]}"', 404)
    return found


def _end_of(day: str) -> str | None:
    """Return the id before which all messages up to the end of this day (UTC) are; None: no day is given."""
    if not day:
        return None
    try:
        return first_id_at(datetime.combine(date.fromisoformat(day) + timedelta(days=1), time.min, UTC))
    except (ValueError, OverflowError):
        raise Refused("write the day with year, month and day, such as 2027-03-01", 400) from None


def _about_many(what: str, filters: Mapping[str, str]) -> DecisionAboutMany:
    """Return the decision about many that a form names. It needs a batch or a trigger."""
    if what not in ("approve", "cancel") or not (filters.get("batch") or filters.get("trigger")):
        raise Refused("choose a batch or a trigger first", 400)
    if filters.get("number"):
        raise Refused("a decision is about a whole batch or trigger; open a message to decide about one", 400)
    return "approve" if what == "approve" else "cancel"


def _actor(session: Session) -> str:
    return session.person.name
