"""Limits the size of every request and the time to send it. Reads the body before it calls the application."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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


MOST_HELD = 64_000_000
"""Bytes that all large bodies that are being read may take together."""
BUSY = "too many large requests come at once; send the request again with the same Idempotency-Key"


class RequestLimits:
    """An ASGI middleware. ``max_body`` is in bytes, ``seconds`` is the time for the whole body.

    ``larger`` are the paths whose bodies may be longer, each with its limit.
    """

    def __init__(self, app: ASGIApp, max_body: int, seconds: float, larger: Mapping[str, int]) -> None:
        self._app, self._max_body, self._seconds, self._larger = app, max_body, seconds, larger
        self._held = 0
        """Bytes beyond ``max_body`` that are in memory now. Bodies are read before the key is checked."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request with its whole body, or answer with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        limit = max(self._max_body, self._larger.get(scope["path"], 0))
        try:
            body = await asyncio.wait_for(self._body(receive, limit), self._seconds)
        except TimeoutError:
            detail = f"the body did not arrive within {self._seconds:g} seconds (web.body_timeout)"
            problem = Problem(408, "request_timeout", detail, headers={"Connection": "close"})
            await problem.response()(scope, receive, send)
        except Problem as refused:
            await refused.response()(scope, receive, send)
        else:
            if body is not None:  # None: the caller has disconnected
                await self._app(scope, _replay(body, receive), send)

    async def _body(self, receive: Receive, limit: int) -> bytes | None:
        pieces: list[bytes] = []
        size = held = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > limit:
                    raise _too_large(limit, "web.max_body" if limit == self._max_body else "web.max_batch_body")
                more = max(0, size - self._max_body) - held
                if more and self._held + more > MOST_HELD:
                    raise Problem(503, "unavailable", BUSY, headers={"Connection": "close", "Retry-After": "5"})
                held, self._held = held + more, self._held + more
                if not message.get("more_body"):
                    return b"".join(pieces)
        finally:
            self._held -= held


def _too_large(limit: int, setting: str) -> Problem:
    detail = f"the body is larger than {limit:,} bytes ({setting})"
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
