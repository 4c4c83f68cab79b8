"""``/v1/opt-outs``: the numbers that must not be texted from any account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection

from worker.messages.decisions import opt_in_number, opt_out_number
from worker.messages.opt_out_lists import CSV_HEADING, as_csv
from worker.messages.opt_outs import all_opt_outs, opt_outs_after, opted_out
from worker.messages.request_problems import E164_PATTERN, NOT_BLANK_PATTERN
from worker.policy.decide import OptedOut
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web.audit import note_request
from worker.web.auth import Guard, require_known
from worker.web.body import ONLY_JSON
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.problems import Problem
from worker.web.schemas import OptOutBody, OptOutList, OptOutOut, PhonePath

_EXAMPLE = f'{CSV_HEADING}+14155552671,2027-03-01T14:30:00+00:00,relay,"wrote ""STOP""",main\r\n'
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"description": "A line for each opt-out.", "content": {"text/csv": {"example": _EXAMPLE}}}
}


class CsvResponse(StreamingResponse):
    """A file of CSV that is written while it is sent."""

    media_type = "text/csv"


def add_opt_outs(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    writer, reader = Depends(guard.needs("opt-outs:write")), Depends(guard.needs("contacts:read"))
    lifter = Depends(guard.needs("opt-outs:lift"))

    @router.post("/opt-outs", tags=["opt-outs"], responses=problem_answers_to_a_body(), dependencies=ONLY_JSON)
    def opt_out(request: Request, body: OptOutBody, key: Key = writer) -> OptOutOut:
        """Stop texting a number, from every account. Waiting texts to it are not sent."""
        runtime = context.runtime
        opt_out_number(runtime, body.phone, source="http", detail=body.reason, actor=key.actor, accounts=key.accounts)
        note_request(context, request, key, "opt_out", about=body.phone, detail=body.reason)
        with reading(runtime.engine) as connection:
            return opt_out_of(connection, key, body.phone)

    @router.get("/opt-outs", tags=["opt-outs"], responses=problem_answers())
    def list_opt_outs(
        after: Annotated[
            str | None, Query(pattern=E164_PATTERN, description="`next` of the previous page, with its + as %2B.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="How many opt-outs to return.")] = 100,
        key: Key = reader,
    ) -> OptOutList:
        """List opt-outs in the order of their numbers; all pages together are all of them.

        A key for some accounts sees only numbers that these accounts know.
        """
        with reading(context.runtime.engine) as connection:
            found = opt_outs_after(connection, after or "", limit, key.accounts)
        following = found[-1][0] if len(found) == limit else None
        return OptOutList(opt_outs=[shown_to(key, phone, one) for phone, one in found], next=following)

    @router.get("/opt-outs:export", tags=["opt-outs"], responses=_CSV | problem_answers(), response_class=CsvResponse)
    def export_opt_outs(request: Request, key: Key = reader) -> CsvResponse:
        """Return all opt-outs as CSV, as `vtsync opt-outs export` writes it: phone, since, source, reason, account.

        A key for some accounts gets the numbers that these accounts know. An answer that was cut off is not complete.
        """
        note_request(context, request, key, "exported_opt_outs")
        disposition = 'attachment; filename="opt-outs.csv"'
        return CsvResponse(_exported(context.runtime, key), headers={"Content-Disposition": disposition})

    @router.get("/opt-outs/{phone}", tags=["opt-outs"], responses=problem_answers(404))
    def get_opt_out(phone: PhonePath, key: Key = reader) -> OptOutOut:
        """Return a number's opt-out. A key for some accounts sees only numbers that these accounts know."""
        with reading(context.runtime.engine) as connection:
            require_known(connection, key, phone)
            return opt_out_of(connection, key, phone)

    @router.delete("/opt-outs/{phone}", tags=["opt-outs"], responses=problem_answers(404))
    def opt_in(
        request: Request,
        phone: PhonePath,
        reason: Annotated[
            str, Query(pattern=NOT_BLANK_PATTERN, max_length=500, description="How the person agreed; the proof.")
        ],
        key: Key = lifter,
    ) -> OptOutOut:
        """Text a number again because its owner agreed, which is put on record. Unsent texts stay unsent.

        A key for some accounts lifts only an opt-out that became known through these accounts.
        """
        with writing(context.runtime.engine) as connection:
            require_known(connection, key, phone)
            actor, now = key.actor, utcnow()
            opt_in_number(connection, phone, source="http", detail=reason, now=now, actor=actor, only_of=key.accounts)
            left = opt_out_of(connection, key, phone)
        if left.opted_out:
            detail = "this opt-out was not made through an account of this key alone; `vtsync opt-in` lifts it"
            raise Problem(403, "forbidden", detail)
        note_request(context, request, key, "opt_in", about=phone, detail=reason)
        return left


def _exported(runtime: Runtime, key: Key) -> Iterator[str]:
    yield CSV_HEADING
    for portion in all_opt_outs(runtime.engine, key.accounts):
        yield as_csv((phone, one if key.may_use(one.account) else None) for phone, one in portion)


def opt_out_of(connection: Connection, key: Key, phone: str) -> OptOutOut:
    """Return a number's opt-out as the key may see it."""
    return shown_to(key, phone, opted_out(connection, [phone]).get(phone))


def shown_to(key: Key, phone: str, found: OptedOut | None) -> OptOutOut:
    """Return an opt-out, which counts for all accounts; how it was made is shown only to keys of its account."""
    if found is None:
        return OptOutOut(phone=phone, opted_out=False)
    if not key.may_use(found.account):
        return OptOutOut(phone=phone, opted_out=True)
    return OptOutOut(phone=phone, opted_out=True, since=found.since, source=found.source, detail=found.detail)
