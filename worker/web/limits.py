"""Limits the size of every request and the time to send it. Reads the body before it calls the application."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.web.problems import Problem

log = structlog.get_logger(__name__)

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}


class RequestLimits:
    """An ASGI middleware. ``max_body`` is in bytes, ``seconds`` is the time for the whole body."""

    def __init__(self, app: ASGIApp, max_body: int, seconds: float) -> None:
        self._app, self._max_body, self._seconds = app, max_body, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request with its whole body, or answer with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        try:
            body = await asyncio.wait_for(self._body(receive), self._seconds)
        except TimeoutError:
            detail = f"the body did not arrive within {self._seconds:g} seconds (web.body_timeout)"
            problem = Problem(408, "request_timeout", detail, headers={"Connection": "close"})
            await problem.response()(scope, receive, send)
        except Problem as too_large:
            await too_large.response()(scope, receive, send)
        else:
            if body is not None:  # None: the caller has disconnected
                await self._app(scope, _replay(body, receive), send)

    async def _body(self, receive: Receive) -> bytes | None:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._max_body:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(pieces)

    def _too_large(self) -> Problem:
        detail = f"the body is larger than {self._max_body:,} bytes (web.max_body)"
        return Problem(413, "too_large", detail, headers={"Connection": "close"})


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: list[Any] = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            message["headers"] = headers + [one for one in _HEADERS.items() if one[0] not in present]
        await send(message)

    return sending
