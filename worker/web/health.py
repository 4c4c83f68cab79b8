"""``/health/live`` and ``/health/ready``: whether this process runs, and whether it can take anything."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from worker.store.migrate import StoreOutdated, ensure_current
from worker.web.context import WebContext


class Health(BaseModel):
    """``problems`` say what is wrong and what to do."""

    ready: bool
    problems: list[str] = []


def routes(context: WebContext) -> APIRouter:
    """The health routes, for orchestrators; without a key."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    def live() -> Health:
        """This process answers."""
        return Health(ready=True)

    @router.get("/ready", responses={503: {"model": Health, "description": "It cannot take requests."}})
    def ready(response: Response) -> Health:
        """The store is reached and fits this version."""
        try:
            ensure_current(context.runtime.engine)
        except StoreOutdated as error:
            problem = str(error)
        except DBAPIError as error:
            problem = f"the store cannot be reached ({type(error.orig or error).__name__})"
        else:
            return Health(ready=True)
        response.status_code = 503
        return Health(ready=False, problems=[problem])

    return router
