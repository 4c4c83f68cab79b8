"""``POST /crm/{connection}/{secret}``: the CRM reports that something has changed, so its sync is due now.

Nothing is read from the event. The adapter verifies the CRM's signature. Many events make one run due, not many.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from contextlib import closing

import structlog
from fastapi import APIRouter, Request, Response

from config.models import Settings
from crm_adapters.base import AdapterError, WakesOnEvents
from crm_adapters.registry import BrokenAdapter, UnknownAdapter
from worker.contacts.adapters import build_adapter
from worker.fleet.crm_events import make_due
from worker.runtime import Runtime
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.problems import Problem
from worker.web.public_url import called_url
from worker.web.url_secrets import secret_digest
from worker.work.registry import TICK

log = structlog.get_logger(__name__)


def routes(context: WebContext) -> APIRouter:
    """Return the route. It is not in the documented API, because its URL is a secret that only CRMs have."""
    router = APIRouter(include_in_schema=False)

    @router.post("/crm/{connection}/{secret}")
    async def crm_event(connection: str, secret: str, request: Request) -> Response:
        """Make the connection's sync due."""
        runtime = context.runtime
        if not _is_known(runtime.settings, connection, secret):
            raise Problem(404, "not_found", "There is nothing here.")
        # Some CRMs sign the method and the URL, too. The names are those of HTTP/2, which no caller can send.
        parts = {":method": request.method, ":url": called_url(request, runtime.settings.web.public_url)}
        headers = {name.lower(): value for name, value in request.headers.items()} | parts
        verdict = await asyncio.to_thread(_verify, runtime, connection, headers, await request.body())
        if verdict is None:
            raise Problem(404, "not_found", "There is nothing here.")
        if not verdict:
            log.warning(
                "an event of a CRM was refused: check the signing secret in the options of the connection",
                connection=connection,
            )
            raise Problem(401, "unauthorized", "the signature of this request is wrong")
        if await asyncio.to_thread(make_due, runtime.engine, runtime.settings, connection, utcnow()):
            context.notify(TICK.task)
        return Response(status_code=204)

    return router


def _is_known(settings: Settings, connection: str, secret: str) -> bool:
    """Compare the secret, also for an unknown connection: both take the same time."""
    found = settings.connections.get(connection)
    expected = None if found is None else found.webhook_secret
    right = secret_digest("" if expected is None else expected.get_secret_value())
    return hmac.compare_digest(right, secret_digest(secret)) and expected is not None


def _verify(runtime: Runtime, connection: str, headers: Mapping[str, str], body: bytes) -> bool | None:
    """Ask the adapter if the event comes from its CRM. None: it accepts no events."""
    try:
        with closing(build_adapter(runtime.settings, connection)) as adapter:
            return adapter.wakes(headers, body) if isinstance(adapter, WakesOnEvents) else None
    except (AdapterError, UnknownAdapter, BrokenAdapter):
        return None  # `vtsync check` and the sync report it
    except Exception as error:  # noqa: BLE001 - adapters are third-party code
        # Without its text, which may contain the request.
        log.warning("the adapter failed on an event of its CRM", connection=connection, error=type(error).__name__)
        return False
