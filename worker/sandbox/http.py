"""The sandbox's HTTP/1.1: a server that can also break a connection on purpose, and a client for webhooks."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import httptools

from worker.sandbox.answers import SandboxAnswer

SHUTDOWN_SECONDS = 0.5
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class HttpRequest:
    """One request. Names of headers are in lower case. ``drop``, ``truncate`` and ``announce`` break its connection."""

    transport: asyncio.Transport
    method: str = ""
    url: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = False

    @property
    def path(self) -> str:
        """Return the path without its query, decoded."""
        return unquote(urlsplit(self.url.decode("latin-1")).path)

    @property
    def query(self) -> Mapping[str, str]:
        """Return the parameters of the query."""
        return dict(parse_qsl(urlsplit(self.url.decode("latin-1")).query, keep_blank_values=True))

    def drop(self, reset: bool) -> None:
        """Close the connection without an answer, with a RST or a FIN."""
        connection = self.transport.get_extra_info("socket")
        if reset and connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.transport.abort()

    def truncate(self, answer: SandboxAnswer) -> None:
        """Close the connection after one half of the answer's body."""
        self.transport.write(_head(answer) + answer.body[: len(answer.body) // 2])
        self.transport.close()

    def announce(self, answer: SandboxAnswer, length: int) -> None:
        """Begin the answer as one of ``length`` bytes, and close the connection after its body."""
        self.transport.write(_head(answer, length=length) + answer.body)
        self.transport.close()


Handler: TypeAlias = Callable[[HttpRequest], Awaitable[SandboxAnswer | None]]
"""Answers a request. None: the connection was broken instead."""


class HttpServer:
    """Answers the requests of one listening socket. Lives on one event loop."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.transports: set[asyncio.Transport] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Start answering requests."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), sock=listener, backlog=1024)

    async def stop(self) -> None:
        """Close the socket and all connections. Requests in flight get half a second to end."""
        self._server.close()
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=SHUTDOWN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for transport in list(self.transports):
            transport.abort()


class _Connection(asyncio.Protocol):
    """One connection: reads requests and answers one after the other."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[HttpRequest] = deque()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._server.transports.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._server.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.write(_head(SandboxAnswer(400, b""), close=True))
            self._transport.close()

    # called by the parser

    def on_message_begin(self) -> None:
        self._request, self._body = HttpRequest(self._transport), bytearray()

    def on_url(self, url: bytes) -> None:
        self._request.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._request.method = self._parser.get_method().decode()
        self._request.keep_alive = self._parser.should_keep_alive()
        self._request.body = bytes(self._body)
        self._waiting.append(self._request)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer_all())
            self._server.tasks.add(self._task)
            self._task.add_done_callback(self._server.tasks.discard)

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                request = self._waiting.popleft()
                answer = await self._server.handler(request)
                if answer is None or self._transport.is_closing():
                    return
                body = b"" if request.method == "HEAD" else answer.body
                self._transport.write(_head(answer, close=not request.keep_alive) + body)
                if not request.keep_alive:
                    self._transport.close()
                    return
        except BaseException:
            self._transport.abort()
            raise
        finally:
            self._task = None


def _head(answer: SandboxAnswer, close: bool = False, length: int | None = None) -> bytes:
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Unknown"
    headers = {"Date": _date(int(time.time())), "Content-Type": answer.content_type, **answer.headers}
    if answer.status != HTTPStatus.NO_CONTENT:
        headers["Content-Length"] = str(len(answer.body) if length is None else length)
    if close:
        headers["Connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} {reason}\r\n{lines}\r\n".encode("latin-1")


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


async def post_json(url: str, body: bytes, seconds: float) -> int:
    """POST ``body`` and return the status. Raises OSError, TimeoutError, or ValueError for what is not HTTP."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    host = parts.netloc.rpartition("@")[2]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        head += f"Authorization: Basic {b64encode(credentials).decode()}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls)
        try:
            writer.write(head.encode("latin-1") + body)
            version, _, rest = (await reader.readline()).decode("latin-1").partition(" ")
            if not version.startswith("HTTP/1."):
                raise ValueError("the answer is not HTTP")
            return int(rest[:3])
        finally:
            writer.close()
