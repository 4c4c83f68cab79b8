"""HTTP/1.1 for callers that mean no good, or speak it in their own way.

uvicorn with httptools bounds neither the time nor the size of a request's head, waits for ever for a caller that does
not read its answer or that says nothing more after a blank line, and loses the body of a request that offers an
upgrade, as Java's HttpClient does on ``http://``. It counts all of them towards its limit of connections.
"""

from __future__ import annotations

import asyncio

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from worker.web.problems import Problem

HEAD_SECONDS = 10.0
"""For the request line and all headers."""
MOST_HEAD_BYTES = 64 * 1024
READ_SECONDS = 30.0
"""For the caller to take what waits to be sent."""

TOO_SLOW = Problem(408, "request_timeout", f"the head did not arrive within {HEAD_SECONDS:g} seconds")
TOO_LARGE = Problem(431, "head_too_large", f"the head is longer than {MOST_HEAD_BYTES:,} bytes")
NOT_HTTP = Problem(400, "not_http", "this is not HTTP/1.1, or a method that nobody knows")
BUSY = Problem(
    503,
    "unavailable",
    "too many callers at once; send the request again",
    headers={"Connection": "close", "Retry-After": "1"},
)


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol that gives a head this much time and room, an answer this much time to be read."""

    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller that connects and says nothing is not waited for either."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # hear of whatever the caller does not take
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there to be waited for."""
        self._end()
        self._was_read()
        if self._running is not None:  # uvicorn tells only the last of several that were sent at once
            self._running.disconnected = True
        super().connection_lost(exc)

    # --- a request's head

    def on_message_begin(self) -> None:
        """A head begins; the first one's time has been running since the connection."""
        super().on_message_begin()
        if self._head_timer is None:
            self._begin()

    def on_headers_complete(self) -> None:
        """It came in time."""
        self._end()
        if not self.parser.should_upgrade():  # else it is read once more, without that offer
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self.parser.should_upgrade():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Read on; count what belongs to the head alone."""
        waiting = self._head_timer is not None
        self._unset_keepalive_if_required()
        self._feed(data)
        if waiting and self._head_timer is not None:
            self._received += len(data)
            if self._received > MOST_HEAD_BYTES:
                self._refuse(TOO_LARGE)
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._head_timer is None and not self.transport.is_closing():
            self._begin()  # blank lines begin no head, and have ended the wait for one

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while (offered := self._fed(rest)) is not None and self.parser.get_method() != b"CONNECT":
                head = self._without_upgrade()
                self.parser = httptools.HttpRequestParser(self)  # the other one waits for another protocol now
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
                self.parser.feed_data(head)
                rest = rest[offered:]
        except httptools.HttpParserError:
            offered = 0
        if offered is not None:
            self._refuse(NOT_HTTP)

    def _fed(self, data: memoryview) -> int | None:
        """None: all of it was read. Else how much, up to a head that offers another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            return int(stopped.args[0])
        return None

    def _without_upgrade(self) -> bytes:
        """The request's head without its offer of another protocol, which a server may just not take (RFC 9110)."""
        kept = [b"%s: %s\r\n" % one for one in self.headers if one[0] != b"upgrade"]
        version = self.parser.get_http_version().encode()
        return b"%s %s HTTP/%s\r\n%s\r\n" % (self.parser.get_method(), self.url, version, b"".join(kept))

    def _begin(self) -> None:
        self._received = 0
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._refuse, TOO_SLOW)

    def _end(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem) -> None:
        self._end()
        if not self.transport.is_closing():
            if self._received or problem is not TOO_SLOW:  # a connection that was never used just ends
                self.transport.write(_on_the_wire(problem))
            self.transport.close()

    # --- its answer

    def pause_writing(self) -> None:
        """The caller does not take what is sent."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It took everything."""
        self._was_read()
        super().resume_writing()

    def _was_read(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, BUSY.response() if app is service_unavailable else app)  # type: ignore[arg-type]


def _on_the_wire(problem: Problem) -> bytes:
    """A whole answer, where there is no request that an application could answer."""
    answer = problem.response()
    head = b"".join(b"%s: %s\r\n" % one for one in answer.raw_headers)
    title = problem.title.encode()
    return b"HTTP/1.1 %d %s\r\nconnection: close\r\n%s\r\n%s" % (problem.status, title, head, answer.body)
