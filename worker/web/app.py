"""The HTTP API as one ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response

from worker.fleet.wake import wake
from worker.inbox.intake import BatchIntake
from worker.runtime import Runtime
from worker.web import carriers, connect, crm_events, health, metrics, page, relay, v1
from worker.web.access import AccessLog
from worker.web.alerts import AlertWatch
from worker.web.context import WebContext
from worker.web.heartbeat import WebHeartbeat
from worker.web.keys import SCOPE_HELP
from worker.web.limits import RequestLimits
from worker.web.notifier import Notifier
from worker.web.openapi import openapi
from worker.web.pages.app import install as install_pages
from worker.web.problems import install_error_handlers

VERSION = "1"
DESCRIPTION = """\
Send texts, record texts that were sent elsewhere, manage opt-outs, and decide what waits for a decision. A 2xx response
means: committed.

Every request needs a key, sent as `Authorization: Bearer vtk_...`; `vtsync keys create` makes one. A key may do what
its scopes name, for its accounts. A key for some accounts sees only the people, texts and opt-outs of these accounts.
Errors are `application/problem+json` (RFC 9457).

"""
DESCRIPTION += "\n".join(f"- `{scope}`: {text}" for scope, text in SCOPE_HELP.items()) + "\n"


def create_app(runtime: Runtime, current: Callable[[], Runtime] | None = None) -> FastAPI:
    """Create the application for one store. While it runs, it stores incoming events.

    ``current`` returns the runtime for a request. By default that is always ``runtime``.
    """
    intake = BatchIntake(runtime, lambda: wake("vtsync.process_inbox"))
    notifier = Notifier(lambda *what: wake(*what))
    heartbeat = WebHeartbeat(runtime)
    context = WebContext(current or (lambda: runtime), intake, notifier.notify)
    alerts = AlertWatch(lambda: context.runtime)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await heartbeat.start()
        await intake.start()
        notifier.start()
        alerts.start()
        notifier.notify("vtsync.process_inbox")  # for events from before the start; also connects to the broker
        yield
        await asyncio.to_thread(alerts.stop)
        await intake.stop()
        await asyncio.to_thread(notifier.stop)
        await heartbeat.stop()

    app = FastAPI(
        title="VirtualText CRM sync",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from other servers
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # the method name in generated clients
    )
    install_error_handlers(app)
    relay.install(app, context)  # first, because it has the most requests
    for routes in (v1.routes, carriers.routes, crm_events.routes, connect.routes, health.routes, metrics.routes):
        app.include_router(routes(context))
    install_pages(app, context)
    web = runtime.settings.web
    app.add_middleware(
        RequestLimits, max_body=web.max_body, seconds=web.body_timeout, larger={v1.BATCH: web.max_batch_body}
    )
    app.add_middleware(AccessLog, proxies=lambda: context.runtime.settings.web.trusted_proxies)
    app.openapi = lambda: openapi(app, web.public_url)  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return page.docs_response(app.openapi())

    return app
