"""``/v1/accounts/{name}/link``: the first link-up of an account whose contact list cannot be read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from worker.contacts.linking import link_state, link_without_list
from worker.core.shown import NotAsShown
from worker.core.text import counted
from worker.messages.request_problems import unknown_name
from worker.runtime import Runtime
from worker.store.db import reading
from worker.web.audit import note_request
from worker.web.auth import Guard
from worker.web.body import ONLY_JSON
from worker.web.contact_schemas import LinkBody, LinkedOut, LinkOut
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.problems import Problem, not_as_shown

AccountPath = Annotated[str, Path(max_length=200, description="The account's name.", examples=["main"])]


def add_linking(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    reader, decider = Depends(guard.needs("operate:read")), Depends(guard.needs("operate:write"))

    @router.get("/accounts/{name}/link", tags=["contacts"], responses=problem_answers(404))
    def get_link(name: AccountPath, key: Key = reader) -> LinkOut:
        """Return how an account was linked, and how many contacts wait to be created.

        An account that was never linked creates no contact while VirtualText's contact list cannot be read.
        """
        _require_account(context.runtime, key, name)
        with reading(context.runtime.engine) as connection:
            state = link_state(connection, name)
        return LinkOut(
            account=name, linked=state.linked, waiting=state.waiting, how=state.how, at=state.at, by=state.by
        )

    @router.post(
        "/accounts/{name}/link",
        tags=["contacts"],
        responses=problem_answers_to_a_body(404, 409),
        dependencies=ONLY_JSON,
    )
    def link_account(request: Request, name: AccountPath, body: LinkBody, key: Key = decider) -> LinkedOut:
        """Create every contact of an account without the list. Those that VirtualText has will be there twice.

        To match them first, give an export with `vtsync link ACCOUNT --from FILE`. An account that is linked already
        stays as it is. 409: more contacts wait than `contacts` says; nothing was done.
        """
        runtime = context.runtime
        _require_account(runtime, key, name)
        with reading(runtime.engine) as connection:
            if link_state(connection, name).linked:
                return LinkedOut(account=name, changed=False, created=0)
        try:
            count = link_without_list(runtime, name, key.actor, shown=body.contacts)
        except NotAsShown as error:
            raise not_as_shown(error, f"GET /v1/accounts/{name}/link") from None
        context.notify("vtsync.push_contacts")
        note_request(context, request, key, "linked_without_list", about=name, detail=counted(count, "contact"))
        return LinkedOut(account=name, changed=True, created=count)


def _require_account(runtime: Runtime, key: Key, name: str) -> None:
    """Raise the problem 404 unless there is this account and the key may use it."""
    known = [one for one in runtime.settings.accounts if key.may_use(one)]
    if name not in known:
        raise Problem(404, "not_found", f"the account {unknown_name(name, known)}")
