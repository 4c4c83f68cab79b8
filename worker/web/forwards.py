"""``/v1/forwards``: events on their way to CRM records and services, and the repetition of those that were given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from worker.core.shown import NotAsShown
from worker.core.states import DeliveryState
from worker.core.text import counted
from worker.deliveries.listing import (
    REPEATED,
    ListedDelivery,
    count_deliveries,
    find_deliveries,
    receivers_of,
    retry_deliveries,
)
from worker.messages.request_problems import NO_NUL_PATTERN
from worker.runtime import Runtime
from worker.web.audit import note_request
from worker.web.auth import Guard
from worker.web.body import ONLY_JSON
from worker.web.context import WebContext
from worker.web.forward_schemas import ForwardList, ForwardOut, RetriedForward, RetriedForwards, RetryForwardsBody
from worker.web.keys import Key
from worker.web.openapi import problem_answers, problem_answers_to_a_body
from worker.web.operating_schemas import LARGEST_ROW_ID
from worker.web.problems import not_as_shown


def add_forwards(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    reader, decider = Depends(guard.needs("operate:read")), Depends(guard.needs("operate:write"))

    @router.get("/forwards", tags=["forwards"], responses=problem_answers())
    def list_forwards(
        state: Annotated[DeliveryState | None, Query(description="Only deliveries in this state.")] = None,
        target: Annotated[
            str | None,
            Query(
                min_length=1,
                max_length=500,
                pattern=NO_NUL_PATTERN,
                description="Only to this receiver; `*` at the end stands for anything.",
            ),
        ] = None,
        before: Annotated[
            int | None, Query(ge=1, le=LARGEST_ROW_ID, description="`next` of the previous page.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="How many deliveries to return.")] = 50,
        key: Key = reader,
    ) -> ForwardList:
        """List deliveries, newest first, and count those of the target that can be repeated.

        A key for some accounts sees deliveries to the CRMs, and to the subscribers, of these accounts alone.
        """
        runtime, receivers = context.runtime, _receivers(context.runtime, key)
        found = find_deliveries(runtime, state=state, target=target, receivers=receivers, before=before, limit=limit)
        counts = count_deliveries(runtime, target=target, receivers=receivers)
        return ForwardList(
            forwards=[ForwardOut.model_validate(one) for one in found],
            failed=counts[DeliveryState.FAILED],
            due=counts[DeliveryState.DUE],
            next=found[-1].id if len(found) == limit else None,
        )

    @router.post("/forwards:retry", tags=["forwards"], responses=problem_answers_to_a_body(409), dependencies=ONLY_JSON)
    def retry_forwards(request: Request, body: RetryForwardsBody, key: Key = decider) -> RetriedForwards:
        """Repeat deliveries now: by their ids, all to a target, or all that were given up. Repeating it does no harm.

        With ids, each has its own outcome. 409: more match than `deliveries` says; nothing was done.
        """
        runtime, receivers = context.runtime, _receivers(context.runtime, key)
        try:
            count = retry_deliveries(
                runtime,
                ids=body.ids or (),
                target=body.target,
                failed_only=body.failed,
                receivers=receivers,
                shown=body.deliveries,
            )
        except NotAsShown as error:
            raise not_as_shown(error, "GET /v1/forwards") from None
        if count:
            context.notify("vtsync.forward_events")
        about = body.target or ("all failed" if body.failed else ", ".join(map(str, body.ids or ())))
        detail = counted(count, "delivery", "deliveries")
        note_request(context, request, key, "retry_forwards", about=about, detail=detail)
        return RetriedForwards(retried=count, outcomes=_outcomes(runtime, body.ids or (), receivers))


def _receivers(runtime: Runtime, key: Key) -> list[str] | None:
    return receivers_of(runtime.settings, key.accounts) if key.accounts else None


def _outcomes(runtime: Runtime, ids: Sequence[int], receivers: Sequence[str] | None) -> list[RetriedForward]:
    found = find_deliveries(runtime, ids=ids, receivers=receivers, limit=len(ids)) if ids else []
    states = {one.id: one for one in found}
    return [_outcome(one, states.get(one)) for one in ids]


def _outcome(delivery_id: int, found: ListedDelivery | None) -> RetriedForward:
    if found is None:
        detail = "there is no delivery with this id that this key may see"
        return RetriedForward(id=delivery_id, status=404, state=None, detail=detail)
    if found.state in REPEATED:
        return RetriedForward(id=delivery_id, status=200, state=found.state, detail="")
    detail = f"the delivery is {found.state}; only one that failed or waits can be repeated"
    return RetriedForward(id=delivery_id, status=409, state=found.state, detail=detail)
