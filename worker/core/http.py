"""One HTTP exchange in which everything is bounded, and which knows whether the request left.

``requests`` resolves proxies and certificates and owns the connections; its pool is then called directly,
because preparing a request each time costs more than sending it. Nothing is retried, no redirect is followed.

Two clocks run in turn. Until the request leaves, ``connect_timeout`` covers the wait for a free connection,
name resolution, connecting, the proxy and TLS; a connection that took longer is not used, since the caller's
claim on its work may have ended meanwhile. From then on ``read_timeout`` covers the whole answer, however
slowly it drips.
"""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry, Timeout
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3 import BaseHTTPResponse

# Several servers close a connection that has been idle for 5 seconds. A request that meets such a closing ends
# as an unknown out of nothing, so a connection is given up before that.
MAX_IDLE_SECONDS = 4.0
PIECE_BYTES = 1 << 20

_NO_RETRY = Retry(False, redirect=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose head arrived. ``trouble`` is what kept its body from being read whole, if anything did."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    trouble: Exception | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No answer arrived. While not ``request_left``, provably nothing was asked either."""

    error: Exception
    request_left: bool


class TooLarge(Exception):
    """The answer's body is longer than the caller allows."""


class _Exchange(threading.local):
    """The exchange that this thread is in: urllib3 hands nothing of ours through to the connection."""

    deadline = 0.0
    answer_seconds = 0.0
    request_left = False

    def begin(self, connect_seconds: float, answer_seconds: float) -> None:
        self.deadline = time.monotonic() + connect_seconds
        self.answer_seconds = answer_seconds
        self.request_left = False

    def leave(self) -> None:
        self.deadline = time.monotonic() + self.answer_seconds
        self.request_left = True


_exchange = _Exchange()


class _BoundedReader(io.RawIOBase):
    """Reads an answer from a connection's socket until the exchange's deadline, and no longer."""

    def __init__(self, connection: _BoundedConnection, sock: Any) -> None:
        self._connection = connection
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._read_before = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What ``http.client`` asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        remaining = _exchange.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        # urllib3 has just set the time-out of the first read. Setting one lets another thread take over, at a cost.
        if self._read_before:
            self._sock.settimeout(min(remaining, self._sock.gettimeout()))
        self._read_before = True
        count: int | None = self._raw.readinto(buffer)
        self._connection.last_used = time.monotonic()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedConnection(HTTPConnection):
    """Mixed into the pool's own connection class, whatever proxy or TLS that one knows about."""

    last_used = 0.0
    _connecting = False

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self.last_used < MAX_IDLE_SECONDS and super().is_connected

    def connect(self) -> None:
        self._connecting = True
        try:
            super().connect()
        finally:
            self._connecting = False
        if time.monotonic() > _exchange.deadline:
            self.close()
            raise ConnectTimeoutError(self, "the connection took too long to make")

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        # What goes out while connecting is for the proxy; the request itself has not left yet.
        if not self._connecting and not _exchange.request_left:
            _exchange.leave()
        super().send(data)

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        return http.client.HTTPResponse(_BoundedReader(self, sock), *args, **kwargs)  # type: ignore[arg-type]


class Origin:
    """One base URL as reached from here: its connection pool, and what precedes a path in a request line."""

    def __init__(self, session: requests.Session, base_url: str) -> None:
        base_url = base_url.rstrip("/")
        request = requests.Request("POST", base_url).prepare()
        environment = session.merge_environment_settings(base_url, {}, False, None, None)
        proxies, verify = environment["proxies"], environment["verify"]
        adapter = session.get_adapter(base_url)
        if not isinstance(adapter, HTTPAdapter):
            raise TypeError(f"{base_url} is not an http:// or https:// address")
        verify = True if verify is None else verify
        pool: Any = adapter.get_connection_with_tls_context(request, verify, proxies)
        adapter.cert_verify(pool, base_url, verify, None)  # type: ignore[no-untyped-call]
        if not issubclass(pool.ConnectionCls, _BoundedConnection):
            pool.ConnectionCls = type("BoundedConnection", (_BoundedConnection, pool.ConnectionCls), {})
        self.pool = pool
        self.prefix = adapter.request_url(request, proxies).rstrip("/")


class Transport:
    """Exchanges with one account's hosts over at most ``connections`` sockets a host. For many threads.

    Proxies and certificate bundles of the environment are resolved once, at construction.
    """

    def __init__(self, *, connect_timeout: float, read_timeout: float, connections: int) -> None:
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        # Half for each address, so that a dead one leaves time for the next.
        self._timeout = Timeout(connect=connect_timeout / 2, read=read_timeout)
        self._origins: list[Origin] = []
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0, pool_block=True)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def origin(self, base_url: str) -> Origin:
        """The host of ``base_url``. Raises a ``requests`` error when the environment's proxy is malformed."""
        origin = Origin(self._session, base_url)
        self._origins.append(origin)
        return origin

    def exchange(
        self,
        origin: Origin,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None = None,
        *,
        max_bytes: int,
        seconds: float | None = None,
    ) -> Answer | NoAnswer:
        """Ask once; never raises for what the network or the server does.

        ``path`` is quoted already; ``seconds`` bounds the answer, ``read_timeout`` if left out.
        """
        _exchange.begin(self._connect_timeout, self._read_timeout if seconds is None else seconds)
        try:
            response = origin.pool.urlopen(
                method,
                origin.prefix + path,
                body,
                headers,
                _NO_RETRY,
                redirect=False,
                assert_same_host=False,
                timeout=self._timeout,
                pool_timeout=self._connect_timeout,
                preload_content=False,
            )
        except (HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            return NoAnswer(error, _exchange.request_left)
        return _read(response, max_bytes)

    def close(self) -> None:
        """Close idle connections. Exchanges under way end by themselves; later ones find no connection."""
        for origin in self._origins:
            origin.pool.close()
        self._session.close()


def _read(response: BaseHTTPResponse, max_bytes: int) -> Answer:
    """The body up to ``max_bytes``; the connection goes back to its pool in any case."""
    pieces: list[bytes] = []
    trouble: Exception | None = None
    whole = False
    try:
        _gather(response, max_bytes, pieces)
        whole = True
    except (HTTPError, OSError, http.client.HTTPException, ValueError, TooLarge) as error:
        trouble = error
    finally:
        if not whole:
            response.close()
        response.release_conn()
    return Answer(response.status, response.headers, b"".join(pieces), trouble)


def _gather(response: BaseHTTPResponse, max_bytes: int, pieces: list[bytes]) -> None:
    size = 0
    encoded = "content-encoding" in response.headers
    while True:
        # In pieces, since a buffer as large as the bound would be set aside for an answer of unstated length.
        wanted = min(PIECE_BYTES, max_bytes + 1 - size)
        piece = response.read(wanted, decode_content=encoded)
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise TooLarge(f"the answer is longer than {max_bytes:,} bytes")
        if not piece or (response.length_remaining == 0 and not encoded):
            return
