"""``/v1/connections``: their state, their runs, what was rejected, and a run at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from worker.contacts.connection_gate import paused_reason
from worker.contacts.links import RecordLinks
from worker.contacts.runs import newest_runs
from worker.doctor.status import Rejected, connection_statuses, rejected_records
from worker.fleet.wake import wake
from worker.messages.unread_records import unread_records
from worker.store.db import reading
from worker.web.audit import note_request
from worker.web.auth import Guard
from worker.web.body import ONLY_JSON
from worker.web.connection_schemas import (
    ConnectionList,
    ConnectionOut,
    RejectedList,
    RejectedOut,
    RunList,
    RunOut,
    SyncAsked,
    SyncBody,
    UnreadList,
    UnreadValueOut,
)
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.operating_schemas import LARGEST_ROW_ID
from worker.web.problems import RETRY_AFTER_SECONDS, Problem
from worker.web.visible import require_connection

NamePath = Annotated[str, Path(max_length=200, description="The connection's name.", examples=["crm"])]


def add_connections(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    _reads(router, context, guard)
    decider = Depends(guard.needs("operate:write"))

    @router.post(
        "/connections/{name}/sync",
        status_code=202,
        tags=["connections"],
        responses=problem_answers_to_a_body(404, 409),
        dependencies=ONLY_JSON,
    )
    def sync_connection(request: Request, name: NamePath, body: SyncBody, key: Key = decider) -> SyncAsked:
        """Read a connection now. A run that is in progress is not interrupted; asking twice does no harm.

        202: a worker has been told. `GET /v1/connections/{name}/runs` shows the run. 409: the connection is paused.
        503: the broker cannot be used.
        """
        require_connection(context.runtime.settings, key, name)
        if paused := paused_reason(context.runtime.engine, name):
            raise Problem(409, "paused", f"{name} was not read: {paused}")
        # No row is behind it, so nothing would repeat it.
        if not wake("vtsync.sync_connection", name, full=body.full, accept_removals=body.accept_removals):
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            raise Problem(503, "unavailable", "the broker cannot be used now; nothing was asked for", headers=headers)
        detail = "accept removals" if body.accept_removals else ""
        action = "asked_for_full_sync" if body.full else "asked_for_sync"
        note_request(context, request, key, action, about=name, detail=detail)
        return SyncAsked(connection=name, full=body.full)


def _reads(router: APIRouter, context: WebContext, guard: Guard) -> None:
    reader = Depends(guard.needs("operate:read"))

    @router.get("/connections", tags=["connections"], responses=problem_answers())
    def list_connections(key: Key = reader) -> ConnectionList:
        """List the connections with their last and next runs. A key for some accounts sees theirs."""
        found = connection_statuses(context.runtime, key.accounts)
        return ConnectionList(connections=[ConnectionOut.model_validate(one) for one in found])

    @router.get("/connections/{name}/runs", tags=["connections"], responses=problem_answers(404))
    def list_runs(
        name: NamePath,
        before: Annotated[
            int | None, Query(ge=1, le=LARGEST_ROW_ID, description="`next` of the previous page.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="How many runs to return.")] = 30,
        key: Key = reader,
    ) -> RunList:
        """List the runs of a connection, newest first."""
        require_connection(context.runtime.settings, key, name)
        with reading(context.runtime.engine) as connection:
            found = newest_runs(connection, name, limit, before=before)
        following = found[-1].id if len(found) == limit else None
        return RunList(runs=[RunOut.model_validate(one) for one in found], next=following)

    @router.get("/connections/{name}/rejected", tags=["connections"], responses=problem_answers(404))
    def list_rejected(
        name: NamePath,
        limit: Annotated[int, Query(ge=1, le=1000, description="How many records to return.")] = 100,
        key: Key = reader,
    ) -> RejectedList:
        """List the records of a connection that cannot be used as they are, oldest first, with reasons.

        Correct them in the CRM; the next run reads them again.
        """
        require_connection(context.runtime.settings, key, name)
        found = rejected_records(context.runtime, [name], limit)
        with RecordLinks(context.runtime) as links:
            return RejectedList(rejected=[_rejected(one, links) for one in found])

    @router.get("/connections/{name}/unread", tags=["connections"], responses=problem_answers(404))
    def list_unread(
        name: NamePath,
        limit: Annotated[int, Query(ge=1, le=1000, description="How many records to return.")] = 100,
        key: Key = reader,
    ) -> UnreadList:
        """List the records of a connection with a value that a trigger cannot read. It does not text about them.

        Correct them in the CRM, or set `default_region` of the connection.
        """
        settings = context.runtime.settings
        require_connection(settings, key, name)
        with reading(context.runtime.engine) as connection:
            found = unread_records(connection, settings, limit, connection=name)
        return UnreadList(unread=[UnreadValueOut.model_validate(one) for one in found])


def _rejected(one: Rejected, links: RecordLinks) -> RejectedOut:
    names = RejectedOut.model_fields.keys() - {"link"}
    values = {name: getattr(one, name) for name in names}
    return RejectedOut(**values, link=links.of(one.connection, one.key))
