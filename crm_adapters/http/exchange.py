"""One HTTP exchange with limits on time and size. It ends as a response or as a lost one, and never raises.

``requests`` owns the session: proxies, certificates, connections. A connection of its pool reads with a deadline, since
a server that sends one byte a second would keep a request alive without end. Redirects are not followed, cookies not
kept, and ``.netrc`` is not read.
"""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from crm_adapters.unreachable import explain_unreachable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class RawReply:
    """A response whose body arrived whole. ``headers`` have names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LostReply:
    """No whole response arrived. ``reason`` is for people and has no secret.

    ``is_passing``: it may work in a moment. ``is_sent``: the CRM may have got the request. ``is_credential``: the
    credential cannot be sent at all.
    """

    reason: str
    is_passing: bool = True
    is_sent: bool = True
    is_credential: bool = False


@dataclass
class _Deadline:
    """When the current exchange must end. An adapter is used by one thread, so there is one at a time."""

    at: float = 0.0

    def left(self) -> float:
        return self.at - time.monotonic()


class _DeadlineReader(io.RawIOBase):
    """Reads a response from a socket, each time at most until the deadline."""

    def __init__(self, sock: Any, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._raw = sock.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the file that ``http.client`` reads a response from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self._deadline.left()
        if left <= 0:
            raise TimeoutError("timed out")
        usual = self._sock.gettimeout()
        self._sock.settimeout(left if usual is None else min(left, usual))
        try:
            count: int | None = self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(usual)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineConnection(HTTPConnection):
    """A mixin for the pool's own connection class, with or without proxy and TLS."""

    deadline: _Deadline

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        reader: Any = _DeadlineReader(sock, self.deadline)
        return http.client.HTTPResponse(reader, *args, **kwargs)


class _DeadlineAdapter(HTTPAdapter):
    """Gives each connection the deadline of its exchange."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__(max_retries=0)
        self._deadline = deadline

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if not issubclass(pool.ConnectionCls, _DeadlineConnection):
            bases = (_DeadlineConnection, pool.ConnectionCls)
            pool.ConnectionCls = type("DeadlineConnection", bases, {"deadline": self._deadline})
        return pool


class Exchanges:
    """A session that sends one request at a time."""

    def __init__(self, connect_seconds: float, read_seconds: float, max_bytes: int) -> None:
        self._timeouts = (connect_seconds, read_seconds)
        self._max_bytes = max_bytes
        self._deadline = _Deadline()
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _DeadlineAdapter(self._deadline))

    def send(self, request: requests.Request, seconds: float) -> RawReply | LostReply:
        """Send a request; the response must arrive whole within ``seconds``. Never raises for what happens."""
        self._deadline.at = time.monotonic() + seconds
        request.auth = _unchanged  # without one, requests takes credentials from .netrc
        try:
            prepared = self._session.prepare_request(request)
            settings = self._session.merge_environment_settings(prepared.url or "", {}, True, None, None)
            with self._session.send(prepared, timeout=self._timeouts, allow_redirects=False, **settings) as response:
                return self._read(response)
        except (requests.RequestException, HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            return _lost(error)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _read(self, response: requests.Response) -> RawReply | LostReply:
        body = bytearray()
        for piece in response.iter_content(_PIECE_BYTES):
            body += piece
            if len(body) > self._max_bytes:
                size = self._max_bytes / (1 << 20)
                return LostReply(f"its response is longer than {size:,.0f} MB", is_passing=False)
            if self._deadline.left() <= 0:
                return LostReply("its response takes too long")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return RawReply(response.status_code, headers, bytes(body))


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _lost(error: Exception) -> LostReply:
    """Say what happened without the error's own text, which may hold the address with a secret."""
    if isinstance(error, requests.exceptions.InvalidHeader | UnicodeError):
        return LostReply("the credential has characters that cannot be sent", False, False, is_credential=True)
    is_timeout = isinstance(error, requests.exceptions.Timeout)
    if not is_timeout and error.args and isinstance(error.args[0], ReadTimeoutError):  # inside the body
        return LostReply("its response takes too long")
    if isinstance(getattr(error.args[0], "reason", None) if error.args else None, NewConnectionError):
        return LostReply("it cannot be reached", is_sent=False)
    if explained := explain_unreachable(error):
        return LostReply(explained, isinstance(error, requests.exceptions.ProxyError), is_sent=False)
    for kinds, reason, is_passing, is_sent in _REASONS:
        if isinstance(error, kinds):
            return LostReply(reason, is_passing, is_sent)
    return LostReply(f"the request failed ({type(error).__name__})")


_REASONS: tuple[tuple[tuple[type[Exception], ...], str, bool, bool], ...] = (
    (
        (
            requests.exceptions.InvalidURL,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
        ),
        "its address cannot be used",
        False,
        False,
    ),
    ((requests.exceptions.SSLError,), "TLS with it failed", False, False),
    ((requests.exceptions.ConnectTimeout,), "it does not accept the connection in time", True, False),
    ((requests.exceptions.Timeout, TimeoutError), "it does not respond in time", True, True),
    (
        (
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
            http.client.IncompleteRead,
        ),
        "its response breaks off",
        True,
        True,
    ),
    ((requests.exceptions.ConnectionError, OSError), "it closed the connection, or cannot be reached", True, True),
)
"""The first row with the error's class counts."""
