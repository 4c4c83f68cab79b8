"""HTTP/1.1 for callers that mean no good: request heads that come too slowly or never end.

uvicorn bounds neither with httptools, and counts connections that only wait towards its limit.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
"""For the request line and all headers."""
MOST_HEAD_BYTES = 64 * 1024

TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol that gives a head this much time and room."""

    _timer: asyncio.TimerHandle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller that connects and says nothing is not waited for either."""
        super().connection_made(transport)
        self._begin()

    def on_message_begin(self) -> None:
        """A head begins; the first one's time has been running since the connection."""
        super().on_message_begin()
        if self._timer is None:
            self._begin()

    def on_headers_complete(self) -> None:
        """It came in time."""
        self._end()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to the head alone."""
        waiting = self._timer is not None
        super().data_received(data)
        if waiting and self._timer is not None:
            self._received += len(data)
            if self._received > MOST_HEAD_BYTES:
                self._refuse(TOO_LARGE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there to be waited for."""
        self._end()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._received = 0
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, TOO_SLOW)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, answer: bytes) -> None:
        self._end()
        if not self.transport.is_closing():
            if self._received:  # a connection that was never used just ends
                self.transport.write(answer)
            self.transport.close()
