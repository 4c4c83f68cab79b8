"""``GET /connect/callback``: a CRM's answer to a consent that `vtsync connect --web` has begun."""

from __future__ import annotations

import asyncio

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from crm_adapters.base import AdapterError
from worker.contacts.consent import CALLBACK_PATH, finish_consent
from worker.doctor.credentials import check_connection
from worker.runtime import Runtime
from worker.web.context import WebContext

log = structlog.get_logger(__name__)


def routes(context: WebContext) -> APIRouter:
    """Return the route. It needs no key: the state in the link proves that the link is from here."""
    router = APIRouter(include_in_schema=False)

    @router.get(CALLBACK_PATH)
    async def connected(request: Request) -> Response:
        """Store the credential, check it, and say so in the browser."""
        return await asyncio.to_thread(_finish, context.runtime, dict(request.query_params))

    return router


def _finish(runtime: Runtime, answer: dict[str, str]) -> Response:
    try:
        connection = finish_consent(runtime, answer)
    except AdapterError as error:
        log.warning("a connection was not connected", reason=str(error))
        return PlainTextResponse(f"{error}\n", 400)
    log.info("connected", connection=connection)
    found = "".join(f"{one.what}: {one.detail}\n" for one in check_connection(runtime, connection))
    return PlainTextResponse(f"Connected. You can close this page.\n\n{found}")
