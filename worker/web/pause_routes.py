"""``/v1/connections/{name}/pause`` and ``/resume``, and the same for triggers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from worker.messages.request_problems import NO_NUL_PATTERN, unknown_name
from worker.messages.trigger_pause import waits_for
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.pauses import Pause
from worker.web.audit import address_of
from worker.web.auth import Guard
from worker.web.body import ONLY_JSON
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.pausing import (
    LONGEST_REASON,
    pause_connection,
    pause_reason,
    pause_trigger,
    resume_connection,
    resume_trigger,
)
from worker.web.problems import Problem
from worker.web.visible import require_connection
from worker.work.registry import TICK

ConnectionPath = Annotated[str, Path(pattern=NO_NUL_PATTERN, max_length=200, examples=["crm"])]
TriggerPath = Annotated[str, Path(pattern=NO_NUL_PATTERN, max_length=200, examples=["welcome"])]


class PauseBody(BaseModel):
    """Why something is paused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: str = Field(
        "",
        max_length=LONGEST_REASON,
        pattern=NO_NUL_PATTERN,
        description="Why, for the people who see that it is paused.",
        examples=["the CRM is being moved"],
    )


class PauseOut(BaseModel):
    """Whether it is paused, since when, by whom and why; after a resume, the pause that ended."""

    name: str = Field(examples=["crm"])
    paused: bool
    changed: bool = Field(description="False if nothing changed.")
    since: datetime | None = Field(description="When it was paused.", examples=["2027-03-01T14:30:00Z"])
    actor: str | None = Field(description="Who paused it.", examples=["key shop"])
    reason: str | None = Field(description="Why it was paused.", examples=["the CRM is being moved"])


class PausedConnectionOut(PauseOut):
    """A paused connection."""

    being_read: bool = Field(description="A run is in progress, and ends at its next safe point.")
    texts_going: int = Field(description="Its texts that wait, and still go.", examples=[0])
    texts_of_run: int = Field(
        description="Texts of its unfinished run. They wait until a run after the pause has ended.", examples=[0]
    )


class PausedTriggerOut(PauseOut):
    """A paused trigger."""

    held: int = Field(description="Its texts that are held because of the pause.", examples=[3])
    going: int = Field(description="Its texts whose request has begun, and which still go.", examples=[0])


class ResumedTriggerOut(PauseOut):
    """A resumed trigger."""

    held: int = Field(description="Texts that the pause has held and that stay held.", examples=[3])
    held_otherwise: int = Field(description="Texts that wait for an approval for another reason.", examples=[0])


def add_pauses(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    writer = Depends(guard.needs("operate:write"))

    @router.post(
        "/connections/{name}/pause",
        tags=["pauses"],
        responses=problem_answers_to_a_body(404),
        dependencies=ONLY_JSON,
    )
    def pause_a_connection(
        request: Request, name: ConnectionPath, body: PauseBody, key: Key = writer
    ) -> PausedConnectionOut:
        """Stop reading a connection: neither its schedule nor an event of its CRM starts a run.

        Nothing is lost: the next run after the pause continues from the stored position.
        """
        require_connection(context.runtime.settings, key, name)
        done = pause_connection(
            context.runtime,
            name,
            reason=pause_reason(body.reason),
            actor=key.actor,
            address=address_of(context, request),
        )
        return PausedConnectionOut(
            **_state(name, done.pause, paused=True, changed=done.changed),
            being_read=done.being_read,
            texts_going=done.texts_going,
            texts_of_run=done.texts_of_run,
        )

    @router.post("/connections/{name}/resume", tags=["pauses"], responses=problem_answers(404))
    def resume_a_connection(request: Request, name: ConnectionPath, key: Key = writer) -> PauseOut:
        """Let a connection be read again."""
        require_connection(context.runtime.settings, key, name)
        ended = resume_connection(context.runtime, name, actor=key.actor, address=address_of(context, request))
        context.notify(TICK.task)
        return PauseOut(**_state(name, ended, paused=False, changed=ended is not None))

    @router.post(
        "/triggers/{name}/pause",
        tags=["pauses"],
        responses=problem_answers_to_a_body(404),
        dependencies=ONLY_JSON,
    )
    def pause_a_trigger(request: Request, name: TriggerPath, body: PauseBody, key: Key = writer) -> PausedTriggerOut:
        """Hold the texts of a trigger. None of them begins after the answer; those in `going` have begun."""
        _require_trigger(context.runtime, key, name)
        done = pause_trigger(
            context.runtime,
            name,
            reason=pause_reason(body.reason),
            actor=key.actor,
            address=address_of(context, request),
        )
        state = _state(name, done.pause, paused=True, changed=done.changed)
        return PausedTriggerOut(**state, held=done.held, going=done.going)

    @router.post("/triggers/{name}/resume", tags=["pauses"], responses=problem_answers(404))
    def resume_a_trigger(request: Request, name: TriggerPath, key: Key = writer) -> ResumedTriggerOut:
        """Let a trigger text again. What the pause has held stays held until somebody approves or cancels it."""
        _require_trigger(context.runtime, key, name)
        done = resume_trigger(context.runtime, name, actor=key.actor, address=address_of(context, request))
        state = _state(name, done.pause, paused=False, changed=done.pause is not None)
        return ResumedTriggerOut(**state, held=done.held, held_otherwise=done.held_otherwise)


def _require_trigger(runtime: Runtime, key: Key, name: str) -> None:
    """Raise the problem 404 unless the key may use all accounts that the trigger texts from."""
    settings = runtime.settings
    triggers = settings.triggers.items()
    known = [one for one, it in triggers if all(key.may_use(settings.connections[c].account) for c in it.connections)]
    if name not in known:
        raise Problem(404, "not_found", f"the trigger {unknown_name(name, known)}")
    others = [one for one in settings.accounts if not key.may_use(one)]
    with reading(runtime.engine) as connection:
        if others and waits_for(connection, name, others):
            raise Problem(
                403, "forbidden", "texts of this trigger wait that belong to accounts that this key may not use"
            )


def _state(name: str, pause: Pause | None, *, paused: bool, changed: bool) -> dict[str, object]:
    return {
        "name": name,
        "paused": paused,
        "changed": changed,
        "since": None if pause is None else pause.since,
        "actor": None if pause is None else pause.actor,
        "reason": None if pause is None else pause.reason,
    }
