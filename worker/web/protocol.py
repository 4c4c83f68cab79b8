"""HTTP/1.1 with limits, for slow, hostile and unusual callers.

uvicorn with httptools limits neither the time nor the size of a request's head. It waits forever for a caller that
does not read its response, or that sends only blank lines. It loses the body of a request that offers an upgrade, as
Java's HttpClient does on ``http://``. Each such connection counts towards its limit of connections.

uvicorn with h11 limits the size of a head and keeps the body, but has none of the time limits, answers in plain text,
and takes about 100 microseconds of CPU more for each request (150 instead of 53): on the same machine 12,000 Relay
events took 13.0 s instead of 8.4 s (bench/relay_storm.py). So this module extends the httptools protocol. It depends on
private names of uvicorn; tests/web/test_protocol.py fails if a new release changes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from worker.web.problems import Problem

HEAD_SECONDS = 10.0
"""Time limit for the request line and all headers."""
MAX_HEAD_BYTES = 64 * 1024
READ_SECONDS = 30.0
"""Time limit for the caller to read what waits to be sent."""

CROWDED = 0.8
"""The share of all allowed connections above which unused ones are closed, so that new callers still get in."""

TOO_SLOW = Problem(
    408, "request_timeout", f"the request line and headers did not arrive within {HEAD_SECONDS:g} seconds"
)
TOO_LARGE = Problem(431, "head_too_large", f"the request line and headers are longer than {MAX_HEAD_BYTES:,} bytes")
NOT_HTTP = Problem(400, "not_http", "this is not HTTP/1.1, or an unknown method")
BUSY = Problem(
    503,
    "unavailable",
    "too many connections; send the request again later",
    headers={"Connection": "close", "Retry-After": "1"},
)


def make_room(connections: Iterable[BoundedHttp], limit: int) -> None:
    """If almost ``limit`` connections are open, close half of the unused ones of the address that holds most of them.

    The oldest ones go. Below that nothing is closed: a proxy is one address for all its callers, and may keep
    connections for later. With half of them at once, the search is rarely repeated, even if somebody keeps connecting.
    """
    open_now = [one for one in connections if not one.transport.is_closing()]
    if len(open_now) <= CROWDED * limit:
        return
    unused: dict[str, list[BoundedHttp]] = {}
    for one in open_now:
        if one.is_unused:
            unused.setdefault(one.client[0] if one.client else "", []).append(one)
    most = max(unused.values(), key=len, default=[])
    most.sort(key=lambda one: one.opened_at)
    for one in most[: len(most) // 2]:
        one.transport.close()


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with limits for heads, for callers that do not read, and for unused connections."""

    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    _received = 0
    opened_at = 0.0
    """When it was opened, by the clock of the event loop."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit; it also applies to a caller that sends nothing."""
        super().connection_made(transport)
        self.opened_at = self.loop.time()
        if self.limit_concurrency is not None and len(self.connections) > CROWDED * self.limit_concurrency:
            make_room(self.connections, self.limit_concurrency)  # type: ignore[arg-type]
        transport.set_write_buffer_limits(high=0)  # call pause_writing for any bytes that the caller has not read
        self._start_head_timer()

    @property
    def is_unused(self) -> bool:
        """True if no complete request is being answered: nothing, a part of a head, or a part of a body has come."""
        return self._running is None or self._running.response_complete or self._running.more_body

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers and tell the running request that its caller is gone."""
        self._stop_head_timer()
        self._stop_read_timer()
        if self._running is not None:  # with pipelined requests, uvicorn tells only the last one
            self._running.disconnected = True
        super().connection_lost(exc)

    # --- the head of a request

    def on_message_begin(self) -> None:
        """Start the time limit of a head. The first one's started with the connection."""
        super().on_message_begin()
        if self._head_timer is None:
            self._start_head_timer()

    def on_headers_complete(self) -> None:
        """Stop the time limit, and handle the head unless it offers an upgrade."""
        self._stop_head_timer()
        if not self.parser.should_upgrade():  # else it is parsed again without the offer
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Handle a part of the body."""
        if not self.parser.should_upgrade():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Handle the end of a request."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse bytes, and count those that belong to a head."""
        waiting = self._head_timer is not None
        self._unset_keepalive_if_required()
        self._feed(data)
        if waiting and self._head_timer is not None:
            self._received += len(data)
            if self._received > MAX_HEAD_BYTES:
                self._refuse(TOO_LARGE)
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._head_timer is None and not self.transport.is_closing():
            self._start_head_timer()  # a blank line stopped the keep-alive timer but began no head

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while (offered := self._fed(rest)) is not None and self.parser.get_method() != b"CONNECT":
                head = self._without_upgrade()
                self.parser = httptools.HttpRequestParser(self)  # the old parser now expects the other protocol
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
                self.parser.feed_data(head)
                rest = rest[offered:]
        except httptools.HttpParserError:
            offered = 0
        if offered is not None:
            self._refuse(NOT_HTTP)

    def _fed(self, data: memoryview) -> int | None:
        """Parse bytes. Return how many were parsed up to a head that offers an upgrade, or None for all of them."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            return int(stopped.args[0])
        return None

    def _without_upgrade(self) -> bytes:
        """Return the head without its upgrade offer, which a server may ignore (RFC 9110, section 7.8)."""
        kept = [b"%s: %s\r\n" % one for one in self.headers if one[0] != b"upgrade"]
        version = self.parser.get_http_version().encode()
        return b"%s %s HTTP/%s\r\n%s\r\n" % (self.parser.get_method(), self.url, version, b"".join(kept))

    def _start_head_timer(self) -> None:
        self._received = 0
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._refuse, TOO_SLOW)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem) -> None:
        self._stop_head_timer()
        if not self.transport.is_closing():
            if self._received or problem is not TOO_SLOW:  # an unused connection is closed without a response
                self.transport.write(_on_the_wire(problem))
            self.transport.close()

    # --- the response

    def pause_writing(self) -> None:
        """Start the time limit for a caller that does not read."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the time limit, because the caller has read everything."""
        self._stop_read_timer()
        super().resume_writing()

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, BUSY.response() if app is service_unavailable else app)  # type: ignore[arg-type]


def _on_the_wire(problem: Problem) -> bytes:
    """Return a complete response, for when there is no request that the application could answer."""
    answer = problem.response()
    head = b"".join(b"%s: %s\r\n" % one for one in answer.raw_headers)
    title = problem.title.encode()
    return b"HTTP/1.1 %d %s\r\nconnection: close\r\n%s\r\n%s" % (problem.status, title, head, answer.body)
