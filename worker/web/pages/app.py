"""All routes of the pages, their files, and the answers to errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from worker.store.db import STORE_AWAY
from worker.web.context import WebContext
from worker.web.pages import (
    administration,
    alerts,
    connections,
    failures,
    messages,
    oidc,
    overview,
    people,
    signin,
    triggers,
)
from worker.web.pages.gate import Elsewhere, Gate, Refused
from worker.web.pages.render import STATIC, page, static_file


def install(app: FastAPI, context: WebContext) -> None:
    """Add the pages to the application."""
    gate = Gate(context)
    for module in (overview, alerts, messages, people, connections, triggers, failures, signin, oidc, administration):
        app.include_router(module.routes(context, gate))
    app.include_router(_files())

    @app.exception_handler(Elsewhere)
    async def elsewhere(_: Request, error: Elsewhere) -> Response:
        return error.response()

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> Response:
        return page("refused.html", gate.of(request), message=error.message, status=error.status)

    for kind in (HTTPException, *STORE_AWAY):
        _show_as_page(app, gate, kind)


def _show_as_page(app: FastAPI, gate: Gate, kind: type[Exception]) -> None:
    """Show an error as a page to who reads pages; programs get what they got before."""
    otherwise: Callable[[Request, Exception], Awaitable[Response]] = app.exception_handlers[kind]  # type: ignore[assignment]

    @app.exception_handler(kind)
    async def error(request: Request, error: Exception) -> Response:
        if not f"{request.url.path}/".startswith("/ui/"):
            return await otherwise(request, error)
        status = getattr(error, "status_code", 503)
        if status == 503:  # without a store, nobody can be recognised
            message = "the store cannot be used now; try again in a minute"
            return page("refused.html", None, message=message, status=status)
        session = None
        with suppress(*STORE_AWAY):
            session = await run_in_threadpool(gate.of, request)
        return page("refused.html", session, message="there is no such page", status=status)


def _files() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/ui/static/{name}")
    def file(name: str) -> Response:
        if name not in STATIC:
            raise Refused("there is no such file", 404)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(static_file(name), headers=headers, media_type=STATIC[name])

    return router
