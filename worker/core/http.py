"""An HTTP client with limits on time and size. When an exchange fails, it reports if the request was sent.

``requests`` resolves proxies and certificates and owns the connections. Its pool is then called directly, because
preparing a request each time costs more than sending it. Requests are never retried and redirects never followed.

There are two timeouts, one after the other. Until the request is sent, ``connect_timeout`` covers the wait for a free
connection, name resolution, connecting, the proxy and TLS. A connection that took longer is not used, because the
caller's claim on its work may have expired. After that, ``read_timeout`` covers the whole response, however slowly it
arrives.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidProxyURL, InvalidSchema
from urllib3 import Retry, Timeout
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3 import BaseHTTPResponse

# Several servers close a connection that has been idle for 5 seconds. A request sent at that moment would end with an
# unknown outcome, so an idle connection is dropped before that.
MAX_IDLE_SECONDS = 4.0
PIECE_BYTES = 1 << 20

_NO_RETRY = Retry(False, redirect=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response whose headers arrived. ``trouble`` is the error, if any, that kept its body from being read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    trouble: Exception | None = None


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No response arrived. If ``request_left`` is False, the request was certainly not sent."""

    error: Exception
    request_left: bool


class ResponseTooLarge(Exception):
    """The response's body is longer than the caller allows."""


class AddressRefused(HTTPError):
    """The host's name leads to an address that the transport must not connect to."""


class _Exchange(threading.local):
    """The current exchange of this thread. urllib3 offers no way to pass it to the connection."""

    deadline = 0.0
    response_seconds = 0.0
    request_left = False

    def begin(self, connect_seconds: float, response_seconds: float) -> None:
        self.deadline = time.monotonic() + connect_seconds
        self.response_seconds = response_seconds
        self.request_left = False

    def leave(self) -> None:
        self.deadline = time.monotonic() + self.response_seconds
        self.request_left = True


_exchange = _Exchange()


class _BoundedReader(io.RawIOBase):
    """Reads a response from a connection's socket, until the deadline of the exchange."""

    def __init__(self, connection: _BoundedConnection, sock: Any) -> None:
        self._connection = connection
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._read_before = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the file that ``http.client`` reads a response from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        remaining = _exchange.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        # urllib3 has just set the timeout of the first read. Setting it again would cost a thread switch.
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
    """A mixin for the pool's own connection class, with or without proxy and TLS."""

    may_connect: Callable[[str], bool]
    last_used = 0.0
    _connecting = False

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self.last_used < MAX_IDLE_SECONDS and super().is_connected

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        # The address that the name really led to, whatever it was when somebody looked.
        if self.proxy is None and not self.may_connect(sock.getpeername()[0].partition("%")[0]):
            sock.close()
            raise AddressRefused(f"{self.host} leads to an address that must not be called")
        return sock

    def connect(self) -> None:
        self._connecting = True
        try:
            super().connect()
        finally:
            self._connecting = False
        if time.monotonic() > _exchange.deadline:
            self.close()
            raise ConnectTimeoutError(self, "connecting took too long")

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        # Data sent while connecting is for the proxy; the request itself has not been sent yet.
        if not self._connecting and not _exchange.request_left:
            _exchange.leave()
        super().send(data)

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        return http.client.HTTPResponse(_BoundedReader(self, sock), *args, **kwargs)  # type: ignore[arg-type]


class Origin:
    """The connection pool of a base URL, and the prefix of each path in the request line.

    A proxy or certificate bundle of the environment that cannot be used fails each exchange until it is corrected.
    """

    def __init__(self, session: requests.Session, base_url: str, may_connect: Callable[[str], bool]) -> None:
        self._session, self._base_url, self._may_connect = session, base_url.rstrip("/"), may_connect
        self.pool: Any = None
        self.prefix = ""
        try:
            self.open()
        except (InvalidProxyURL, InvalidSchema):
            pass
        except requests.RequestException:
            raise
        except (OSError, HTTPError):
            pass

    def open(self) -> None:
        """Resolve proxy and certificates, unless that is done. Raises a ``requests`` error, OSError or HTTPError."""
        if self.pool is not None:
            return
        session, base_url = self._session, self._base_url
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
            bases, values = (_BoundedConnection, pool.ConnectionCls), {"may_connect": staticmethod(self._may_connect)}
            pool.ConnectionCls = type("BoundedConnection", bases, values)
        self.prefix = adapter.request_url(request, proxies).rstrip("/")
        self.pool = pool


class HttpTransport:
    """Sends requests over at most ``connections`` sockets per host. Thread-safe.

    Proxies and certificate bundles of the environment are resolved once, at construction. ``may_connect``
    decides about each address that a host name leads to; a proxy decides itself.
    """

    def __init__(
        self,
        *,
        connect_timeout: float,
        read_timeout: float,
        connections: int,
        may_connect: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._may_connect = may_connect
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        # Half the time for each address, so that time is left for the next one if the first does not respond.
        self._timeout = Timeout(connect=connect_timeout / 2, read=read_timeout)
        self._origins: list[Origin] = []
        self._by_base: dict[str, Origin] = {}
        self._lock = threading.Lock()
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0, pool_block=True)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def origin(self, base_url: str) -> Origin:
        """Return the connection pool for ``base_url``. Raises a ``requests`` error if it is malformed."""
        origin = Origin(self._session, base_url, self._may_connect)
        self._origins.append(origin)
        return origin

    def origin_of(self, url: str) -> Origin:
        """Return the connection pool of the host of ``url``, the same one each time. Raises like ``origin``."""
        parts = urlsplit(url)
        base = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            if base not in self._by_base:
                self._by_base[base] = self.origin(base)
            return self._by_base[base]

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
    ) -> HttpResponse | NoResponse:
        """Send one request. Never raises for what the network or the server does.

        ``path`` must be quoted. ``seconds`` limits the response (default: ``read_timeout``).
        """
        _exchange.begin(self._connect_timeout, self._read_timeout if seconds is None else seconds)
        try:
            origin.open()
            response = origin.pool.urlopen(
                method,
                origin.prefix + path,
                # By name: older releases of OpenTelemetry's instrumentation pass the headers by name, too.
                body=body,
                headers=headers,
                retries=_NO_RETRY,
                redirect=False,
                assert_same_host=False,
                timeout=self._timeout,
                pool_timeout=self._connect_timeout,
                preload_content=False,
            )
        except (HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            return NoResponse(error, _exchange.request_left)
        return _read(response, max_bytes)

    def close(self) -> None:
        """Close idle connections. Running exchanges finish; later ones find no connection."""
        for origin in self._origins:
            if origin.pool is not None:
                origin.pool.close()
        self._session.close()


def _read(response: BaseHTTPResponse, max_bytes: int) -> HttpResponse:
    """Read the body up to ``max_bytes`` and return the connection to its pool."""
    pieces: list[bytes] = []
    trouble: Exception | None = None
    whole = False
    try:
        _gather(response, max_bytes, pieces)
        whole = True
    except (HTTPError, OSError, http.client.HTTPException, ValueError, ResponseTooLarge) as error:
        trouble = error
    finally:
        if not whole:
            response.close()
        response.release_conn()
    return HttpResponse(response.status, response.headers, b"".join(pieces), trouble)


def _gather(response: BaseHTTPResponse, max_bytes: int, pieces: list[bytes]) -> None:
    size = 0
    encoded = "content-encoding" in response.headers
    if (response.length_remaining or 0) > max_bytes:
        raise ResponseTooLarge(f"the response is announced as {response.length_remaining:,} bytes long")
    while True:
        # Read in pieces: for a response of unknown length, a buffer of the full limit would be allocated.
        wanted = min(PIECE_BYTES, max_bytes + 1 - size)
        piece = response.read(wanted, decode_content=encoded)
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise ResponseTooLarge(f"the response is longer than {max_bytes:,} bytes")
        if not piece or (response.length_remaining == 0 and not encoded):
            return
