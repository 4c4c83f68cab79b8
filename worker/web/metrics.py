"""``/metrics`` for Prometheus and ``/health/fleet`` for monitors. Both need a key with `metrics:read`."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from worker.monitoring.exposition import registry_of, render
from worker.monitoring.state import StateCache
from worker.web.auth import Guard
from worker.web.context import WebContext
from worker.web.fleet import FleetOut, fleet_health
from worker.web.openapi import problem_answers


def routes(context: WebContext) -> APIRouter:
    """Return the routes for monitoring."""
    router = APIRouter(tags=["health"])
    reader = Depends(Guard(context).needs("metrics:read"))
    state = StateCache(context.current)
    registry = registry_of("web", state)

    @router.get("/metrics", include_in_schema=False, dependencies=[reader])
    def metrics(request: Request) -> Response:
        page, content_type = render(registry, request.headers.get("accept", ""))
        return Response(page, headers={"Content-Type": content_type})

    @router.get(
        "/health/fleet",
        responses=problem_answers()
        | {503: {"model": FleetOut, "description": "Something keeps the fleet from working."}},
        dependencies=[reader],
    )
    def fleet(response: Response) -> FleetOut:
        """The state of the fleet: store, broker, processes, the tick, overdue work, accounts, open decisions."""
        found = fleet_health(context.runtime)
        response.status_code = 503 if found.status == "fail" else 200
        return found

    return router
