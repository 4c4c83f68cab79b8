"""``/health/live`` (this process runs) and ``/health/ready`` (it can accept requests)."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from worker.store.db import STORE_AWAY
from worker.store.migrate import StoreOutdated, ensure_current, ensure_writable
from worker.web.context import WebContext


class Health(BaseModel):
    """``problems`` describe what is wrong and what to do."""

    ready: bool
    problems: list[str] = []


def routes(context: WebContext) -> APIRouter:
    """Return the health routes, for orchestrators. They need no key, so they reveal no addresses."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    def live() -> Health:
        """The process runs."""
        return Health(ready=True)

    @router.get("/ready", responses={503: {"model": Health, "description": "The process cannot accept requests."}})
    def ready(response: Response) -> Health:
        """The store can be reached, its tables fit this version, and it takes writes."""
        engine = context.runtime.engine
        try:
            ensure_current(engine)
            ensure_writable(engine)
        except StoreOutdated as error:
            problem = str(error)
        except (DBAPIError, *STORE_AWAY) as error:
            problem = f"the store cannot be used ({type(getattr(error, 'orig', None) or error).__name__})"
        else:
            return Health(ready=True)
        response.status_code = 503
        return Health(ready=False, problems=[problem])

    return router
