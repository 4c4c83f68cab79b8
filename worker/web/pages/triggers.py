"""Triggers: what each has done lately, what it would do for one record, and whom it would have texted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from worker.core.states import PauseKind
from worker.messages.trigger_pause import held_by_pause, pause_effect
from worker.messages.unread_records import unread_records
from worker.policy.countries import possible_numbers
from worker.rehearsal.backtest import enabled_rule
from worker.rehearsal.history import RecordName, newest_records, records_named
from worker.rehearsal.overview import trigger_overview
from worker.rehearsal.trial import NothingToTry, Trial, try_trigger
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.pauses import find_pause
from worker.web.context import WebContext
from worker.web.pages.backtests import Backtests
from worker.web.pages.gate import Form, Gate, Refused
from worker.web.pages.render import page
from worker.web.pausing import LONGEST_REASON, pause_trigger, resume_trigger
from worker.web.sessions import Session

DAYS = (1, 3, 7, 30, 90)
EXAMPLES, UNREAD = 3, 50


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui/triggers", include_in_schema=False)
    reader, writer = Depends(gate.reads()), Depends(gate.writes())
    backtests = Backtests()

    @router.get("")
    def triggers(session: Session = reader) -> Response:
        runtime = context.runtime
        texts = {name: one.message for name, one in runtime.settings.triggers.items()}
        with reading(runtime.engine) as db:
            unread = unread_records(db, runtime.settings, UNREAD)
        return page("triggers.html", session, triggers=trigger_overview(runtime), texts=texts, unread=unread)

    @router.get("/{name}")
    def one(request: Request, name: str, session: Session = reader) -> Response:
        runtime = context.runtime
        _require_trigger(runtime, name)
        words, connection = (request.query_params.get(key, "").strip()[:200] for key in ("record", "connection"))
        trial, found, problem = None, list[RecordName](), ""
        if words:
            numbers, _ = possible_numbers(words, runtime.settings)
            # The number as it is stored, so that forgetting the person finds this line, too.
            gate.note(request, session, "tried_trigger", numbers[0] if len(numbers) == 1 else words, f"trigger {name}")
            trial, found, problem = _try(runtime, session, name, words, connection)
        examples = _examples(runtime, name) if session.person.may("operator") else []
        values: dict[str, Any] = {
            **{"name": name, "trigger": runtime.settings.triggers[name], "words": words, "trial": trial},
            **{"found": found, "problem_of_trial": problem, "examples": examples},
            **{"states": [one for one in trigger_overview(runtime) if one.trigger == name]},
            **{"days": DAYS, "run": backtests.of(name)},
        }
        with reading(runtime.engine) as db:
            values |= {
                "pause": find_pause(db, PauseKind.TRIGGER, name),
                "effect": pause_effect(db, name),
                "held": held_by_pause(db, name),
                "longest": LONGEST_REASON,
            }
        return page("trigger.html", session, values)

    @router.post("/{name}")
    def act(request: Request, name: str, fields: Form, session: Session = writer) -> Response:
        _require_trigger(context.runtime, name)
        if gate.pause_or_resume(request, session, fields, name, pause_trigger, resume_trigger):
            return RedirectResponse(f"/ui/triggers/{name}", 303)
        asked = fields.get("days", "")
        if asked not in map(str, DAYS):
            raise Refused("choose a number of days", 400)
        if not backtests.start(context.runtime, name, int(asked), session.person.name):
            raise Refused("another backtest is running; try again when it is done", 429)
        gate.note(request, session, "backtest", name, f"{asked} days")
        return RedirectResponse(f"/ui/triggers/{name}#backtest", 303)

    return router


def _require_trigger(runtime: Runtime, name: str) -> None:
    if name not in runtime.settings.triggers:
        raise Refused(f"there is no trigger {name[:80]}", 404)


def _kinds(runtime: Runtime, trigger: str) -> dict[str, str]:
    """Return the kind of record that a trigger watches, by connection."""
    _, rules = enabled_rule(runtime.settings, trigger)
    return {connection: rule.options.record for connection, rule in rules.items()}


def _examples(runtime: Runtime, trigger: str) -> list[RecordName]:
    with reading(runtime.engine) as db:
        return [
            one
            for connection, kind in _kinds(runtime, trigger).items()
            for one in newest_records(db, connection, kind, EXAMPLES)
        ][:EXAMPLES]


def _try(
    runtime: Runtime, session: Session, trigger: str, words: str, connection: str
) -> tuple[Trial | None, list[RecordName], str]:
    """Return the trial of the record that these words name, the records to choose from, or what is wrong."""
    kinds = _kinds(runtime, trigger)
    if connection:
        kinds = {name: kind for name, kind in kinds.items() if name == connection}
    numbers, _ = possible_numbers(words, runtime.settings)
    # Some records have a number or an email address as their id.
    if (numbers or "@" in words or words.startswith("phone ")) and not session.person.may("operator"):
        raise Refused("viewers cannot look people up; name the id of a record")
    with reading(runtime.engine) as db:
        found = records_named(db, kinds, external_id=words)
        if not found and len(numbers) == 1:
            found = records_named(db, kinds, phone=numbers[0])
            if not found:
                return None, [], f"no record of {_listed(kinds)} has the number {numbers[0]}"
    if len(found) > 1:
        return None, found, ""
    place = found[0].connection if found else next(iter(kinds), connection)
    if not found and len(kinds) != 1:
        return None, [], f"no sync of {_listed(kinds) or connection} has stored a record {words}"
    try:
        return try_trigger(runtime, trigger, found[0].external_id if found else words, place, stored_only=True), [], ""
    except NothingToTry as error:
        return None, [], str(error)


def _listed(names: Sequence[str] | dict[str, str]) -> str:
    return " or ".join(names)
