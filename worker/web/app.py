"""The HTTP side as one ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from worker.hints import hint
from worker.inbox.intake import BatchIntake
from worker.runtime import Runtime
from worker.web import carriers, health, page, relay, v1
from worker.web.context import WebContext
from worker.web.limits import Limits
from worker.web.problems import ProblemBody, install

VERSION = "1"
DESCRIPTION = """\
Texts, records of texts that were sent elsewhere, opt-outs. A 2xx answer means that it is committed.

Every request carries a key as `Authorization: Bearer vtk_...`; `vtsync keys create` makes one.
Errors are `application/problem+json` (RFC 9457).
"""


def create_app(runtime: Runtime) -> FastAPI:
    """The application over one runtime. Its inbox is open while the application runs."""
    intake = BatchIntake(runtime, lambda: hint("vtsync.process_inbox"))
    context = WebContext(runtime, intake)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await intake.start()
        # The first hint opens the broker's connection, which takes a while; no caller should wait for it.
        warm = asyncio.create_task(asyncio.to_thread(hint, "vtsync.process_inbox"))
        yield
        await warm
        await intake.stop()

    app = FastAPI(
        title="VirtualText CRM sync",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # theirs are fetched from somebody else's servers
        redoc_url=None,
        redirect_slashes=False,
    )
    install(app)
    for routes in (v1.routes, relay.routes, carriers.routes, health.routes):
        app.include_router(routes(context))
    web = runtime.settings.web
    app.add_middleware(Limits, max_body=web.max_body, seconds=web.body_timeout)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return page.response(app.openapi())

    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        body = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= body.pop("$defs", {}) | {"ProblemBody": body}
        for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which never leave
            schemas.pop(name, None)
        app.openapi_schema = schema
    return app.openapi_schema
