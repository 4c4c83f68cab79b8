"""One line in the log for each request: which route, never which secret, number or id."""

from __future__ import annotations

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("vtsync.web")


class AccessLog:
    """An ASGI middleware. Health checks are not worth a line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and say what became of it."""
        if scope["type"] != "http" or scope["path"].startswith("/health/"):
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            log.info(
                "request",
                method=scope["method"],
                route=getattr(scope.get("route"), "path", "none"),  # with {phone}, {secret} in it, not their values
                status=status or "none: the caller has gone",
                milliseconds=round(1000 * (time.monotonic() - began), 1),
                key=scope.get("state", {}).get("key"),
            )
