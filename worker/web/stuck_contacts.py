"""``/v1/contacts`` for operating: contacts that VirtualText refused, or may have lost, and decisions about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import select

from worker.contacts.resolve import (
    AttemptNotAsShown,
    IdTaken,
    ListNotRead,
    NotUnknown,
    ShownAttempt,
    count_retryable,
    resolve_by_list,
    resolve_contact,
    retry_contacts,
    was_resolved,
)
from worker.core.shown import NotAsShown
from worker.core.states import PushState
from worker.core.text import counted
from worker.doctor.status import contacts_in
from worker.store.db import reading
from worker.store.tables import contact
from worker.web.audit import note_request
from worker.web.auth import Guard, account_of, require_scope
from worker.web.body import ONLY_JSON
from worker.web.contact_schemas import (
    ResolveContactBody,
    ResolvedContactOut,
    RetriedContacts,
    RetryContactsBody,
    StuckContactList,
    StuckContactOut,
)
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.operating_schemas import LARGEST_ROW_ID
from worker.web.problems import Problem, invalid_request, not_as_shown
from worker.web.schemas import PhonePath

_PUSH = "vtsync.push_contacts"


def add_stuck_contacts(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    reader, decider = Depends(guard.needs("operate:read")), Depends(guard.needs("operate:write"))

    @router.get("/contacts", tags=["contacts"], responses=problem_answers())
    def list_contacts(
        state: Annotated[PushState, Query(description="Only contacts in this state.")],
        failing: Annotated[
            bool, Query(description="With `due`: only those whose updates fail again and again.")
        ] = False,
        account: Annotated[str | None, Query(max_length=200, description="Only contacts of this account.")] = None,
        after: Annotated[int, Query(ge=0, le=LARGEST_ROW_ID, description="`next` of the previous page.")] = 0,
        limit: Annotated[int, Query(ge=1, le=1000, description="How many contacts to return.")] = 100,
        key: Key = reader,
    ) -> StuckContactList:
        """List contacts in one state with the reason, and count those that can be retried.

        VirtualText refused those that are `rejected`. The response to the create of an `unknown` one was lost; it is
        looked up before anything else is tried. A key for some accounts sees their contacts. `synced` are those of whom
        nothing waits: listing them needs `contacts:read`, too.
        """
        if state is PushState.SYNCED:
            require_scope(key, "contacts:read")
        runtime, accounts = context.runtime, _accounts(context, key, account)
        found = contacts_in(runtime, state, limit, failing=failing, accounts=accounts, after=after)
        with reading(runtime.engine) as connection:
            retryable = count_retryable(connection, accounts)
        following = found[-1].id if len(found) == limit else None
        listed = [StuckContactOut.model_validate(one) for one in found]
        return StuckContactList(contacts=listed, retryable=retryable, next=following)

    @router.post("/contacts:retry", tags=["contacts"], responses=problem_answers_to_a_body(409), dependencies=ONLY_JSON)
    def retry_many_contacts(request: Request, body: RetryContactsBody, key: Key = decider) -> RetriedContacts:
        """Try contacts again now that VirtualText refused, or that wait for their next attempt.

        Repeating it does no harm. 409: more match than `contacts` says; nothing was done.
        """
        try:
            accounts = _accounts(context, key, body.account)
            count = retry_contacts(context.runtime, phone=body.phone, accounts=accounts, shown=body.contacts)
        except NotAsShown as error:
            raise not_as_shown(error, "GET /v1/contacts") from None
        if count:
            context.notify(_PUSH)
        about = body.phone or body.account or ""
        note_request(context, request, key, "retry_contacts", about=about, detail=counted(count, "contact"))
        return RetriedContacts(retried=count)

    _resolve(router, context, guard)


def _resolve(router: APIRouter, context: WebContext, guard: Guard) -> None:
    decider = Depends(guard.needs("operate:write"))

    @router.post(
        "/contacts/{phone}/resolve",
        tags=["contacts"],
        responses=problem_answers_to_a_body(404, 409),
        dependencies=ONLY_JSON,
    )
    def resolve_a_contact(
        request: Request, phone: PhonePath, body: ResolveContactBody, key: Key = decider
    ) -> ResolvedContactOut:
        """Say how a create ended whose response was lost, or what to do about a contact whose updates fail.

        `create` reads VirtualText's contact list, which can take a minute for many contacts. Repeating it does no harm.
        404: the account has no such contact. 409: it needs no decision (any more), another attempt was made since
        (`not_as_shown`), or the list cannot be read (`list_not_read`): look in VirtualText, and add `without_list`.
        """
        account = account_of(key, body.account, context.runtime)
        try:
            adopted_as = _decided(context, key, account, phone, body)
        except LookupError:
            raise Problem(404, "not_found", f"the account {account} has no contact with this number") from None
        except AttemptNotAsShown as error:
            detail = f"{error}. Look at `GET /v1/contacts` again, and decide with its `attempted_at`"
            raise Problem(409, "not_as_shown", detail) from None
        except IdTaken as error:
            raise invalid_request([("/virtualtext_id", str(error))]) from None
        except NotUnknown as error:
            adopted_as = None
            _require_repetition(context, key, account, phone, body, error)
        except ListNotRead as error:
            detail = f"{error}; nothing was decided. Look for the contact in VirtualText: `found` names its id, and"
            raise Problem(409, "list_not_read", f"{detail} `without_list` creates it anyway") from None
        else:
            context.notify(_PUSH)
            note_request(context, request, key, f"contact_{body.verdict}", about=phone, detail=f"account {account}")
        c = contact.c
        with reading(context.runtime.engine) as connection:
            state = connection.scalar(select(c.push_state).where(c.account == account, c.phone == phone))
        return ResolvedContactOut(
            phone=phone, account=account, verdict=body.verdict, state=str(state), adopted_as=adopted_as
        )


def _decided(context: WebContext, key: Key, account: str, phone: str, body: ResolveContactBody) -> str | None:
    """Carry out the decision. Return the id under which VirtualText's list has a contact that was to be created."""
    runtime = context.runtime
    shown = ShownAttempt(body.attempted_at) if "attempted_at" in body.model_fields_set else None
    if body.verdict == "create" and not body.without_list:
        return resolve_by_list(runtime, account, phone, actor=key.actor, shown=shown)
    found = body.virtualtext_id
    resolve_contact(runtime, account, phone, virtualtext_id=found, actor=key.actor, shown=shown)
    return None


def _require_repetition(
    context: WebContext, key: Key, account: str, phone: str, body: ResolveContactBody, error: NotUnknown
) -> None:
    """Raise the problem 409 unless this key was the last to resolve this contact, and in the same way."""
    with reading(context.runtime.engine) as connection:
        repeated = was_resolved(connection, account, phone, virtualtext_id=body.virtualtext_id, actor=key.actor)
    if not repeated:
        raise Problem(409, "too_late", str(error))


def _accounts(context: WebContext, key: Key, account: str | None) -> tuple[str, ...]:
    """Return the accounts of a request: the one that it names, or those of the key. Empty: all."""
    return key.accounts if account is None else (account_of(key, account, context.runtime),)
