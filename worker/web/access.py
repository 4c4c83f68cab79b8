"""Request ids and the access log.

Each request has an id, which appears in its response and in all its log lines. Requests are counted and logged by
route, so that no secret, phone number or id of a path is logged.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.types import IpNetwork
from worker.core.logs import start_context
from worker.core.metrics import http_answered
from worker.web.callers import caller_address

REQUEST_ID = "X-Request-ID"
_ACCEPTABLE_ID = re.compile(r"(?!\d+$)[A-Za-z0-9._:/=-]{8,100}")
"""Ids as tracing systems make them. Excludes anything that could be a phone number or break a log line."""
_QUIET = ("/health/", "/metrics", "/relay/", "/carriers/", "/crm/")
"""Frequent requests. They are not logged if they succeed: each event is in the inbox anyway."""

log = structlog.get_logger("vtsync.web")


class AccessLog:
    """An ASGI middleware that logs requests, except successful health checks, scrapes and events.

    ``proxies`` returns `web.trusted_proxies`.
    """

    def __init__(self, app: ASGIApp, proxies: Callable[[], Sequence[IpNetwork]]) -> None:
        self._app, self._proxies = app, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log its outcome."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        start_context(request=request_id)  # for this request only: it runs in an asyncio task of its own

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            seconds = time.monotonic() - began
            route = _route(scope)
            http_answered(scope["method"], route, status, seconds)
            if not 200 <= status < 300 or not scope["path"].startswith(_QUIET):
                log.info(
                    "request",
                    method=scope["method"],
                    route=route,
                    status=status or "none: the caller disconnected",
                    milliseconds=round(1000 * seconds, 1),
                    key=scope["state"].get("key"),
                    caller=caller_address(scope, self._proxies()),
                )


def request_id_of(scope: Scope) -> str:
    """Return the caller's X-Request-ID if it is acceptable, else a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _ACCEPTABLE_ID.fullmatch(given) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    """Return the path with placeholders such as {phone}, not their values; for a plain route, its function."""
    path = getattr(scope.get("route"), "path", None)
    return str(path or getattr(scope.get("endpoint"), "__name__", "none"))
